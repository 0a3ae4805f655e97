import type { Context } from '../context/context.ts'
import type { FileMode } from '../lint/rule.ts'

/** More files than these say nothing new about a umask. */
const ENOUGH = 10_000

/** Files and directories that sources of COPY take from a context, with their modes. */
export function modesOf(context: Context, sources: readonly string[]): readonly FileMode[] {
  const found: FileMode[] = []
  const left = sources.flatMap(source => context.glob(source.replace(/^\/+/, '')) ?? []).reverse()
  while (left.length > 0 && found.length < ENOUGH) {
    const path = left.pop()!
    const entry = context.lookup(path)
    if (entry?.type !== 'file' && entry?.type !== 'dir') continue
    found.push({ path, mode: entry.mode })
    if (entry.type === 'dir')
      left.push(
        ...context
          .list(path)
          .map(name => (path === '' ? name : `${path}/${name}`))
          .reverse(),
      )
  }
  return found
}
