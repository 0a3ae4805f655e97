import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pushImage, readIndex } from '../test/manifest/images.ts'
import { must, peer, peerOrThrow } from '../test/peers/index.ts'
import { ARCHIMAGE, type Bench, type Contender } from './measure.ts'
import { type Parts, runArchimage } from './parts.ts'

const ARCHITECTURES = ['amd64', 'arm64', 'arm-v7']
const MANY = 12
const ROUNDS = 10

/** Images of one platform each, in the repository that the indexes go to: as a CI job for each platform leaves them. */
async function members(
  parts: Parts,
  repository = 'member',
): Promise<{ readonly host: string; readonly images: readonly string[] }> {
  const { host } = await parts.registry()
  for (const architecture of ARCHITECTURES) {
    const content = `${repository} ${architecture}`
    await pushImage(host, `${repository}:${architecture}`, `linux/${architecture.replace('-', '/')}`, { content })
  }
  return { host, images: ARCHITECTURES.map(architecture => `${host}/${repository}:${architecture}`) }
}

function spec(parts: Parts, name: string, target: string, images: readonly string[]): string {
  const file = join(parts.place('indexes'), `${name}.yaml`)
  writeFileSync(file, `image: ${target}\nmanifests:\n${images.map(image => `  - image: ${image}\n`).join('')}`)
  return file
}

async function expectMembers(targets: readonly string[]): Promise<void> {
  for (const target of targets) {
    const [, host, repository, tag] = /^([^/]+)\/(.+):([^:]+)$/.exec(target)!
    const { manifests } = await readIndex(host!, repository!, tag!)
    if (manifests.length !== ARCHITECTURES.length) throw new Error(`${target} has ${manifests.length} members`)
  }
}

/** An index of three members, made and pushed by one command. */
export async function createIndex(parts: Parts): Promise<Bench> {
  const { host, images } = await members(parts)
  const home = join(parts.folder, 'home-index')
  rmSync(home, { recursive: true, force: true })
  const target = (name: string): string => `${host}/member:${name}`
  const file = spec(parts, 'manifest-tool', target('manifest-tool'), images)
  const crane = images.flatMap(image => ['-m', image])
  const regctl = images.flatMap(image => ['--ref', image])
  const commands: Readonly<Record<string, readonly string[]>> = {
    crane: ['index', 'append', '-t', target('crane'), ...crane],
    regctl: ['--host', `reg=${host},tls=disabled`, 'index', 'create', target('regctl'), ...regctl],
    buildx: ['imagetools', 'create', '-t', target('buildx'), ...images],
    'manifest-tool': ['--plain-http', 'push', 'from-spec', file],
  }
  const peers = (['crane', 'regctl', 'buildx', 'manifest-tool'] as const)
    .filter(name => peer(name) !== undefined)
    .map((name): Contender => {
      const command = [peerOrThrow(name), ...commands[name]!]
      const env = { HOME: parts.folder }
      return {
        name,
        run: async () => void (await must(command, { env })),
        check: () => expectMembers([target(name)]),
      }
    })
  const ours: Contender = {
    name: ARCHIMAGE,
    run: async () =>
      void (await runArchimage(parts, parts.folder, home, [
        'manifest',
        'create',
        '--push',
        target(ARCHIMAGE),
        ...images,
      ])),
    check: () => expectMembers([target(ARCHIMAGE)]),
  }
  return {
    name: 'index',
    title: 'an index of three members that are in the registry, made and pushed',
    rounds: ROUNDS,
    contenders: [...peers, ours],
    target: { ratio: 1, of: 'the best' },
  }
}

/** Twelve of them in one command, each in a repository of its own, beside one. */
export async function createIndexes(parts: Parts): Promise<Bench> {
  const home = join(parts.folder, 'home-index')
  rmSync(home, { recursive: true, force: true })
  const targets: string[] = []
  const files: string[] = []
  for (let i = 0; i < MANY; i++) {
    const { host, images } = await members(parts, `service-${i}`)
    targets.push(`${host}/service-${i}:1`)
    files.push(spec(parts, `service-${i}`, targets[i]!, images))
  }
  const contender = (name: string, count: number): Contender => ({
    name,
    run: async () =>
      void (await runArchimage(parts, parts.folder, home, ['manifest', 'from-spec', ...files.slice(0, count)])),
    check: () => expectMembers(targets.slice(0, count)),
  })
  return {
    name: 'index-many',
    title: `${MANY} indexes of three members each, in as many repositories, in one command`,
    rounds: ROUNDS,
    contenders: [contender('one index', 1), contender(ARCHIMAGE, MANY)],
    target: { ratio: 3, of: 'one index' },
  }
}
