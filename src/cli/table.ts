import { padEnd, sanitize, width } from '../errors/render-text.ts'

/** Columns as wide as their widest cell, two spaces between; no spaces at the end of a line, and nothing that moves a cursor. */
export function table(cells: readonly (readonly string[])[]): string[] {
  const rows = cells.map(row => row.map(sanitize))
  const widths: number[] = []
  for (const row of rows) for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, width(cell))
  return rows.map(row =>
    row
      .map((cell, i) => padEnd(cell, widths[i]!))
      .join('  ')
      .trimEnd(),
  )
}

/** `1.2 MB`, as docker and crane count: powers of 1000. */
export function bytes(count: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  let value = count
  let unit = 0
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000
    unit++
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`
}
