/** What BuildKit takes for a number in --chown and USER: 32 bits with a sign, and `root`. Undefined for names. */
export function ownerNumber(text: string): number | undefined {
  if (text === 'root') return 0
  if (!/^[+-]?\d+$/.test(text)) return undefined
  const value = Number(text)
  return value >= -0x80000000 && value <= 0x7fffffff ? value : undefined
}

/** Whether an owner has names that only /etc/passwd or /etc/group can tell; `root`, numbers and nothing do without. */
export function needsNames(owner: string): boolean {
  const colon = owner.indexOf(':')
  const parts = colon < 0 ? [owner] : [owner.slice(0, colon), owner.slice(colon + 1)]
  return parts.some(part => part !== '' && ownerNumber(part) === undefined)
}
