import { ArchimageError } from '../../errors/error.ts'
import { redact } from '../../errors/redact.ts'
import type { Cell } from '../engine.ts'
import { stepFailed } from '../step-failure.ts'
import type { FailedVertex } from './raw-progress.ts'

/** Why `buildx build` ended with an error, in our terms. `said` is what it wrote beside its progress. */
export function buildxFailure(
  cell: Pick<Cell, 'lowered'>,
  failed: FailedVertex | undefined,
  said: readonly string[],
): ArchimageError {
  const message = messageIn(said) ?? failed?.error ?? 'it ended without saying why'
  if (failed?.op) {
    const [, code] = /exit code: (\d+)/.exec(failed.error) ?? []
    const text = failed.error.replace(/^process "[\s\S]*" did not complete successfully: /, '')
    return stepFailed({ op: failed.op, said: text, ...(code === undefined ? {} : { exitCode: Number(code) }) }, cell)
  }
  const { file } = cell.lowered
  const [, line] = /(?:parse error on line|Dockerfile:)\s*(\d+)/.exec(said.join('\n')) ?? []
  if (/parse error|unknown (?:instruction|flag)/i.test(message))
    return new ArchimageError('DOCKERFILE_INVALID', `docker does not understand ${file}: ${message}`, {
      place: { file, ...(line === undefined ? {} : { line: Number(line) }) },
      hint: 'its BuildKit may be older than this Dockerfile; choose a newer builder (docker buildx create --use), or build with another engine',
    })
  if (/connect to the docker|docker daemon|no builder|connection refused|transport is closing/i.test(message))
    return new ArchimageError('DAEMON', `docker could not be asked: ${message}`, {
      hint: 'see that the daemon and the builder run: docker buildx inspect',
    })
  return new ArchimageError('CELL_FAILED', `docker could not build this: ${message}`, {
    ...(line === undefined ? {} : { place: { file, line: Number(line) } }),
    ...hintFor(message),
  })
}

function hintFor(message: string): { readonly hint?: string } {
  const [, privilege] = /granting entitlement (\S+) is not allowed/.exec(message) ?? []
  if (privilege !== undefined)
    return {
      hint: `the builder has to allow it too: docker buildx create --use --buildkitd-flags '--allow-insecure-entitlement ${privilege}'`,
    }
  return /no space left/i.test(message) ? { hint: 'free some space in the builder: docker buildx prune' } : {}
}

/** `ERROR: failed to build: failed to solve: …` is the last thing that buildx says. */
function messageIn(said: readonly string[]): string | undefined {
  const at = said.findLastIndex(line => line.startsWith('ERROR: '))
  if (at < 0) return said.findLast(line => line.trim() !== '')
  const text = said.slice(at).join('\n').trim()
  return redact(
    text.replace(/^ERROR: (?:failed to build: )?(?:failed to solve: )?(?:rpc error: code = \w+ desc = )?/, ''),
  )
}
