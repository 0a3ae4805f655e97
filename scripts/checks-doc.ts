// Writes docs/checks.md from the rules in src/lint/rules.ts; test/docs fails when it is stale.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Example, Rule } from '../src/lint/rule.ts'
import { RULES } from '../src/lint/rules.ts'
import { root } from './archimage.ts'

const NEEDS = {
  images: 'It looks at the image in the store or in its registry: in `lint` and `--check` only.',
  context: 'It looks at the files of the context.',
} as const

const HEAD = `# Checks

<!-- Written by scripts/checks-doc.ts; do not edit. -->

What \`archimage lint\` and \`archimage build --check\` look for: rules of our own, for work with several platforms mostly, and the rules of BuildKit 0.33 with its names
and messages. How they are run, switched off and made errors: [lint.md](lint.md).
`

function example(title: string, { dockerfile, dockerignore, platforms, images, modes }: Example): string[] {
  const beside = [
    ...(platforms === undefined ? [] : [`built for ${platforms.join(' and ')}`]),
    ...Object.entries(images ?? {}).map(
      ([name, image]) =>
        `\`${name}\` is ${image.index ? 'an index with' : 'one image, for'} ${image.platforms.join(' and ')}`,
    ),
    ...(dockerignore === undefined ? [] : [`\`.dockerignore\` has \`${dockerignore.trim()}\``]),
    ...(modes === undefined
      ? []
      : [modes.map(({ path, mode }) => `\`${path}\` has mode ${mode.toString(8)}`).join(', ')]),
  ]
  const about = beside.length === 0 ? '' : ` (${beside.join('; ')})`
  return [`${title}${about}:`, '', '```dockerfile', dockerfile.trimEnd(), '```', '']
}

function section(rule: Rule): string[] {
  const { name, description, level, experimental, wholeFile, needs, remedy, about, url } = rule
  const notes = [
    ...(level === 'error' ? ['An error.'] : []),
    ...(experimental ? [`Experimental: only with \`# check=experimental=${name}\`.`] : []),
    ...(needs === undefined ? [] : [NEEDS[needs]]),
    ...(wholeFile ? ['A comment in front of an instruction does not switch it off, as in BuildKit.'] : []),
    ...(url === undefined ? [] : [`[Docker's page](${url}).`]),
  ]
  return [
    `### ${name}`,
    '',
    `${description.replaceAll('<', '\\<')}.`.replace('..', '.'),
    '',
    about,
    '',
    ...(notes.length === 0 ? [] : [notes.join(' '), '']),
    ...example('Bad', rule.bad),
    ...example(`Instead, ${remedy}`, rule.good),
  ]
}

/** The page. */
export function checksPage(): string {
  const of = (from: Rule['from']): string[] => RULES.filter(rule => rule.from === from).flatMap(section)
  const lines = [HEAD, '## Our own', '', ...of('archimage'), "## BuildKit's", '', ...of('buildkit')]
  return `${lines.join('\n').trimEnd()}\n`
}

if (import.meta.main) writeFileSync(join(root, 'docs/checks.md'), checksPage())
