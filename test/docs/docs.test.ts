import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { archimage, root } from '../../scripts/archimage.ts'
import { checksPage } from '../../scripts/checks-doc.ts'
import { errorsPage } from '../../scripts/errors-doc.ts'
import { faultsPage } from '../../scripts/faults-doc.ts'
import { projectSchema, serviceSchema } from '../../src/project/schema.ts'
import { must, run } from '../peers/index.ts'
import { canRun, type Need, requirePeers } from '../peers/require.ts'
import { type Block, blocksOf, missingLine, stepsOf } from './blocks.ts'
import { Session } from './session.ts'

/** What `npm ci && npm test` in the README is: this very run, started by .ci/run on a fresh clone. */
const THIS_RUN = 'npm ci && npm test'

const read = (file: string): string => readFileSync(join(root, file), 'utf8')

function markdownBelow(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter(name => name.endsWith('.md'))
    .map(name => join(folder, name))
    .sort()
}

const COMMANDS = ['README.md', ...markdownBelow('docs')]
const ALL = [...COMMANDS, 'CONTRIBUTING.md', 'CHANGELOG.md', ...markdownBelow('examples').filter(isOurs)]

function isOurs(file: string): boolean {
  return !/(?:^|\/)(?:dist|_output|node_modules)\//.test(file)
}

function needsOf(block: Block): Need[] {
  return (block.attributes['needs']?.split(',') ?? []) as Need[]
}

function isRun(block: Block): boolean {
  return block.language === 'sh' || block.language === 'text' || block.attributes['file'] !== undefined
}

/** What `npm run SCRIPT` prints, with the port of its registry as the texts have it. */
async function outputOf(script: string): Promise<string> {
  const { stdout, stderr } = await run(['npm', 'run', script], { cwd: root, env: { LC_ALL: 'C.UTF-8' } })
  return `${stderr}${stdout}`.replaceAll(/localhost:\d+/g, 'localhost:5000')
}

for (const file of COMMANDS) {
  const blocks = blocksOf(read(file)).filter(isRun)
  if (blocks.length === 0) continue
  describe(file, () => {
    let session: Session
    let last = ''
    const podman = blocks.some(block => needsOf(block).includes('podman')) && canRun('podman', 'root')

    const busybox = blocks.some(block => needsOf(block).includes('busybox')) && canRun('busybox')

    beforeAll(async () => {
      session = await Session.open({ podman, busybox })
      session.enter('demo')
    }, 60_000)
    afterAll(async () => session?.[Symbol.asyncDispose](), 60_000)

    for (const block of blocks) {
      const title = `line ${block.line}: ${block.attributes['file'] ?? block.text.split('\n')[0]}`
      const body = async () => {
        const { in: place, file: written, of: script } = block.attributes
        if (place !== undefined) session.enter(place)
        if (script !== undefined) last = await outputOf(script)
        if (written !== undefined) session.write(written, block.text)
        else if (block.language === 'text') expect(missingLine(block.text.split('\n'), last)).toBeUndefined()
        else
          for (const { command, exit, output } of stepsOf(block.text)) {
            if (command === THIS_RUN) continue
            const outcome = await session.run(command)
            last = outcome.output
            if (outcome.code !== exit) throw new Error(`${command}\nexit code ${outcome.code}, not ${exit}\n${last}`)
            const missing = missingLine(output, last)
            if (missing !== undefined) throw new Error(`${command}\ndoes not print: ${missing}\n${last}`)
          }
      }
      requirePeers(...needsOf(block))(title, body, 180_000)
    }
  })
}

test(`"${THIS_RUN}" of the README is what .ci/run does on a fresh clone`, () => {
  expect(read('README.md')).toContain(THIS_RUN)
  const ci = read('.ci/run')
  expect(ci).toMatch(/^npm ci\b/m)
  expect(ci).toMatch(/\bnpm\b.* test$/m)
})

test('docs/errors.md is that of src/errors/codes.ts (mended by: node_modules/.bin/bun scripts/errors-doc.ts)', () => {
  expect(read('docs/errors.md')).toBe(errorsPage())
})

test('docs/checks.md is that of src/lint/rules.ts (mended by: node_modules/.bin/bun scripts/checks-doc.ts)', () => {
  expect(read('docs/checks.md')).toBe(checksPage())
})

test('docs/faulty-registry.md has every fault (mended by: node_modules/.bin/bun scripts/faults-doc.ts)', () => {
  expect(read('docs/faulty-registry.md')).toBe(faultsPage())
})

test('docs/project-file.md has a row for every key of archimage.yaml, and no other', () => {
  const rows = [...read('docs/project-file.md').matchAll(/^\| `([a-z-]+)` +\|/gm)].map(([, key]) => key!)
  expect(rows.sort()).toEqual([...Object.keys(projectSchema.shape), ...Object.keys(serviceSchema.shape)].sort())
})

describe('links lead to files and headings that exist', () => {
  const slug = (heading: string) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-')
  for (const file of ALL)
    test(file, () => {
      for (const [, target = ''] of read(file).matchAll(/\]\(([^)\s]+)\)/g)) {
        if (/^[a-z]+:/.test(target)) continue
        const [path = '', anchor] = target.split('#')
        const to = path === '' ? file : relative(root, join(root, dirname(file), path))
        if (!existsSync(join(root, to))) throw new Error(`${file}: ${target} does not exist`)
        if (anchor === undefined) continue
        const headings = [...read(to).matchAll(/^#+ (.+)$/gm)].map(([, heading]) => slug(heading!))
        expect(headings).toContain(anchor)
      }
    })
})

test('commands and flags in running text exist', async () => {
  const help = new Map<string, string>()
  for (const file of COMMANDS) {
    const prose = read(file).replaceAll(/^( *)```[\s\S]*?^\1```$/gm, '')
    for (const [, name = '', rest = ''] of prose.matchAll(/`archimage ([a-z][a-z-]*)([^`]*)`/g)) {
      if (!help.has(name)) {
        const { code, stdout } = await run([...archimage, name, '--help'])
        if (code !== 0) throw new Error(`${file}: there is no command "archimage ${name}"`)
        help.set(name, stdout)
      }
      for (const [flag] of rest.matchAll(/--[a-z][a-z-]+/g))
        if (!help.get(name)!.includes(flag)) throw new Error(`${file}: archimage ${name} has no ${flag}`)
    }
  }
  expect(help.size).toBeGreaterThan(5)
  expect(await must([...archimage, 'help'])).toContain('build')
})
