import { createHash } from 'node:crypto'
import { ArchimageError, isArchimageError } from '../errors/error.ts'
import { secret } from '../errors/redact.ts'
import type { Digest } from '../oci/digest.ts'
import type { Answer } from '../registry/answer.ts'
import type { Client, RegistryRequest } from '../registry/client.ts'
import { networkReason } from '../registry/failures.ts'
import type { Emit } from '../run/events.ts'
import type { Store } from '../store/store.ts'
import { basic, decoded } from './basic.ts'

/** Record kind: what a URL gave when it was last asked. */
const DOWNLOAD = 'download'
const ATTEMPTS = 3
/** Nobody means to ADD more: 64 GiB. */
const LARGEST = 64 * 2 ** 30

/** The content of a URL, which is a blob of the store. */
export interface Download {
  readonly digest: Digest
  readonly size: number
  /** Last-Modified, in whole seconds since 1970. */
  readonly modified?: number
}

interface DownloadRecord extends Download {
  readonly etag?: string
}

export interface DownloadTools {
  readonly store: Store
  readonly client: Client
  /** Forbids the network: what the store has from last time serves. */
  readonly offline: boolean
  readonly emit: Emit
  readonly signal: AbortSignal
  /** `--secret`: BuildKit's HTTP_AUTH_TOKEN_<host> and HTTP_AUTH_HEADER_<host>. */
  readonly secret?: (id: string) => string | undefined
}

/**
 * Files behind http(s) URLs, each asked for once in a run. One that has an ETag costs one conditional request while it does
 * not change; one with a checksum that the store has costs none.
 */
export class Downloads {
  private readonly tools: DownloadTools
  private readonly running = new Map<string, Promise<Download>>()

  constructor(tools: DownloadTools) {
    this.tools = tools
  }

  /** Throws SOURCE_FAILED, SOURCE_UNREACHABLE, OFFLINE, DIGEST_MISMATCH when it is not what `checksum` says. */
  get(url: string, checksum?: Digest): Promise<Download> {
    const key = `${checksum ?? ''} ${url}`
    let promise = this.running.get(key)
    if (promise === undefined) {
      promise = this.fetch(url, checksum)
      this.running.set(key, promise)
    }
    return promise
  }

  private async fetch(text: string, checksum: Digest | undefined): Promise<Download> {
    const { store } = this.tools
    const url = parse(text)
    const key = createHash('sha256').update(text).digest('hex')
    const record = store.records.get<DownloadRecord>(DOWNLOAD, key)
    const known = record && store.has(record.digest, record.size) ? record : undefined
    if (checksum !== undefined && known?.digest !== checksum && store.has(checksum))
      return { digest: checksum, size: store.size(checksum)! }
    if (known && (this.tools.offline || known.digest === checksum)) return checked(known, checksum, url)
    if (this.tools.offline)
      throw new ArchimageError('OFFLINE', `${shown(url)} is not in the store, and --offline forbids to fetch it`, {
        hint: 'build once without --offline',
      })
    const found = await this.download(url, known, checksum)
    if (found !== known) store.records.put(DOWNLOAD, key, found)
    return found
  }

  private async download(
    url: URL,
    known: DownloadRecord | undefined,
    checksum: Digest | undefined,
  ): Promise<DownloadRecord> {
    for (let attempt = 1; ; attempt++) {
      const answer = await this.ask(url, known?.etag)
      if (answer.status === 304 && known !== undefined) {
        await answer.drain()
        return checked(known, checksum, url)
      }
      try {
        return await this.receive(url, answer, checksum)
      } catch (error) {
        if (isArchimageError(error)) throw error
        if (attempt === ATTEMPTS) throw unreachable(url, `${networkReason(error)} (${attempt} attempts)`, error)
      }
    }
  }

  private async ask(url: URL, etag: string | undefined): Promise<Answer> {
    const { client, signal } = this.tools
    const authorization = this.authorization(url)
    const plain = new URL(url)
    plain.username = ''
    plain.password = ''
    plain.hash = ''
    const request: RegistryRequest = {
      host: client.host(plain.host),
      method: 'GET',
      url: plain,
      headers: {
        ...(etag === undefined ? {} : { 'if-none-match': etag }),
        ...(authorization === undefined ? {} : { authorization }),
      },
      scopes: [],
      plain: true,
      doing: { registry: plain.host, what: `downloading ${shown(url)}` },
      signal,
      attempts: ATTEMPTS,
    }
    let answer: Answer
    try {
      answer = await client.request(request)
    } catch (error) {
      if (!isArchimageError(error) || typeof error.details['said'] !== 'string') throw error
      if (error.code === 'REGISTRY_UNREACHABLE') throw unreachable(url, error.details['said'], error.cause)
      throw failed(url, error.details['said'])
    }
    const { status } = answer
    if ((status >= 200 && status < 300 && status !== 206) || (status === 304 && etag !== undefined)) return answer
    answer.discard()
    throw failed(url, `the answer was ${status}`, advice(status, authorization !== undefined, url))
  }

  private async receive(url: URL, answer: Answer, checksum: Digest | undefined): Promise<DownloadRecord> {
    const { store, emit } = this.tools
    const length = Number(answer.headers.get('content-length') ?? Number.NaN)
    const coded = /\S/.test(answer.headers.get('content-encoding') ?? '')
    const id = `download ${shown(url)}`
    const report = (current: number, done: boolean): void =>
      emit({
        type: 'transfer',
        id,
        direction: 'pull',
        what: shown(url),
        current,
        total: Number.isNaN(length) ? 0 : length,
        done,
      })
    const writer = store.create()
    let size = 0
    try {
      for (let chunk = await answer.read(); chunk !== undefined; chunk = await answer.read()) {
        size += chunk.byteLength
        if (size > LARGEST) throw failed(url, `it has more than ${LARGEST} bytes`)
        writer.write(chunk)
        report(size, false)
      }
      if (!Number.isNaN(length) && !coded && size !== length)
        throw Object.assign(new Error(`${size} bytes came, ${length} were promised`), { code: 'ECONNRESET' })
      const { digest } = writer.commit()
      const etag = answer.headers.get('etag')
      const modified = Math.floor(Date.parse(answer.headers.get('last-modified') ?? '') / 1000)
      return checked(
        {
          digest,
          size,
          ...(etag === null || etag.length > 1024 ? {} : { etag }),
          ...(Number.isNaN(modified) ? {} : { modified }),
        },
        checksum,
        url,
      )
    } catch (error) {
      answer.discard()
      writer.abort()
      throw error
    } finally {
      report(size, true)
    }
  }

  /** BuildKit's secrets first, then user and password of the URL. */
  private authorization(url: URL): string | undefined {
    const ask = (id: string): string | undefined => {
      const value = this.tools.secret?.(id + url.hostname)?.trim()
      if (value) secret(value)
      return value || undefined
    }
    const token = ask('HTTP_AUTH_TOKEN_')
    if (token !== undefined) return `Bearer ${token}`
    const header = ask('HTTP_AUTH_HEADER_')
    if (header !== undefined) return header
    if (url.username === '') return undefined
    return basic({ name: decoded(url.username), password: decoded(url.password) })
  }
}

function parse(text: string): URL {
  if (!URL.canParse(text)) throw new ArchimageError('USAGE', `"${text}" is not a URL`)
  return new URL(text)
}

/** For messages: without credentials, also those that queries of presigned URLs are. */
function shown(url: URL): string {
  return `${url.origin}${url.pathname}${url.search === '' ? '' : '?…'}`
}

function checked<T extends Download>(found: T, checksum: Digest | undefined, url: URL): T {
  if (checksum === undefined || found.digest === checksum) return found
  throw new ArchimageError('DIGEST_MISMATCH', `${shown(url)} is ${found.digest}, and ${checksum} is wanted`, {
    hint: 'the file is not the one that --checksum was made for: find out why before you change the checksum',
    details: { expected: checksum, found: found.digest },
  })
}

function failed(url: URL, why: string, hint?: string): ArchimageError {
  return new ArchimageError('SOURCE_FAILED', `${shown(url)}: ${why}`, hint === undefined ? {} : { hint })
}

function unreachable(url: URL, why: string, cause: unknown): ArchimageError {
  return new ArchimageError('SOURCE_UNREACHABLE', `${shown(url)}: ${why}`, {
    hint: 'check the address, DNS, and HTTPS_PROXY and NO_PROXY of this machine; --offline takes what the store has from last time',
    cause,
  })
}

function advice(status: number, credentials: boolean, url: URL): string | undefined {
  if (status === 401 || status === 403)
    return credentials
      ? 'the credentials are not good for this file'
      : `it wants credentials: --secret id=HTTP_AUTH_TOKEN_${url.hostname},env=TOKEN`
  if (status === 404 || status === 410) return 'check the address; the file may have been moved or taken away'
  return status >= 500 ? 'the fault is on the side of the server: try later' : undefined
}
