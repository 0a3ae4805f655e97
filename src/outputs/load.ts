import { ArchimageError, cancelled, isArchimageError } from '../errors/error.ts'
import { hexOf } from '../oci/digest.ts'
import { isRecord } from '../oci/json.ts'
import { formatPlatform, type Platform } from '../oci/platform.ts'
import { layoutArchive, layoutSize } from './archive.ts'
import { type Daemon, type DaemonKind, findDaemon } from './daemon.ts'
import {
  chooseMember,
  hasZstd,
  nameOf,
  type OutputImage,
  type OutputMember,
  type OutputTools,
  repoTags,
} from './image.ts'
import { dockerLayout } from './layout.ts'

export interface LoadTools extends Pick<OutputTools, 'store' | 'fetch' | 'signal' | 'emit' | 'env'> {
  /** Default: whichever answers first. */
  readonly to?: DaemonKind
  /** Default: the only platform, else this machine's. */
  readonly platform?: Platform
}

export interface Loaded {
  readonly service: string
  /** The main name, as docker shows it. */
  readonly name: string
  readonly platform: Platform
  /** "docker at unix:///var/run/docker.sock". */
  readonly daemon: string
}

const MAX_ANSWER = 4 << 20

/**
 * Loads one platform of each image into docker or podman through the engine API, and reads back that it is there. Throws DAEMON
 * when there is none or it refuses, PLATFORM_MISSING, UNSUPPORTED, VERIFY_FAILED, CANCELLED.
 */
export async function load(images: readonly OutputImage[], tools: LoadTools): Promise<Loaded[]> {
  const { signal, env = process.env, to, platform } = tools
  const remedy = 'choose one with --platform, or write all of them with -o type=oci,dest=image.tar'
  const chosen = images.map(image => ({ image, member: chooseMember(image, platform, remedy) }))
  const daemon = await findDaemon(to, env, signal)
  const out: Loaded[] = []
  for (const { image, member } of chosen) {
    await send(daemon, image, member, tools)
    await readBack(daemon, image, member, signal)
    out.push({ service: image.service, name: nameOf(image), platform: member.platform, daemon: daemon.name })
  }
  return out
}

async function send(daemon: Daemon, image: OutputImage, member: OutputMember, tools: LoadTools): Promise<void> {
  const { store, signal } = tools
  const layout = await dockerLayout(image, member, tools)
  const archive = layoutArchive(layout, store)
  let failure: unknown
  let answer: string
  let status: number
  try {
    const response = await daemon.request(
      'POST',
      '/images/load?quiet=1',
      streamOf(archive, error => (failure = error)),
      {
        'content-type': 'application/x-tar',
        'content-length': String(layoutSize(layout)),
      },
    )
    status = response.status
    answer = await bounded(response)
  } catch (error) {
    if (signal.aborted) throw cancelled(signal.reason)
    if (failure !== undefined) throw failure
    throw daemonError(daemon, image, `the connection broke: ${(error as Error).message}`)
  }
  if (failure !== undefined) throw failure
  const problem = problemIn(answer)
  if (status !== 200 || problem !== undefined)
    throw daemonError(daemon, image, problem ?? `it answered ${status}: ${answer.trim().slice(0, 500)}`, member)
}

/** The body of the request. Chunks are copied: the runtime may still hold one when it asks for the next. */
function streamOf(archive: AsyncIterable<Uint8Array>, failed: (error: unknown) => void): ReadableStream<Uint8Array> {
  const chunks = archive[Symbol.asyncIterator]()
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const next = await chunks.next()
          if (next.done) controller.close()
          else controller.enqueue(Uint8Array.from(next.value))
        } catch (error) {
          failed(error)
          controller.error(error)
        }
      },
      cancel: async () => void (await chunks.return?.()),
    },
    { highWaterMark: 0 },
  )
}

/** The answer is a stream of JSON objects; one of them may be an error although the status is 200. */
function problemIn(answer: string): string | undefined {
  for (const line of answer.split('\n')) {
    if (!line.includes('"')) continue
    try {
      const json: unknown = JSON.parse(line)
      if (!isRecord(json)) continue
      const { error, errorDetail, message, cause } = json
      const said =
        error ?? (isRecord(errorDetail) ? errorDetail['message'] : undefined) ?? (cause ? message : undefined)
      if (typeof said === 'string') return said.slice(0, 1000)
      if (typeof message === 'string' && json['stream'] === undefined) return message.slice(0, 1000)
    } catch {}
  }
  return undefined
}

/** What the daemon has under the names is what was sent: docker's ID is the config's digest, or the manifest's with containerd. */
async function readBack(daemon: Daemon, image: OutputImage, member: OutputMember, signal: AbortSignal): Promise<void> {
  const { manifest, platform } = member
  const ids = [manifest.config.digest, manifest.digest].map(hexOf)
  const tags = repoTags(image)
  for (const name of tags.length > 0 ? tags : [manifest.config.digest]) {
    let found: unknown
    try {
      const response = await daemon.request('GET', `/images/${encodeURI(name)}/json`)
      const text = await bounded(response)
      if (response.status !== 200)
        throw verifyError(daemon, name, `it does not know the name (${response.status}: ${text.trim().slice(0, 300)})`)
      found = JSON.parse(text)
    } catch (error) {
      if (signal.aborted) throw cancelled(signal.reason)
      if (isArchimageError(error)) throw error
      throw daemonError(daemon, image, `asked for the image, it answered nothing usable: ${(error as Error).message}`)
    }
    const { Id, Os, Architecture } = isRecord(found) ? found : {}
    if (typeof Id !== 'string' || !ids.includes(Id.replace(/^sha256:/, '')))
      throw verifyError(daemon, name, `its ID is ${String(Id)}, and ${manifest.config.digest} was sent`)
    if (Os !== platform.os || Architecture !== platform.architecture)
      throw verifyError(
        daemon,
        name,
        `it says ${String(Os)}/${String(Architecture)}, and ${formatPlatform(platform)} was sent`,
      )
  }
}

async function bounded(response: Response): Promise<string> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of response.body ?? []) {
    size += chunk.length
    if (size > MAX_ANSWER) throw new Error(`its answer is longer than ${MAX_ANSWER} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString()
}

function daemonError(daemon: Daemon, image: OutputImage, why: string, member?: OutputMember): ArchimageError {
  return new ArchimageError('DAEMON', `${daemon.name} did not take ${nameOf(image)}: ${why}`, {
    hint:
      member !== undefined && hasZstd(member)
        ? 'the image has zstd layers, which some older daemons cannot read: build with -o type=docker,compression=gzip'
        : 'write it to a file with -o type=docker,dest=image.tar and load that to see more',
  })
}

function verifyError(daemon: Daemon, name: string, why: string): ArchimageError {
  return new ArchimageError('VERIFY_FAILED', `${daemon.name} does not have ${name} as it was sent: ${why}`, {
    hint: 'somebody else may have loaded another image under this name at the same moment; load it again',
  })
}
