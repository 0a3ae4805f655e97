import { spawnSync } from 'node:child_process'
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { must, peer } from '../test/peers/index.ts'
import { pushFolder } from './bases.ts'
import { copyMany, copyToFile, copyToRegistry } from './copies.ts'
import { programBytes } from './data.ts'
import { longDockerfile, writeDockerfiles } from './dockerfiles.ts'
import { createIndex, createIndexes } from './indexes.ts'
import { ARCHIMAGE, type Bench, type Contender } from './measure.ts'
import {
  clearBuildah,
  clearBuildKit,
  clearRegistry,
  diskUsage,
  expectIndexes,
  type Parts,
  peaks,
  runArchimage,
  settle,
} from './parts.ts'
import { CHANGED, LIGHT, SERVICES, writeProject } from './project.ts'
import { unpackContenders } from './unpack.ts'

const BUILDKIT = 'buildkit'
const BUILDAH = 'buildah'
const MIB = 2 ** 20

/** All benches by name. Each makes what it needs when it is asked for. */
export const BENCHES: Readonly<Record<string, (parts: Parts) => Promise<Bench>>> = {
  'cold-light': async parts => ({
    name: 'cold-light',
    title: '9 services without compilers × 2 platforms, everything cold, pushed',
    rounds: 5,
    contenders: await projectContenders(parts, 'cold', LIGHT),
    target: { ratio: 0.6, of: BUILDKIT },
    remarks: () => coldRemarks(parts),
  }),
  cold: async parts => ({
    name: 'cold',
    title: '12 services × 2 platforms, three of them compiled, everything cold, pushed',
    rounds: 3,
    contenders: await projectContenders(parts, 'cold'),
    target: { ratio: 1, of: BUILDKIT },
    remarks: () => coldRemarks(parts),
  }),
  steps: async parts => {
    const { host } = await parts.bases()
    const folder = parts.place('steps')
    const steps = Array.from({ length: 50 }, (_, i) => `RUN echo ${i} > /step-${i}\n`)
    const write = (round: number): void =>
      writeFileSync(join(folder, 'Dockerfile'), `FROM ${host}/busybox:1\nENV ROUND=${round}\n${steps.join('')}`)
    return {
      name: 'steps',
      title: '50 trivial RUN steps, new each time, into an OCI archive',
      rounds: 5,
      contenders: archiveContenders(parts, folder, write),
      target: { ratio: 0.6, of: BUILDKIT },
    }
  },
  unpack: async parts => {
    const files = parts.place('unpack-files')
    writeSmallFiles(files, 100_000)
    return {
      name: 'unpack',
      title: 'a layer of 100,000 small files unpacked, gzip, its index known',
      rounds: 5,
      contenders: await unpackContenders(parts.place('unpack'), files),
      target: { ratio: 1, of: 'tar' },
    }
  },
  'large-base': async parts => {
    const { host } = await parts.bases()
    const files = parts.place('large-base-files')
    writeSmallFiles(files, 100_000)
    await pushFolder(host, 'large:1', files)
    const folder = parts.place('large-base')
    const write = (round: number): void =>
      writeFileSync(join(folder, 'Dockerfile'), `FROM ${host}/large:1\nRUN echo ${round} > /files/0/0\n`)
    return {
      name: 'large-base',
      title: 'a RUN, new each time, that changes one file of a base of 100,000, into an OCI archive',
      rounds: 10,
      contenders: archiveContenders(parts, folder, write),
      target: { ratio: 0.6, of: BUILDKIT },
    }
  },
  unchanged: async parts => ({
    name: 'unchanged',
    title: '12 services × 2 platforms, nothing changed, pushed',
    rounds: 10,
    contenders: await projectContenders(parts, 'unchanged'),
    target: { ratio: 0.25, of: BUILDKIT },
  }),
  changed: async parts => ({
    name: 'changed',
    title: '12 services × 2 platforms, one file of one service changed, pushed',
    rounds: 10,
    contenders: await projectContenders(parts, 'changed'),
    target: { ratio: 0.5, of: BUILDKIT },
  }),
  'big-file': async parts => {
    const folder = parts.place('big-file')
    writeFileSync(join(folder, 'data.bin'), programBytes(180 * MIB, 'big file'))
    writeFileSync(join(folder, 'Dockerfile'), 'FROM scratch\nCOPY data.bin /data.bin\n')
    return {
      name: 'big-file',
      title: 'one file of 180 MiB from the context into an OCI archive, gzip, cold',
      rounds: 5,
      contenders: archiveContenders(parts, folder, 'cold'),
      target: { ratio: 0.2, of: 'the best' },
      remarks: () => {
        const [ours] = archiveLayers(archiveOf(parts, ARCHIMAGE))
        const plain = gzipSize(readFileSync(join(folder, 'data.bin')))
        return [
          `layer ${size(ours ?? 0)}, ${((ours ?? 0) / plain).toFixed(3)} × gzip -6 of the file (target ≤ 1.02)`,
          memory('big-file'),
        ]
      },
    }
  },
  scratch: async parts => {
    const folder = parts.place('scratch')
    writeFileSync(join(folder, 'Dockerfile'), 'FROM scratch\nCOPY file /file\n')
    return {
      name: 'scratch',
      title: 'FROM scratch and one small file, new each time, into an OCI archive',
      rounds: 10,
      contenders: archiveContenders(parts, folder, round => writeFileSync(join(folder, 'file'), `round ${round}\n`)),
      target: { ratio: 0.5, of: 'the best' },
    }
  },
  'files-cold': parts => manyFiles(parts, 'cold'),
  'files-unchanged': parts => manyFiles(parts, 'unchanged'),
  'big-context': async parts => {
    const folder = parts.place('big-context')
    writeSmallFiles(folder, 100_000)
    writeFileSync(join(folder, 'Dockerfile'), 'FROM scratch\nCOPY 0/0 0/1 0/2 /\n')
    return {
      name: 'big-context',
      title: 'a context of 100,000 files of which three are copied, unchanged',
      rounds: 10,
      contenders: archiveContenders(parts, folder, 'unchanged'),
      target: { ratio: 0.8, of: 'the best' },
    }
  },
  'copy-registry': copyToRegistry,
  'copy-layout': parts => copyToFile(parts, 'layout'),
  'copy-tar': parts => copyToFile(parts, 'tar'),
  'copy-many': copyMany,
  index: createIndex,
  'index-many': createIndexes,
  'parse-project': parts =>
    planning(parts, 'parse-project', '200 Dockerfiles of 100 lines', folder => {
      writeDockerfiles(folder, 200)
    }),
  'parse-long': parts =>
    planning(parts, 'parse-long', 'one Dockerfile of 20,000 lines: continuations and a heredoc', folder => {
      writeFileSync(join(folder, 'Dockerfile'), longDockerfile(20_000))
      writeFileSync(
        join(folder, 'archimage.yaml'),
        'platforms: [linux/amd64]\nservices:\n  long: { dockerfile: Dockerfile }\n',
      )
    }),
  start: async parts => {
    const version = (name: string, command: readonly (string | undefined)[]): Contender[] =>
      command[0] === undefined ? [] : [{ name, run: async () => void (await must(command as string[])) }]
    return {
      name: 'start',
      title: 'start: `version`',
      rounds: 20,
      contenders: [
        ...version('crane', [peer('crane'), 'version']),
        ...version('skopeo', [peer('skopeo'), '--version']),
        ...version('buildx', [peer('buildx'), 'version']),
        ...version(ARCHIMAGE, [parts.archimage, 'version']),
      ],
      limit: 10,
    }
  },
}

/** How one contender builds and pushes the project, and how it forgets everything. */
interface Driver {
  readonly name: string
  readonly folder: string
  readonly build: (services: readonly string[]) => Promise<void>
  readonly forget: () => Promise<void>
}

async function drivers(parts: Parts): Promise<Driver[]> {
  const { host } = await parts.registry()
  const { host: bases } = await parts.bases()
  const project = (name: string) => {
    const folder = parts.place(`project-${name}`)
    if (!existsSync(join(folder, 'archimage.yaml'))) writeProject(folder, host, bases, `bench-${name}`)
    return folder
  }
  const list: Driver[] = []
  if (parts.hasBuildKit) {
    const folder = project(BUILDKIT)
    const { buildx } = await parts.buildkit()
    const bake = ['bake', '--file', 'docker-bake.hcl', '--push', '--allow', `fs.read=${folder}`]
    const build = async (services: readonly string[]) => {
      await buildx([...bake, services === LIGHT ? 'light' : 'all'], { cwd: folder })
    }
    list.push({ name: BUILDKIT, folder, build, forget: () => clearBuildKit(parts) })
  }
  if (parts.hasBuildah) {
    const folder = project(BUILDAH)
    const { env } = await parts.podman()
    const build = async () => void (await must(['sh', 'buildah.sh'], { cwd: folder, env }))
    list.push({ name: BUILDAH, folder, build, forget: () => clearBuildah(parts) })
  }
  const folder = project(ARCHIMAGE)
  const home = join(parts.folder, 'home-project')
  list.push({
    name: ARCHIMAGE,
    folder,
    build: services => runArchimage(parts, folder, home, ['build', '--push', ...services], 'project'),
    forget: async () => parts.discard(home),
  })
  return list
}

/**
 * The registry is one for all and emptied before every cold build. For warm rounds each contender builds once at first; as each
 * has names of its own, it then finds its own last work in the registry.
 */
async function projectContenders(
  parts: Parts,
  state: 'cold' | 'unchanged' | 'changed',
  services: readonly string[] = SERVICES,
): Promise<Contender[]> {
  // buildah 1.28 wants every stage's base for the target platform, so a compiler for the build platform is none for it.
  const list = (await drivers(parts)).filter(({ name }) => name !== BUILDAH || services === LIGHT)
  return list.map(({ name, folder, build, forget }) => ({
    name,
    ...(name === BUILDAH ? { rounds: state === 'cold' ? 1 : 5 } : {}),
    prepare: async round => {
      if (state === 'cold') {
        await clearRegistry(parts)
        await forget()
      } else if (round === 0) await build(services)
      if (state === 'changed') appendFileSync(join(folder, CHANGED), `{"round": ${round}, "at": ${Date.now()}}\n`)
      await settle()
    },
    run: () => build(services),
    check: () =>
      expectIndexes(
        parts,
        services.map(service => `bench-${name}/${service}`),
        2,
      ),
  }))
}

/** `plan` of a project that was never built: Dockerfiles parsed and lowered, what they copy looked up and hashed. */
async function planning(parts: Parts, name: string, what: string, write: (folder: string) => void): Promise<Bench> {
  const folder = parts.place(name)
  write(folder)
  const env = { ...process.env, ARCHIMAGE_HOME: join(parts.folder, 'home-plan') }
  const run = async (): Promise<void> => void (await must([parts.archimage, '-C', folder, 'plan'], { env }))
  return { name, title: `plan: ${what}`, rounds: 20, contenders: [{ name: ARCHIMAGE, run }], limit: 150 }
}

function archiveOf(parts: Parts, name: string): string {
  return join(parts.place('archives'), `${name}.tar`)
}

/** `state` cold: everything forgotten before each round; unchanged: built once before; a function: changes the context. */
function archiveContenders(
  parts: Parts,
  folder: string,
  state: 'cold' | 'unchanged' | ((round: number) => void),
): Contender[] {
  const home = join(parts.folder, 'home-archives')
  const contender = (
    name: string,
    build: (archive: string) => Promise<unknown>,
    forget: () => Promise<void>,
  ): Contender => {
    const archive = archiveOf(parts, name)
    return {
      name,
      prepare: async round => {
        if (state === 'cold') await forget()
        else if (state === 'unchanged') await build(archive)
        // Time and name of the contender, so that nobody has seen these bytes before.
        else state(Date.now() + round)
        rmSync(archive, { force: true })
        await settle()
      },
      run: async () => void (await build(archive)),
      check: () => {
        if (archiveLayers(archive).length === 0) throw new Error(`${archive} holds no layer`)
      },
    }
  }
  const list: Contender[] = []
  if (parts.hasBuildKit)
    list.push(
      contender(
        BUILDKIT,
        async archive => (await parts.buildkit()).buildx(['build', '-q', '-o', `type=oci,dest=${archive}`, folder]),
        () => clearBuildKit(parts),
      ),
    )
  if (parts.hasBuildah)
    list.push(
      contender(
        BUILDAH,
        async archive => {
          const { buildah } = await parts.podman()
          await buildah(['bud', '-q', '--layers', '-t', 'bench-archive', folder])
          await buildah(['push', '-q', 'bench-archive', `oci-archive:${archive}`])
        },
        () => clearBuildah(parts),
      ),
    )
  list.push(
    contender(
      ARCHIMAGE,
      archive => runArchimage(parts, folder, home, ['build', folder, '-o', `type=oci,dest=${archive}`], 'big-file'),
      async () => parts.discard(home),
    ),
  )
  return list
}

async function manyFiles(parts: Parts, state: 'cold' | 'unchanged'): Promise<Bench> {
  const folder = parts.place('many-files')
  if (!existsSync(join(folder, 'Dockerfile'))) {
    writeSmallFiles(join(folder, 'files'), 100_000)
    writeFileSync(join(folder, 'Dockerfile'), 'FROM scratch\nCOPY files/ /files/\n')
  }
  return {
    name: `files-${state}`,
    title: `100,000 small files copied, into an OCI archive, ${state}`,
    rounds: 5,
    contenders: archiveContenders(parts, folder, state),
    target: { ratio: 0.3, of: BUILDKIT },
  }
}

function writeSmallFiles(folder: string, count: number): void {
  for (let i = 0; i < count; i += 1000) {
    const part = join(folder, `${i / 1000}`)
    mkdirSync(part, { recursive: true })
    for (let j = 0; j < 1000; j++) writeFileSync(join(part, `${j}`), `file ${i + j} of many\n`.repeat(1 + (j % 50)))
  }
}

/** Sizes of the blobs of an OCI archive that are gzip: its layers. */
function archiveLayers(archive: string): number[] {
  const sizes: number[] = []
  const bytes = readFileSync(archive)
  for (let at = 0; at + 512 <= bytes.length && bytes[at] !== 0; ) {
    const length = Number.parseInt(bytes.toString('latin1', at + 124, at + 136), 8)
    if (bytes[at + 512] === 0x1f && bytes[at + 513] === 0x8b && length > 0) sizes.push(length)
    at += 512 + Math.ceil(length / 512) * 512
  }
  return sizes
}

async function coldRemarks(parts: Parts): Promise<string[]> {
  const ours = diskUsage(join(parts.folder, 'home-project'))
  const lines = [memory('project')]
  if (!parts.hasBuildKit) return [`disk ${size(ours)}`, ...lines]
  const theirs = diskUsage(join((await parts.buildkit()).folder, 'root'))
  return [
    `disk ${size(ours)}, buildkit ${size(theirs)}: ${(ours / theirs).toFixed(2)} × (target ≤ 1.2)`,
    ...(await layerRemark(parts)),
    ...lines,
  ]
}

/** The layers that archimage, the last contender, left in the registry, against gzip -6 of the same tars. */
async function layerRemark(parts: Parts): Promise<string[]> {
  const { storage } = await parts.registry()
  const blobs = join(storage, 'docker/registry/v2/blobs/sha256')
  let ours = 0
  let plain = 0
  for (const prefix of readdirSync(blobs))
    for (const digest of readdirSync(join(blobs, prefix))) {
      const file = join(blobs, prefix, digest, 'data')
      const bytes = readFileSync(file)
      if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) continue
      ours += statSync(file).size
      plain += gzipSize(gunzipSync(bytes))
    }
  return [`layers ${size(ours)}, ${(ours / plain).toFixed(3)} × gzip -6 (target ≤ 1.02)`]
}

/** What GNU gzip makes of it at level 6. */
function gzipSize(bytes: Uint8Array): number {
  return spawnSync('gzip', ['-6nc'], { input: bytes, maxBuffer: 2 ** 31 }).stdout.length
}

function memory(name: string): string {
  const peak = peaks.get(name)
  return peak === undefined ? 'peak memory not known' : `peak memory ${size(peak)} (target ≤ 400 MB)`
}

function size(bytes: number): string {
  return bytes < 1e7 ? `${(bytes / 1e3).toFixed(0)} kB` : `${(bytes / 1e6).toFixed(0)} MB`
}
