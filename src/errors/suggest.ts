/** Less than two neighbours changed: `amr64` is `arm64` rather than `amd64`. */
const TRANSPOSED = 0.75

/** Edit distance with transpositions (optimal string alignment), given up on beyond `limit`. */
export function distance(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) > limit) return limit + 1
  let before: number[] = []
  let row = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1
      let best = Math.min(next[j - 1]! + 1, row[j]! + 1, row[j - 1]! + cost)
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        best = Math.min(best, before[j - 2]! + TRANSPOSED)
      next.push(best)
    }
    before = row
    row = next
  }
  return row[b.length]!
}

/** The candidate that somebody who typed `word` most likely meant, if any is near enough. */
export function suggest(word: string, candidates: Iterable<string>): string | undefined {
  const lower = word.toLowerCase()
  const limit = Math.max(1, Math.round(word.length * 0.4))
  let best: string | undefined
  let least = limit + 1
  for (const candidate of candidates) {
    const d = distance(lower, candidate.toLowerCase(), limit)
    if (d < least) {
      least = d
      best = candidate
    }
  }
  return best
}

/** `did you mean "x"?`, or undefined. */
export function didYouMean(word: string, candidates: Iterable<string>): string | undefined {
  const best = suggest(word, candidates)
  return best === undefined ? undefined : `did you mean "${best}"?`
}
