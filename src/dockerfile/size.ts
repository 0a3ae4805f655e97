/** `64m`, `1.5GiB`, `1024`: bytes, in powers of 1024, as docker reads them. Undefined for what is no size. */
export function parseSize(text: string): number | undefined {
  const match = /^\+?((?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?) ?(?:([kmgtp])(?:i?b)?|b)?$/i.exec(text)
  if (match === null) return undefined
  const size = Math.trunc(Number(match[1]) * 1024 ** (match[2] ? 'kmgtp'.indexOf(match[2].toLowerCase()) + 1 : 0))
  return size < 2 ** 63 ? size : undefined
}
