import { isArchimageError } from '../../errors/error.ts'
import { redact } from '../../errors/redact.ts'
import { formatPlatform, type Platform, parsePlatform } from '../../oci/platform.ts'
import { runProgram } from '../../sys/spawn.ts'
import type { Abilities, Problem } from '../engine.ts'
import { abilityAmong } from '../runs.ts'
import { isOlder, type Version, versionIn } from './lacks.ts'

/** How buildx is called: as docker's plugin, or by itself. */
export type BuildxCommand = readonly [program: string, ...args: string[]]

export interface BuilderNode {
  readonly endpoint: string
  readonly status: string
  /** Of its BuildKit: `v0.33.1`. */
  readonly version: string
  readonly platforms: readonly Platform[]
  readonly labels: Readonly<Record<string, string>>
  readonly error?: string
}

/** What `buildx inspect` says of the chosen builder. */
export interface Builder {
  readonly name: string
  readonly driver: string
  readonly nodes: readonly BuilderNode[]
  readonly error?: string
}

/** A builder and how it is reached. */
export interface Buildx {
  readonly command: BuildxCommand
  /** Of buildx, where it says. */
  readonly version?: Version
  readonly builder: Builder
}

const INSTALL = 'install docker with its plugin buildx (docker-buildx-plugin, in Debian docker-buildx)'
/** The first release with `--progress rawjson`. */
const OLDEST: Version = [0, 13]
const ANSWER_WITHIN = 60_000

/** Finds buildx and asks which builder is chosen (`BUILDX_BUILDER`, `docker buildx use`); or why there is none. */
export async function findBuildx(signal: AbortSignal): Promise<Buildx | Problem> {
  const found = await findCommand(signal)
  if ('message' in found) return found
  const [program, ...args] = found.command
  const said = await runProgram(program, [...args, 'inspect'], { signal, timeout: ANSWER_WITHIN })
  if (said.code !== 0) return { message: `buildx has no builder: ${lastLine(said.stderr)}`, hint: CREATE }
  const builder = parseInspect(said.stdout.toString())
  const problem = builderProblem(builder)
  return problem ?? { ...found, builder }
}

const CREATE = 'make one with: docker buildx create --use'

async function findCommand(signal: AbortSignal): Promise<Omit<Buildx, 'builder'> | Problem> {
  let docker = false
  for (const command of [['docker', 'buildx'] as const, ['buildx'] as const]) {
    const [program, ...args] = command
    try {
      const { code, stdout } = await runProgram(program, [...args, 'version'], { signal, timeout: ANSWER_WITHIN })
      if (program === 'docker') docker = true
      if (code !== 0) continue
      const said = stdout.toString()
      // Podman has a program of docker's name that knows the word buildx, and not what it means.
      if (!said.includes('docker/buildx')) continue
      const version = versionIn(said)
      if (version && isOlder(version, OLDEST))
        return {
          message: `buildx ${version.join('.')} is too old: ${OLDEST.join('.')} or newer is needed`,
          hint: INSTALL,
        }
      return { command, ...(version ? { version } : {}) }
    } catch (error) {
      if (isArchimageError(error) || signal.aborted) throw error
    }
  }
  return docker
    ? { message: 'its plugin buildx is not installed', hint: INSTALL }
    : { message: 'it is not installed', hint: INSTALL }
}

function builderProblem({ name, driver, nodes, error }: Builder): Problem | undefined {
  const failed = error ?? (nodes.every(node => node.error !== undefined) ? nodes[0]?.error : undefined)
  if (failed !== undefined)
    return /connect to the docker|docker daemon/i.test(failed)
      ? { message: `no daemon answers: ${failed}`, hint: 'start it (systemctl start docker), or set DOCKER_HOST' }
      : { message: `its builder ${name} cannot be used: ${failed}`, hint: CREATE }
  if (nodes.length === 0) return { message: `its builder ${name} has no nodes`, hint: CREATE }
  const away = nodes.every(node => node.status !== 'running')
  if (away && driver === 'remote')
    return {
      message: `its builder ${name} does not answer at ${nodes.map(node => node.endpoint).join(', ')}`,
      hint: 'start that BuildKit, or choose another builder: docker buildx use',
    }
  return undefined
}

/** Reads what `buildx inspect` prints. */
export function parseInspect(text: string): Builder {
  const [head = '', ...blocks] = text.split(/^Nodes:\s*$/m)
  const top = fieldsOf(head)
  const nodes = blocks
    .join('\n')
    .split(/\n(?=Name:)/)
    .filter(block => /^Name:/m.test(block))
    .map(nodeOf)
  const error = top.get('Error')
  return {
    name: top.get('Name') ?? '',
    driver: top.get('Driver') ?? '',
    nodes,
    ...(error === undefined ? {} : { error: redact(error) }),
  }
}

function nodeOf(block: string): BuilderNode {
  const fields = fieldsOf(block)
  const labels = /^Labels:\s*\n((?: .*(?:\n|$))*)/m.exec(block)?.[1] ?? ''
  const error = fields.get('Error')
  return {
    endpoint: fields.get('Endpoint') ?? '',
    status: fields.get('Status') ?? '',
    version: fields.get('BuildKit version') ?? fields.get('Buildkit') ?? '',
    platforms: (fields.get('Platforms') ?? '').split(/,\s*/).flatMap(platformOf),
    labels: Object.fromEntries(fieldsOf(labels.replaceAll(/^ /gm, ''))),
    ...(error === undefined ? {} : { error: redact(error) }),
  }
}

/** `Key:   value` at the beginning of lines. */
function fieldsOf(text: string): Map<string, string> {
  return new Map(
    [...text.matchAll(/^([A-Za-z][\w .-]*?):[ \t]+(\S.*?)\s*$/gm)].map(match => [match[1]!, match[2]!] as const),
  )
}

/** A star marks platforms that somebody gave the node by hand. */
function platformOf(text: string): Platform[] {
  const name = text.trim().replace(/\*$/, '')
  if (name === '') return []
  try {
    return [parsePlatform(name)]
  } catch (error) {
    if (isArchimageError(error)) return []
    throw error
  }
}

/** What the nodes run, by `formatPlatform`; nothing of a builder that is not started yet. */
export function builderPlatforms({ nodes }: Builder): Readonly<Record<string, 'native' | 'emulated'>> {
  const platforms: Record<string, 'native' | 'emulated'> = {}
  for (const node of nodes) {
    const [own] = node.platforms
    for (const platform of node.platforms) {
      const native = own !== undefined && runsNatively(platform, own)
      const name = formatPlatform(platform)
      if (native || !Object.hasOwn(platforms, name)) platforms[name] = native ? 'native' : 'emulated'
    }
  }
  return platforms
}

/** What a builder with these platforms can do. */
export function builderAbilities(platforms: ReturnType<typeof builderPlatforms>): Abilities {
  const known = Object.keys(platforms).length > 0
  return { ...(known ? { runs: platform => abilityAmong(platforms, platform) } : {}), problems: [] }
}

/** A node names its own platform first. */
function runsNatively(platform: Platform, own: Platform): boolean {
  if (platform.os !== own.os) return false
  return platform.architecture === own.architecture || (platform.architecture === '386' && own.architecture === 'amd64')
}

/**
 * Whether the builder is docker's own daemon with its classic image store: it knows no layouts, so images go in and out by
 * `docker load` and `docker save`.
 */
export function isClassic({ driver, nodes }: Builder): boolean {
  return driver === 'docker' && !nodes.some(node => 'org.mobyproject.buildkit.worker.snapshotter' in node.labels)
}

function lastLine(bytes: Buffer): string {
  return redact(bytes.toString().trim().split('\n').at(-1) ?? '').replace(/^ERROR: /, '')
}
