// Writes the tables of docs/faulty-registry.md from src/registry/faulty/faults.ts; test/docs fails when they are stale.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './archimage.ts'

const PAGE = join(root, 'docs/faulty-registry.md')
const MARKS = /(<!-- Tables written by scripts\/faults-doc\.ts; do not edit\. -->\n).*?(\n<!-- end of the tables -->)/s
const TITLES: Readonly<Record<string, string>> = {
  Faults: 'Faults',
  BasicAuth: "`requireAuth` with `kind: 'basic'`",
  BearerAuth: "`requireAuth` with `kind: 'bearer'`",
  FailFirst: '`failFirst`',
  DropConnection: '`dropConnection`',
  CutUpload: '`cutUpload`',
  Pages: '`pages`',
  Damage: '`truncateBlob`, `lengthenBlob`, `corruptBlob`',
  RefuseTag: '`refuseTag`',
  Slow: '`slow`',
  LoggedRequest: '`registry.requests`',
}

/** The page as it should be; the text around the tables is that of the file. */
export function faultsPage(): string {
  const source = readFileSync(join(root, 'src/registry/faulty/faults.ts'), 'utf8')
  const tables = Object.entries(TITLES).map(([name, title]) => {
    const fields = fieldsOf(source, name)
    return [`## ${title}`, '', '| field | type | what it does |', '| --- | --- | --- |', ...fields].join('\n')
  })
  return readFileSync(PAGE, 'utf8').replace(MARKS, (_, begin, end) => `${begin}\n${tables.join('\n\n')}\n${end}`)
}

function fieldsOf(source: string, name: string): string[] {
  const text = new RegExp(`^export interface ${name} \\{\\n(.*?)^\\}`, 'ms').exec(source)?.[1] ?? ''
  return [...text.matchAll(/(?: {2}\/\*\* (.*) \*\/\n)? {2}(?:readonly )?(\w+)\??: (.+)\n/g)].map(
    ([, about = '', key, type]) => {
      const shown = type!.replace(/ \| undefined$/, '').replace(/^Match$/, 'RegExp')
      return `| \`${key}\` | \`${cell(shown)}\` | ${cell(about)} |`
    },
  )
}

/** A pipe would end the cell. */
const cell = (text: string): string => text.replaceAll('|', '\\|')

if (import.meta.main) writeFileSync(PAGE, faultsPage())
