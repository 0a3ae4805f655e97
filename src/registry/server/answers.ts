/** The error codes of distribution-spec 1.1 ("Error Codes"), the old PAGINATION_NUMBER_INVALID of its forerunner, and UNKNOWN. */
export type RegistryCode =
  | 'BLOB_UNKNOWN'
  | 'BLOB_UPLOAD_INVALID'
  | 'BLOB_UPLOAD_UNKNOWN'
  | 'DIGEST_INVALID'
  | 'MANIFEST_BLOB_UNKNOWN'
  | 'MANIFEST_INVALID'
  | 'MANIFEST_UNKNOWN'
  | 'NAME_INVALID'
  | 'NAME_UNKNOWN'
  | 'SIZE_INVALID'
  | 'TAG_INVALID'
  | 'UNAUTHORIZED'
  | 'DENIED'
  | 'UNSUPPORTED'
  | 'TOOMANYREQUESTS'
  | 'PAGINATION_NUMBER_INVALID'
  | 'UNKNOWN'

export interface Fault {
  readonly code: RegistryCode
  readonly message: string
  readonly detail?: unknown
}

/** Thrown by handlers; becomes the answer. Never leaves the server. */
export class Refusal extends Error {
  readonly status: number
  readonly faults: readonly Fault[]
  readonly headers: Readonly<Record<string, string>>

  constructor(status: number, faults: Fault | readonly Fault[], headers: Readonly<Record<string, string>> = {}) {
    const list = Array.isArray(faults) ? (faults as readonly Fault[]) : [faults as Fault]
    super(list[0]?.message ?? '')
    this.status = status
    this.faults = list
    this.headers = headers
  }
}

export function refuse(
  status: number,
  code: RegistryCode,
  message: string,
  detail?: unknown,
  headers?: Readonly<Record<string, string>>,
): Refusal {
  return new Refusal(status, { code, message, ...(detail === undefined ? {} : { detail }) }, headers)
}

/** Browsers must never take what somebody pushed for a page of this server. */
const COMMON = { 'docker-distribution-api-version': 'registry/2.0', 'x-content-type-options': 'nosniff' }

export function answer(status: number, headers: Readonly<Record<string, string>> = {}, body: BodyInit | null = null) {
  return new Response(body, { status, headers: { ...COMMON, ...headers } })
}

export function answerJson(value: unknown, headers: Readonly<Record<string, string>> = {}, status = 200): Response {
  const body = Buffer.from(JSON.stringify(value))
  // Also for HEAD, whose answer has no body to take the length from.
  const length = { 'content-length': String(body.length) }
  return answer(status, { 'content-type': 'application/json', ...length, ...headers }, body)
}

export function answerRefusal(refusal: Refusal): Response {
  return answerJson({ errors: refusal.faults }, refusal.headers, refusal.status)
}

/** RFC 9110 section 13.1.2: the client has it already. What has a digest never changes. */
export function isUnchanged(request: Request, etag: string): boolean {
  const known = request.headers.get('if-none-match')
  return known?.split(',').some(tag => tag.trim().replace(/^W\//, '') === etag) ?? false
}
