import { padEnd, width } from '../../errors/render-text.ts'

/** Lines of columns as wide as their widest cell and `gap` blanks; the last one is not filled up. */
export function columns(rows: readonly (readonly string[])[], gap: number): string {
  const widths = rows[0]!.slice(0, -1).map((_, i) => Math.max(...rows.map(row => width(row[i]!))) + gap)
  return rows.map(row => `${row.map((cell, i) => padEnd(cell, widths[i] ?? 0)).join('')}\n`).join('')
}
