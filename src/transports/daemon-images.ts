import { ArchimageError, cancelled } from '../errors/error.ts'
import { hexOf } from '../oci/digest.ts'
import { isRecord } from '../oci/json.ts'
import type { ImageManifest } from '../oci/manifest.ts'
import { formatPlatform, type Platform } from '../oci/platform.ts'
import type { Daemon } from './daemon-api.ts'

const MAX_ANSWER = 4 << 20

/**
 * Sends an archive for the daemon to load. Throws DAEMON, naming `what`, when it does not take it or the connection breaks; what the
 * body throws; CANCELLED.
 */
export async function loadArchive(
  daemon: Daemon,
  body: AsyncIterable<Uint8Array>,
  size: number,
  { what, hint, signal }: { readonly what: string; readonly hint: string; readonly signal: AbortSignal },
): Promise<void> {
  let failure: { readonly error: unknown } | undefined
  const refuse = (why: string, cause?: unknown): ArchimageError =>
    new ArchimageError('DAEMON', `${daemon.name} did not take ${what}: ${why}`, { hint, cause })
  let status: number
  let answer: string
  try {
    const stream = streamOf(body, error => {
      failure = { error }
    })
    const headers = { 'content-type': 'application/x-tar', 'content-length': String(size) }
    const response = await daemon.request('POST', '/images/load?quiet=1', stream, headers)
    status = response.status
    answer = await boundedText(response)
  } catch (error) {
    if (signal.aborted) throw cancelled(signal.reason)
    if (failure !== undefined) throw failure.error
    throw refuse(`the connection broke: ${(error as Error).message}`, error)
  }
  if (failure !== undefined) throw failure.error
  const problem = problemIn(answer)
  if (status !== 200 || problem !== undefined)
    throw refuse(problem ?? `it answered ${status}: ${answer.trim().slice(0, 500)}`)
}

/** What the daemon says of an image; undefined when it does not know it. Throws DAEMON, CANCELLED. */
export async function inspectImage(
  daemon: Daemon,
  name: string,
  signal: AbortSignal,
): Promise<{ readonly id: string; readonly os: string; readonly architecture: string } | undefined> {
  try {
    const response = await daemon.request('GET', `/images/${encodeURI(name)}/json`)
    const text = await boundedText(response)
    if (response.status === 404) return undefined
    if (response.status !== 200) throw new Error(`${response.status}: ${text.trim().slice(0, 300)}`)
    const found: unknown = JSON.parse(text)
    const { Id, Os, Architecture } = isRecord(found) ? found : {}
    return { id: String(Id), os: String(Os), architecture: String(Architecture) }
  } catch (error) {
    if (signal.aborted) throw cancelled(signal.reason)
    throw new ArchimageError(
      'DAEMON',
      `${daemon.name}, asked for ${name}, answered nothing usable: ${(error as Error).message}`,
      { cause: error },
    )
  }
}

/** Throws VERIFY_FAILED unless the daemon has this image under the name: docker's ID is the config's digest, or the manifest's with containerd. */
export async function verifyLoaded(
  daemon: Daemon,
  name: string,
  { config, digest }: Pick<ImageManifest, 'config' | 'digest'>,
  platform: Platform | undefined,
  signal: AbortSignal,
): Promise<void> {
  const fail = (why: string): never => {
    throw new ArchimageError('VERIFY_FAILED', `${daemon.name} does not have ${name} as it was sent: ${why}`, {
      hint: 'somebody else may have loaded another image under this name at the same moment; load it again',
    })
  }
  const found = (await inspectImage(daemon, name, signal)) ?? fail('it does not know the name')
  const { id, os, architecture } = found
  if (![config.digest, digest].map(hexOf).includes(id.replace(/^sha256:/, '')))
    fail(`its ID is ${id}, and ${config.digest} was sent`)
  if (platform !== undefined && (os !== platform.os || architecture !== platform.architecture))
    fail(`it says ${os}/${architecture}, and ${formatPlatform(platform)} was sent`)
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

export async function boundedText(response: Response): Promise<string> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of response.body ?? []) {
    size += chunk.length
    if (size > MAX_ANSWER) throw new Error(`its answer is longer than ${MAX_ANSWER} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString()
}
