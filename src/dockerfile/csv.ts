/**
 * The fields of one line of comma-separated values (RFC 4180: quotes around a field, doubled inside), which is how the
 * values of `--mount` and `--device` are written. Undefined when quotes stand where they may not, or for an empty line.
 */
export function parseCsvLine(text: string): readonly string[] | undefined {
  const line = text.replace(/\r?\n$/, '')
  if (line === '') return undefined
  const fields: string[] = []
  for (let at = 0; ; at++) {
    if (line[at] !== '"') {
      const comma = line.indexOf(',', at)
      const end = comma < 0 ? line.length : comma
      const field = line.slice(at, end)
      if (field.includes('"')) return undefined
      fields.push(field)
      at = end
    } else {
      let field = ''
      for (at++; ; at += 2) {
        const quote = line.indexOf('"', at)
        if (quote < 0) return undefined
        field += line.slice(at, quote)
        at = quote
        if (line[at + 1] !== '"') break
        field += '"'
      }
      fields.push(field)
      at++
      if (at < line.length && line[at] !== ',') return undefined
    }
    if (at >= line.length) return fields
  }
}
