/** Beyond this many changes BuildKit suggests nothing. */
const LIMIT = 3

/**
 * The name that BuildKit suggests for one that is not there: the first of those with the fewest characters inserted, removed or
 * replaced, if fewer than three. (Our own `suggest` is bolder; messages of BuildKit's rules have to be its own.)
 */
export function nearest(name: string, names: Iterable<string>): string | undefined {
  let best: string | undefined
  let least = LIMIT
  for (const candidate of names) {
    if (candidate === name) return undefined
    const found = distance([...name], [...candidate])
    if (found < least) {
      least = found
      best = candidate
    }
  }
  return best
}

function distance(a: readonly string[], b: readonly string[]): number {
  if (Math.abs(a.length - b.length) >= LIMIT) return LIMIT
  let row = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++)
      next.push(Math.min(next[j - 1]! + 1, row[j]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)))
    if (Math.min(...next) >= LIMIT) return LIMIT
    row = next
  }
  return row[b.length]!
}
