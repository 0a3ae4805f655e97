/** What BuildKit takes for a number in --chown and USER: 32 bits with a sign, and `root`. Undefined for names. */
export function ownerNumber(text: string): number | undefined {
  if (text === 'root') return 0
  if (!/^[+-]?\d+$/.test(text)) return undefined
  const value = Number(text)
  return value >= -0x80000000 && value <= 0x7fffffff ? value : undefined
}
