const UNITS: Readonly<Record<string, number>> = {
  ns: 1,
  us: 1e3,
  µs: 1e3,
  μs: 1e3,
  ms: 1e6,
  s: 1e9,
  m: 60e9,
  h: 3600e9,
}
const LONGEST = 2 ** 63

/** Reads a duration of Go's time package (`1h30m`, `-1.5s`, `0`): nanoseconds, or undefined when it is none. */
export function parseDuration(text: string): number | undefined {
  const sign = text[0] === '-' ? -1 : 1
  const rest = text[0] === '-' || text[0] === '+' ? text.slice(1) : text
  if (rest === '0') return 0
  if (rest === '') return undefined
  const part = /(\d*)(\.(\d*))?([^\d.]+)/y
  let sum = 0
  for (let at = 0; at < rest.length; at = part.lastIndex) {
    part.lastIndex = at
    const match = part.exec(rest)
    if (match === null || (match[1] === '' && !match[3])) return undefined
    const unit = UNITS[match[4]!]
    if (unit === undefined) return undefined
    sum += Number(match[1]) * unit + Math.trunc(Number(`0.${match[3] ?? ''}`) * unit)
    if (!(sum < LONGEST)) return undefined
  }
  return sum === 0 ? 0 : sign * sum
}
