import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { mkdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { archimage, root } from '../../scripts/archimage.ts'
import { type Registry, startRegistry } from '../../src/registry/server/start.ts'
import { type BuildKit, must, removeFolder, startBuildKit, temporaryFolder } from '../peers/index.ts'
import { canRun, requirePeers } from '../peers/require.ts'
import { pushBases } from './bases.ts'
import { buildWithArchimage, buildWithBuildKit, prepare, type Result } from './builders.ts'
import type { Case } from './case.ts'
import { add, heredocs } from './cases/add.ts'
import { config } from './cases/config.ts'
import { contexts } from './cases/contexts.ts'
import { copy } from './cases/copy.ts'
import { epochs } from './cases/epochs.ts'
import { expansion } from './cases/expansion.ts'
import { flags } from './cases/flags.ts'
import { ignore } from './cases/ignore.ts'
import { language } from './cases/language.ts'
import { named } from './cases/named.ts'
import { platforms } from './cases/platforms.ts'
import { refusals } from './cases/refusals.ts'
import { remote } from './cases/remote.ts'
import { packages, steps } from './cases/run.ts'
import { stages } from './cases/stages.ts'
import { differences } from './compare.ts'
import { type Site, startSite } from './site.ts'

const NEEDS = ['buildkitd', 'buildctl', 'runc', 'git', 'root', 'busybox', 'debian', 'emulation'] as const
const GROUPS: Readonly<Record<string, readonly Case[]>> = {
  COPY: copy,
  'flags of COPY and ADD': flags,
  ADD: add,
  'remote sources': remote,
  contexts,
  'named contexts': named,
  epochs,
  heredocs,
  stages,
  config,
  'ignore files': ignore,
  platforms,
  RUN: steps,
  'packages of a Debian': packages,
  language,
  expansion,
  refusals,
}
const ALL = Object.values(GROUPS).flat()
/** Only the cases whose group or name contains this are built: for work on one of them. */
const ONLY = process.env['FIDELITY'] ?? ''
const DOCUMENTED = readFileSync(join(root, 'docs/differences.md'), 'utf8')
/** Builds of each kind at a time. */
const PARALLEL = 4

interface Outcome {
  readonly buildkit: Result
  readonly ours: Result
}

const isWanted = (group: string, one: Case): boolean => `${group}: ${one.name}`.includes(ONLY)

const folder = temporaryFolder('fid')
const outcomes = new Map<string, PromiseWithResolvers<Outcome>>(
  ALL.map(one => [one.name, Promise.withResolvers<Outcome>()]),
)
let registry: Registry | undefined
let buildkit: BuildKit | undefined
let site: Site | undefined
let command = archimage

async function work(queue: Case[]): Promise<void> {
  for (let one = queue.shift(); one !== undefined; one = queue.shift()) {
    const own = join(folder, String(ALL.indexOf(one)))
    const outcome = outcomes.get(one.name)!
    try {
      mkdirSync(own)
      const prepared = prepare(one, own, fill)
      const [theirs, ours] = await Promise.all([
        buildWithBuildKit(prepared, buildkit!, site!.layout),
        buildWithArchimage(prepared, command, { ARCHIMAGE_HOME: join(folder, 'home'), SOURCE_DATE_EPOCH: undefined }),
      ])
      outcome.resolve({ buildkit: theirs, ours })
    } catch (error) {
      outcome.reject(error)
    } finally {
      rmSync(own, { recursive: true, force: true })
    }
  }
}

function fill(text: string): string {
  return text
    .replaceAll('REG/', `${registry!.address}/`)
    .replaceAll('WEB/', `${site!.url}/`)
    .replaceAll('LAYOUT', site!.layout.folder)
    .replaceAll(/COMMIT\(([\w-]+)\)/g, (_, name: string) => site!.commits.get(name)!)
}

async function compiled(): Promise<string> {
  const file = join(folder, 'archimage')
  await must([process.execPath, join(root, 'scripts/compile.ts'), '--outfile', file])
  return file
}

beforeAll(async () => {
  for (const { promise } of outcomes.values()) promise.catch(() => {})
  if (!canRun(...NEEDS)) return
  // Hundreds of starts: the executable saves half a minute of them.
  if (ONLY === '') command = [await compiled()]
  registry = await startRegistry({ port: 0 })
  await pushBases(registry.address, `${registry.address}/base:1`)
  site = await startSite(folder, registry.address)
  buildkit = await startBuildKit({ registries: [registry.address] })
  const queue = Object.entries(GROUPS).flatMap(([group, cases]) => cases.filter(one => isWanted(group, one)))
  for (let i = 0; i < PARALLEL; i++) void work(queue)
}, 60_000)

afterAll(async () => {
  await buildkit?.stop()
  await registry?.close()
  await site?.stop()
  await removeFolder(folder)
}, 60_000)

test('every case has a name of its own', () => {
  expect(new Set(ALL.map(one => one.name)).size).toBe(ALL.length)
})

test('docs/differences.md has what cases show, and what they do not compare', () => {
  const headings = [...DOCUMENTED.matchAll(/^## (.+)$/gm)].map(([, heading]) => heading!)
  const shown = ALL.flatMap(one => one.differs?.section ?? [])
  const apart = [
    'Times',
    'Always an index',
    'The syntax directive',
    'Unknown names in --chown',
    'Redirects of downloads',
    'SOURCE_DATE_EPOCH in steps',
    'Checks',
  ]
  expect(headings.toSorted()).toEqual([...new Set([...shown, ...apart])].sort())
})

for (const [group, cases] of Object.entries(GROUPS))
  describe(group, () => {
    for (const one of cases.filter(one => isWanted(group, one)))
      requirePeers(...NEEDS)(
        one.name,
        async () => {
          const { buildkit: theirs, ours } = await outcomes.get(one.name)!.promise
          if ('refusal' in theirs !== (one.refused ?? false))
            throw new Error(`BuildKit ${'refusal' in theirs ? `refuses: ${theirs.refusal}` : 'builds this'}`)
          const found = differences(theirs, ours, one.args?.['SOURCE_DATE_EPOCH'] !== undefined)
          if (one.differs === undefined) return expect(found).toEqual([])
          if (!DOCUMENTED.includes(`## ${one.differs.section}\n`))
            throw new Error(`docs/differences.md has no "${one.differs.section}", which explains: ${found.join('\n')}`)
          expect(found).not.toEqual([])
          const { only } = one.differs
          expect(found.filter(line => !only.test(line))).toEqual([])
        },
        120_000,
      )
  })
