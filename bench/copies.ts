import { existsSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { must, type Peer, peer, peerOrThrow, type Registry, startRegistry } from '../test/peers/index.ts'
import { modelBytes } from './data.ts'
import { ARCHIMAGE, type Bench, type Contender } from './measure.ts'
import { clearRegistry, expectIndexes, type Parts, peaks, runArchimage, settle } from './parts.ts'

const SHARING = 12
const MB = 1_000_000

/** Where images are copied from: a second registry, filled once. */
interface Source {
  readonly host: string
  readonly image: string
  readonly many: readonly string[]
}

const sources = new WeakMap<Parts, Promise<Source>>()

export function copySource(parts: Parts): Promise<Source> {
  let source = sources.get(parts)
  if (source === undefined) {
    source = parts.more(startRegistry).then(registry => fill(parts, registry))
    sources.set(parts, source)
  }
  return source
}

/** An image of two platforms whose layers have 134 MB, and twelve smaller ones upon three layers of 10 MB that they share. */
async function fill(parts: Parts, { host }: Registry): Promise<Source> {
  const folder = parts.place('copy-source')
  for (const arch of ['amd64', 'arm64'])
    for (const [i, size] of [45, 22, 12].entries())
      writeFileSync(join(folder, `${arch}-${i}`), modelBytes(size * MB, `${arch} ${i}`))
  for (const i of [0, 1, 2]) writeFileSync(join(folder, `shared-${i}`), modelBytes(12 * MB, `shared ${i}`))
  for (let i = 0; i < SHARING; i++) writeFileSync(join(folder, `own-${i}`), modelBytes(MB, `own ${i}`))
  const home = join(parts.folder, 'home-copy-source')
  const build = async (name: string, lines: readonly string[]): Promise<string> => {
    const file = join(folder, `Dockerfile-${name.replace('/', '-')}`)
    writeFileSync(file, `FROM scratch\nARG TARGETARCH\n${lines.map(line => `COPY ${line}\n`).join('')}`)
    const reference = `${host}/${name}:1`
    const args = ['build', folder, '-f', file, '-t', reference, '--platform', 'linux/amd64,linux/arm64', '--push']
    await runArchimage(parts, folder, home, args)
    return reference
  }
  const image = await build('image', ['$TARGETARCH-0 /a', '$TARGETARCH-1 /b', '$TARGETARCH-2 /c'])
  const many: string[] = []
  for (let i = 0; i < SHARING; i++)
    many.push(await build(`many/service-${i}`, ['shared-0 /a', 'shared-1 /b', 'shared-2 /c', `own-${i} /own`]))
  rmSync(home, { recursive: true, force: true })
  return { host, image, many }
}

type Command = readonly [name: Peer, ...commands: readonly (readonly string[])[]]

/** Peers that are installed, with the commands that each runs one after the other. */
function contenders(
  parts: Parts,
  options: {
    readonly peers: readonly Command[]
    readonly args: readonly string[]
    readonly peak: string
    readonly clear: () => Promise<void> | void
    readonly check: () => Promise<void> | void
  },
): Contender[] {
  const { peers, args, peak, clear, check } = options
  const home = join(parts.folder, 'home-copy')
  const prepare = async (): Promise<void> => {
    await clear()
    await settle()
  }
  const env = { HOME: parts.folder }
  return [
    ...peers
      .filter(([name]) => peer(name) !== undefined)
      .map(([name, ...commands]) => ({
        name,
        prepare,
        run: async () => {
          for (const command of commands) await must([peerOrThrow(name), ...command], { env })
        },
        check,
      })),
    { name: ARCHIMAGE, prepare, run: () => runArchimage(parts, parts.folder, home, args, peak), check },
  ]
}

function plain(...hosts: string[]): string[] {
  return hosts.flatMap(host => ['--host', `reg=${host},tls=disabled`])
}

const memory = (name: string): string[] => {
  const peak = peaks.get(name)
  return [peak === undefined ? 'peak memory not known' : `peak memory ${Math.round(peak / 1e6)} MB (target ≤ 100 MB)`]
}

export async function copyToRegistry(parts: Parts): Promise<Bench> {
  const [{ host: from, image }, { host: to }] = await Promise.all([copySource(parts), parts.registry()])
  const target = `${to}/bench-copy:1`
  return {
    name: 'copy-registry',
    title: 'an image of two platforms, 134 MB, from one registry to another',
    rounds: 10,
    contenders: contenders(parts, {
      peers: [
        ['crane', ['copy', '--insecure', image, target]],
        ['regctl', [...plain(from, to), 'image', 'copy', image, target]],
        [
          'skopeo',
          [
            ...['copy', '--all', '--src-tls-verify=false', '--dest-tls-verify=false'],
            ...[`docker://${image}`, `docker://${target}`],
          ],
        ],
        ['buildx', ['imagetools', 'create', '-t', target, image]],
      ],
      args: ['copy', image, target],
      peak: 'copy-registry',
      clear: () => clearRegistry(parts),
      check: () => expectIndexes(parts, ['bench-copy'], 2),
    }),
    target: { ratio: 1, of: 'the best' },
    remarks: () => memory('copy-registry'),
  }
}

export async function copyToFile(parts: Parts, kind: 'layout' | 'tar'): Promise<Bench> {
  const { host, image } = await copySource(parts)
  const out = join(parts.place('copy-files'), kind === 'layout' ? 'layout' : 'image.tar')
  const skopeo = ['copy', '--all', '--src-tls-verify=false', `docker://${image}`]
  const peers: Command[] =
    kind === 'layout'
      ? [
          ['crane', ['pull', '--insecure', '--format', 'oci', image, out]],
          ['regctl', [...plain(host), 'image', 'copy', image, `ocidir://${out}:1`]],
          ['skopeo', [...skopeo, `oci:${out}:1`]],
        ]
      : [
          ['regctl', [...plain(host), 'image', 'export', image, out]],
          ['skopeo', [...skopeo, `oci-archive:${out}:1`]],
        ]
  return {
    name: `copy-${kind}`,
    title: `the same into an OCI ${kind === 'layout' ? 'layout' : 'archive'}`,
    rounds: 10,
    contenders: contenders(parts, {
      peers,
      args: ['copy', image, `${kind === 'layout' ? 'oci' : 'oci-archive'}:${out}:1`],
      peak: `copy-${kind}`,
      clear: () => rmSync(out, { recursive: true, force: true }),
      check: () => {
        if (!existsSync(kind === 'layout' ? join(out, 'index.json') : out)) throw new Error(`${out} is not there`)
      },
    }),
    target: { ratio: 1, of: 'the best' },
    remarks: () => memory(`copy-${kind}`),
  }
}

export async function copyMany(parts: Parts): Promise<Bench> {
  const [{ host: from, many }, { host: to }] = await Promise.all([copySource(parts), parts.registry()])
  const target = (reference: string): string => reference.replace(from, to)
  const yaml = join(parts.place('copy-files'), 'sync.yaml')
  const images = many.map(one => `    ${one.slice(from.length + 1, -2)}: ["1"]\n`).join('')
  writeFileSync(yaml, `${from}:\n  tls-verify: false\n  images:\n${images}`)
  return {
    name: 'copy-many',
    title: '12 images of two platforms that share layers, from one registry to another',
    rounds: 10,
    contenders: contenders(parts, {
      peers: [
        ['crane', ...many.map(one => ['copy', '--insecure', one, target(one)])],
        ['regctl', ...many.map(one => [...plain(from, to), 'image', 'copy', one, target(one)])],
        [
          'skopeo',
          ['sync', '--all', '--dest-tls-verify=false', '--src', 'yaml', '--dest', 'docker', yaml, `${to}/many`],
        ],
      ],
      args: ['copy', ...many, `${to}/`],
      peak: 'copy-many',
      clear: () => clearRegistry(parts),
      check: () =>
        expectIndexes(
          parts,
          many.map(one => one.slice(from.length + 1, -2)),
          2,
        ),
    }),
    target: { ratio: 1, of: 'the best' },
    remarks: () => memory('copy-many'),
  }
}
