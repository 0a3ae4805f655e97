// Writes docs/errors.md from src/errors/codes.ts; test/docs fails when it is stale.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { CODES } from '../src/errors/codes.ts'
import { root } from './archimage.ts'

const GROUPS = [
  [2, 'Usage and configuration', 'Nothing was built. Mend the command line or the file that the message names.'],
  [1, 'The work', 'Something was tried and is not right. What is right stays; the next run goes on from there.'],
  [3, 'This machine', 'Something around archimage is missing: credentials, a registry, a disk.'],
  [130, 'Interrupted', 'Ctrl-C or a signal. Nothing half-written has a final name.'],
] as const

/** The page; a pipe inside a text would end its cell. */
export function errorsPage(): string {
  const out = [
    '# Error codes',
    '',
    '<!-- Written by scripts/errors-doc.ts; do not edit. -->',
    '',
    'Every error says what is wrong, where, and what to do about it. Its code stands behind a failed cell, and in',
    '`.archimage/result.json` as `failure.code`. The exit code of a run is the gravest of its errors: 130, then 2, 3, 1; see',
    '[build.md](build.md#exit-codes).',
  ]
  for (const [exit, title, about] of GROUPS) {
    const rows = Object.entries(CODES).filter(([, code]) => code.exit === exit)
    const width = Math.max(...rows.map(([name]) => name.length)) + 2
    const line = (left: string, right: string) => `| ${left.padEnd(width)} | ${right} |`
    out.push('', `## ${title} (exit code ${exit})`, '', about, '')
    out.push(line('code', 'meaning'), `| ${'-'.repeat(width)} | --- |`)
    for (const [name, code] of rows) out.push(line(`\`${name}\``, code.about.replaceAll('|', '\\|')))
  }
  return `${out.join('\n')}\n`
}

if (import.meta.main) writeFileSync(join(root, 'docs/errors.md'), errorsPage())
