export interface Totals {
  readonly passed: number
  readonly failed: number
  readonly skipped: number
}

export const NOTHING: Totals = { passed: 0, failed: 0, skipped: 0 }

/** The totals that the root element of a JUnit report gives. Throws when there is none. */
export function totals(xml: string): Totals {
  const root = /<testsuites\b[^>]*>/.exec(xml)?.[0]
  if (root === undefined) throw new Error('not a JUnit report')
  const count = (name: string) => Number(new RegExp(`\\s${name}="(\\d+)"`).exec(root)?.[1] ?? 0)
  const failed = count('failures') + count('errors')
  const skipped = count('skipped')
  return { passed: count('tests') - failed - skipped, failed, skipped }
}
