import type { Result } from './builders.ts'
import type { Image } from './image.ts'

/** What differs between the two results, in words; empty when they agree. With `times` that of the image counts. */
export function differences(buildkit: Result, ours: Result, times = false): string[] {
  if ('refusal' in buildkit || 'refusal' in ours) {
    if (!('refusal' in ours))
      return [`BuildKit refuses, archimage does not:\n${(buildkit as { refusal: string }).refusal}`]
    if (!('refusal' in buildkit)) return [`archimage refuses, BuildKit does not:\n${ours.refusal}`]
    if (buildkit.lines.length > 0 && !buildkit.lines.includes(ours.lines[0] ?? 0))
      return [
        `refused at line ${buildkit.lines} by BuildKit, at line ${ours.lines} by archimage:\n${buildkit.refusal}\n--\n${ours.refusal}`,
      ]
    return []
  }
  const out: string[] = []
  const platforms = [...buildkit.images.keys()].sort().join()
  const have = [...ours.images.keys()].sort().join()
  if (platforms !== have) return [`platforms: BuildKit ${platforms}, archimage ${have}`]
  for (const [platform, image] of buildkit.images) {
    const other = ours.images.get(platform)!
    for (const line of imageDifferences(image, other)) out.push(`${platform}: ${line}`)
    if (times) compareValues(`${platform}: created`, image.created, other.created, out)
  }
  return out
}

function imageDifferences(theirs: Image, ours: Image): string[] {
  const out: string[] = []
  for (const path of [...new Set([...theirs.tree.keys(), ...ours.tree.keys()])].sort())
    if (theirs.tree.get(path) !== ours.tree.get(path))
      out.push(
        `/${path}: BuildKit ${theirs.tree.get(path) ?? 'nothing'}, archimage ${ours.tree.get(path) ?? 'nothing'}`,
      )
  compareValues('config', normal(theirs.config), normal(ours.config), out)
  compareValues('history', normal(theirs.history), normal(ours.history), out)
  if (theirs.layers.length !== ours.layers.length)
    out.push(`layers: BuildKit ${theirs.layers.length}, archimage ${ours.layers.length}`)
  return out
}

/** Without what Go writes for nothing: null stands for an absent value. */
function normal(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(normal)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, inner]) => inner !== null && inner !== undefined)
      .map(([key, inner]) => [key, normal(inner)]),
  )
}

function compareValues(path: string, theirs: unknown, ours: unknown, out: string[]): void {
  const both = [theirs, ours]
  if (both.every(value => typeof value === 'object' && value !== null && !Array.isArray(value))) {
    const [a, b] = both as [Record<string, unknown>, Record<string, unknown>]
    for (const key of [...new Set([...Object.keys(a), ...Object.keys(b)])].sort())
      compareValues(`${path}.${key}`, a[key], b[key], out)
    return
  }
  if (both.every(Array.isArray) && path === 'history') {
    const [a, b] = both as [unknown[], unknown[]]
    for (let i = 0; i < Math.max(a.length, b.length); i++) compareValues(`history[${i}]`, a[i], b[i], out)
    return
  }
  if (JSON.stringify(theirs) !== JSON.stringify(ours))
    out.push(`${path}: BuildKit ${JSON.stringify(theirs)}, archimage ${JSON.stringify(ours)}`)
}
