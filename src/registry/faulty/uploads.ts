import { answer, answerJson } from '../server/answers.ts'
import { type Route, splitUrl } from '../server/route.ts'
import { takeOne } from './damage.ts'
import type { Faults } from './faults.ts'
import { matches } from './match.ts'

/** What a proxy with a limit lets through when `noWholePut` is 413. */
const LIMIT = 8 * 1024 * 1024 + 64 * 1024

/** The faults of uploads, with what has to be known of sessions for them. */
export class UploadFaults {
  /** Sessions whose last part was smaller than parts may be. */
  readonly #small = new Set<string>()

  /** The refusal of a request that sends bytes, its body read. */
  async refusal(request: Request, route: Route, faults: Faults): Promise<Response | undefined> {
    if (route.kind !== 'upload') return undefined
    const { method } = request
    const length = Number(request.headers.get('content-length') ?? 0)
    const refuse = async (status: number) => {
      for await (const _ of request.body ?? []);
      return answerJson({ errors: [{ code: 'UNSUPPORTED', message: 'this fault was asked for' }] }, {}, status)
    }
    if (method === 'GET' && faults.noUploadState) return answer(404)
    if (method === 'PATCH' && faults.noPatch) return refuse(faults.noPatch)
    if (faults.noWholePut === 413 ? length > LIMIT : method === 'PUT' && length > 0 && faults.noWholePut)
      return refuse(faults.noWholePut!)
    if (method !== 'PATCH' || faults.chunkMinLength === undefined) return undefined
    if (this.#small.has(route.id)) return refuse(416)
    if (length < faults.chunkMinLength) this.#small.add(route.id)
    return undefined
  }

  /** The request with a body that breaks off; undefined when it is to arrive whole. */
  cut(request: Request, faults: Faults): Request | undefined {
    const fault = faults.cutUpload
    if (fault === undefined || request.body === null || !matches(fault.match, request)) return undefined
    const length = Number(request.headers.get('content-length') ?? Number.POSITIVE_INFINITY)
    if (length <= fault.afterBytes || !takeOne(fault)) return undefined
    const { url, method, headers, body } = request
    const part = body.pipeThrough(breaking(fault.afterBytes))
    return new Request(url, { method, headers, body: part, duplex: 'half' } as RequestInit)
  }

  /** What is wrong with the answer to a request for an upload. */
  change(request: Request, response: Response, faults: Faults): Response {
    const { headers, status } = response
    if (status === 202) {
      const location = headers.get('location') ?? ''
      if (faults.uploadLocation === 'absolute') headers.set('location', new URL(location, request.url).href)
      if (faults.uploadLocation === 'query') headers.set('location', `${location}?_state=a%2Bb&x=1`)
      const once = faults.uploadLocation === 'once' && request.method !== 'POST'
      if (once || faults.uploadLocation === 'none') headers.delete('location')
      if (request.method === 'POST' && faults.chunkMinLength !== undefined)
        headers.set('oci-chunk-min-length', String(faults.chunkMinLength))
      if (request.method === 'PATCH' && faults.stalePatch) {
        headers.set('range', '0-0')
        return new Response(null, { status: 201, headers })
      }
    }
    return response
  }

  /** Ends a session, as a registry that keeps nothing of what broke off. */
  async forget(request: Request, handle: (request: Request) => Promise<Response>): Promise<void> {
    await handle(new Request(new URL(splitUrl(request.url).path, request.url), { method: 'DELETE' }))
  }
}

/** Lets so many bytes through, then fails. */
function breaking(bytes: number): TransformStream<Uint8Array, Uint8Array> {
  let left = bytes
  return new TransformStream({
    transform(chunk, controller) {
      if (left > 0) controller.enqueue(chunk.subarray(0, left))
      left -= chunk.byteLength
      if (left <= 0) controller.error(new Error('the connection was cut'))
    },
  })
}
