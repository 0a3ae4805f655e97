import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { diagnose } from '../doctor/doctor.ts'
import type { Finding } from '../doctor/finding.ts'
import { isArchimageError } from '../errors/error.ts'
import { renderHint } from '../errors/render.ts'
import { paint, type Style, sign, styleFor } from '../errors/render-style.ts'
import { storeHome } from '../store/home.ts'
import { openStore } from '../store/store.ts'
import { terminal } from '../sys/terminal.ts'
import { command, type Invocation, parse, print, say } from './command.ts'

const ABOUT = `Says what archimage can do on this machine, by trying it: how RUN steps run, as whom, in which network, how their
roots are made. What could be better or is missing comes with its remedy. Exit code 3 when something is missing.`

export async function run(invocation: Invocation): Promise<number> {
  const program = command(invocation, '[options]', ABOUT).option('--json', 'print as JSON')
  const parsed = parse(program, invocation)
  if (!parsed) return 0
  const refusal = await within(invocation.signal)
  if (typeof refusal === 'number') return refusal
  const store = openStore({ warn: say })
  const folder = join(store.root, 'tmp')
  try {
    mkdirSync(folder, { recursive: true })
    const findings = await diagnose({
      ...{ folder, signal: invocation.signal },
      ...(refusal === undefined ? {} : { refusal }),
    })
    if (parsed.options['json'] === true) print(JSON.stringify(findings, null, 2))
    else for (const line of render(findings, styleFor(terminal(1), process.env))) print(line)
    return findings.some(({ state }) => state === 'missing') ? 3 : 0
  } finally {
    store.close()
  }
}

/** RUN steps of an ordinary user run in a user namespace, so that is where to look. Gives the exit code of the look there, or why there is none. */
async function within(signal: AbortSignal): Promise<number | Error | undefined> {
  if (process.platform !== 'linux') return undefined
  const { enterUserNamespace } = await import('../sandbox/user-namespace.ts')
  try {
    return await enterUserNamespace({ signal, env: { ARCHIMAGE_HOME: storeHome() } })
  } catch (error) {
    if (isArchimageError(error) && error.code === 'SANDBOX_MISSING') return error
    throw error
  }
}

const SIGNS = { ok: 'ok', weaker: 'warning', missing: 'failed' } as const
const INKS = { ok: 'green', weaker: 'yellow', missing: 'red' } as const

function render(findings: readonly Finding[], style: Style): string[] {
  const width = Math.max(...findings.map(({ id }) => id.length))
  return findings.flatMap(({ id, state, text, remedy }) => [
    `${paint(style, INKS[state], sign(style, SIGNS[state]))} ${id.padEnd(width)}  ${text}`,
    ...(remedy === undefined ? [] : renderHint(remedy, style)),
  ])
}
