import { decodeJson, encodeJson, encodeOutput, frameReader, JSON_FRAME } from './frames.ts'
import type { Running } from './oci-runtime.ts'
import type { Output } from './output.ts'
import { type Answer, failureOf, type Request } from './protocol.ts'
import { openSite, type Site } from './site.ts'
import type { Step, StepEnd } from './step.ts'

/**
 * The process under which all steps of a run live: init of a pid namespace, in a mount namespace, both of which end with it, and
 * it ends with archimage. Takes requests from standard input, gives answers and output on standard output.
 */
export function serveSteps(): Promise<number> {
  const running = new Map<number, Running>()
  const killed = new Set<number>()
  let site: Site | undefined

  const send = (frame: Buffer): Promise<void> | undefined => {
    if (process.stdout.write(frame)) return undefined
    return new Promise(resolve => process.stdout.once('drain', resolve))
  }
  const answer = (value: Answer): void => void send(encodeJson(value))

  async function run(n: number, step: Step, cgroups: readonly string[]): Promise<StepEnd> {
    const output: Output = (stream, bytes) => send(encodeOutput(n, stream, bytes))
    try {
      return await site!.run(step, cgroups, output, one => {
        running.set(n, one)
        if (killed.has(n)) one.kill()
      })
    } finally {
      running.delete(n)
      killed.delete(n)
    }
  }

  async function open(setup: Parameters<typeof openSite>[0]): Promise<void> {
    site = await openSite(setup)
    answer({ ready: site.verdict })
  }

  function take(request: Request): void {
    if ('setup' in request)
      open(request.setup).catch(error => answer({ run: 0, failure: failureOf(error, 'opening the sandbox') }))
    else if ('kill' in request) {
      killed.add(request.kill)
      running.get(request.kill)?.kill()
    } else
      run(request.run, request.step, request.cgroups).then(
        end => answer({ run: request.run, end }),
        error => answer({ run: request.run, failure: failureOf(error, `running step ${request.step.id}`) }),
      )
  }

  return new Promise(resolve => {
    process.stdin.on(
      'data',
      frameReader(({ kind, body }) => kind === JSON_FRAME && take(decodeJson<Request>(body))),
    )
    // Archimage is gone, or has no more steps.
    process.stdin.on('end', () => resolve(0))
  })
}
