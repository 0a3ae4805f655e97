import { ArchimageError, isArchimageError } from '../errors/error.ts'
import { redact } from '../errors/redact.ts'

/** One entry of a registry's error document (distribution-spec, "Error codes"). */
export interface RegistryProblem {
  readonly code: string
  readonly message: string
  readonly detail?: string
}

/** What was being done, for messages. */
export interface Doing {
  readonly registry: string
  readonly repository?: string
  /** "reading manifest 1.0", "sending blob sha256:…". */
  readonly what: string
}

/** What somebody else said, in one line and without secrets. */
const clean = (text: string, limit: number) =>
  redact(text)
    .replace(/[\p{Cc}\s]+/gu, ' ')
    .trim()
    .slice(0, limit)

/** Reads an error body: the spec's document, or a line of text from whoever answered instead. */
export function parseProblems(body: Uint8Array, contentType: string): readonly RegistryProblem[] {
  const text = Buffer.from(body).toString('utf8')
  try {
    const json = JSON.parse(text) as { errors?: unknown; message?: unknown }
    const list = Array.isArray(json.errors) ? json.errors : [json]
    return list.slice(0, 8).flatMap((item: unknown) => {
      if (typeof item === 'string') return [{ code: '', message: clean(item, 300) }]
      const { code, message, detail } = (item ?? {}) as Record<string, unknown>
      if (typeof code !== 'string' && typeof message !== 'string') return []
      const more = detail === undefined || detail === null ? '' : clean(JSON.stringify(detail), 300)
      return [
        {
          code: clean(String(code ?? ''), 60),
          message: clean(String(message ?? ''), 300),
          ...(more === '' ? {} : { detail: more }),
        },
      ]
    })
  } catch {
    if (/html/i.test(contentType)) {
      const title = /<title>([^<]{1,200})<\/title>/i.exec(text)?.[1]
      return title === undefined ? [] : [{ code: '', message: clean(title, 200) }]
    }
    const line = clean(text, 200)
    return line === '' ? [] : [{ code: '', message: line }]
  }
}

const STATUS: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  409: 'Conflict',
  412: 'Precondition Failed',
  413: 'Content Too Large',
  416: 'Range Not Satisfiable',
  429: 'Too Many Requests',
  500: 'Internal Server Error',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
  504: 'Gateway Timeout',
}

export function place({ registry, repository }: Doing): string {
  return `registry ${registry}${repository === undefined ? '' : `, repository ${repository}`}`
}

/** The error for an answer that refuses. `anonymous`: no credentials were sent. */
export function refusal(
  doing: Doing,
  status: number,
  problems: readonly RegistryProblem[],
  facts: { readonly anonymous: boolean; readonly attempts?: number; readonly credentialSource?: string },
): ArchimageError {
  const said = problems.map(p => [p.code, p.message].filter(Boolean).join(': ') + (p.detail ? ` (${p.detail})` : ''))
  const tried = facts.attempts !== undefined && facts.attempts > 1 ? ` after ${facts.attempts} attempts` : ''
  const answer =
    `the answer was ${status} ${STATUS[status] ?? ''}`.trimEnd() +
    `${tried}${said.length > 0 ? `: ${said.join('; ')}` : ''}`
  const codes = problems.map(p => p.code)
  const hint = remedy(doing, status, codes, facts)
  const code =
    status === 401 || status === 403
      ? 'UNAUTHORIZED'
      : codes.includes('DIGEST_INVALID')
        ? 'DIGEST_MISMATCH'
        : 'REGISTRY_ERROR'
  return new ArchimageError(code, `${place(doing)}: ${doing.what}: ${answer}`, {
    ...(hint === undefined ? {} : { hint }),
    details: { registry: doing.registry, repository: doing.repository, status, codes, said: answer },
  })
}

function remedy(
  { registry, repository = '' }: Doing,
  status: number,
  codes: readonly string[],
  facts: { readonly anonymous: boolean; readonly credentialSource?: string },
): string | undefined {
  const login = `archimage login ${registry}`
  if (status === 401 || status === 403) {
    const used = facts.credentialSource === undefined ? '' : ` (those of ${facts.credentialSource} were used)`
    if (facts.anonymous)
      return `either ${registry}/${repository} does not exist, or it needs credentials and none were found: ${login}`
    return status === 401
      ? `either the credentials are wrong or expired${used}, or ${repository || registry} does not exist: ${login}`
      : `the account may not do this${used}; some registries also answer 403 for what does not exist. Ask for the right to ${repository || registry}, or: ${login}`
  }
  if (codes.includes('MANIFEST_BLOB_UNKNOWN'))
    return 'the registry lacks a blob or a manifest that this one names; push again, its parts are sent anew'
  if (status === 404 && (codes.includes('NAME_UNKNOWN') || codes.some(c => c.startsWith('RepositoryNotFound'))))
    return `the repository does not exist; where repositories are not made by the first push (ECR, Harbor's projects), create ${repository} first`
  if (status === 404)
    return `check the name, and that ${registry} speaks the registry protocol at /v2/; on ECR and Harbor the repository or project has to exist`
  if (status === 429) return `the registry limits the number of requests; wait, or log in for a higher limit: ${login}`
  if (status === 413) return 'a proxy before the registry limits the size of uploads (nginx: client_max_body_size)'
  if (status === 405) return 'the registry does not allow this, or it is read-only (a proxy cache, for instance)'
  if (status === 507) return 'the registry is out of space'
  if (status >= 500) return 'the fault is on the side of the registry: look at its log, or try later'
  return undefined
}

const NETWORK: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nothing listens there',
  ConnectionRefused: 'nothing listens there',
  ENOTFOUND: 'the name cannot be resolved',
  EAI_AGAIN: 'the name cannot be resolved just now',
  ECONNRESET: 'the connection was cut',
  ConnectionClosed: 'the connection was cut',
  EPIPE: 'the connection was cut',
  ETIMEDOUT: 'no answer',
  EHOSTUNREACH: 'there is no route to it',
  ENETUNREACH: 'the network is unreachable',
  EPROTO: 'the TLS handshake failed',
  EINVAL: 'its address is not one',
  ERR_TLS_CERT_ALTNAME_INVALID: 'its certificate is for another name',
  CERT_HAS_EXPIRED: 'its certificate has expired',
  CERT_NOT_YET_VALID: 'its certificate is not valid yet',
  CERT_REVOKED: 'its certificate was revoked',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'its certificate is signed by itself',
  SELF_SIGNED_CERT_IN_CHAIN: 'its certificate is signed by an authority that is not known here',
  UNABLE_TO_GET_ISSUER_CERT: 'its certificate is signed by an authority that is not known here',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'its certificate is signed by an authority that is not known here',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'its certificate is signed by an authority that is not known here',
}

export function networkCode(error: unknown): string {
  return String((error as { code?: unknown } | null)?.code ?? '')
}

export function isCertificateProblem(error: unknown): boolean {
  return /CERT|UNABLE_TO_VERIFY|SELF_SIGNED|ERR_TLS/.test(networkCode(error))
}

/** Why the network failed, in words. */
export function networkReason(error: unknown): string {
  return NETWORK[networkCode(error)] ?? clean(String((error as Error | null)?.message ?? error), 200)
}

/** The error for a host that could not be talked to. */
export function unreachable(doing: Doing, host: string, error: unknown, attempts: number): ArchimageError {
  const code = networkCode(error)
  const known = NETWORK[code]
  const why = networkReason(error)
  const said = `${host} cannot be reached${attempts > 1 ? ` (${attempts} attempts)` : ''}: ${why}${code === '' || why.includes(code) ? '' : ` (${code})`}`
  return new ArchimageError('REGISTRY_UNREACHABLE', `${place(doing)}: ${doing.what}: ${said}`, {
    hint: wayOut(code, doing, host),
    // The runtime's words for what we say ourselves help nobody.
    ...(known === undefined ? { cause: error } : {}),
    details: { registry: doing.registry, repository: doing.repository, code, said },
  })
}

function wayOut(code: string, { registry }: Doing, host: string): string {
  const accept = `or accept any certificate with --insecure=${registry}`
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID')
    return `call the registry by a name that its certificate has, let one be made that has "${host.replace(/:\d+$/, '')}" (subjectAltName), ${accept}`
  if (code === 'CERT_HAS_EXPIRED' || code === 'CERT_NOT_YET_VALID')
    return `the certificate has to be renewed; check also the clock of this machine, ${accept}`
  if (code === 'CERT_REVOKED') return 'the certificate has to be replaced'
  if (isCertificateProblem({ code }))
    return `its certificate is not trusted: put the authority's certificate at /etc/docker/certs.d/${registry}/ca.crt or ~/.config/containers/certs.d/${registry}/ca.crt, ${accept}`
  if (code === 'EPROTO')
    return 'the server may speak plain HTTP: if that is meant, use --insecure, or "insecure = true" in registries.conf'
  if (code === 'ENOTFOUND') return 'check the name of the registry, and DNS or HTTPS_PROXY of this machine'
  return 'check that the registry runs, its port, and HTTPS_PROXY and NO_PROXY of this machine'
}

export function badAnswer(doing: Doing, why: string, hint?: string): ArchimageError {
  return new ArchimageError('REGISTRY_ANSWER', `${place(doing)}: ${doing.what}: ${why}`, {
    hint: hint ?? 'a proxy between here and the registry may be answering in its place',
    details: { registry: doing.registry, repository: doing.repository, said: why },
  })
}

/** What one mirror said when it was asked: an error, or nothing where it does not have it. */
export interface MirrorAnswer {
  readonly mirror: string
  readonly error?: ArchimageError
}

/** The error of the registry itself, with what its mirrors had said before. */
export function withMirrors(error: unknown, answers: readonly MirrorAnswer[]): unknown {
  if (answers.length === 0 || !isArchimageError(error) || error.code === 'CANCELLED') return error
  const said = answers.map(({ mirror, error: own }) => {
    if (own === undefined) return `${mirror} does not have it`
    const text = own.details['said']
    return `${mirror}: ${typeof text === 'string' ? text : own.message}`
  })
  const down = error.code === 'REGISTRY_UNREACHABLE'
  const hint = down
    ? `if this machine is to use mirrors only: bring the image to one of them (registries.conf names them), or mend it; else: ${error.hint}`
    : error.hint
  return new ArchimageError(error.code, `${error.message}; its mirrors before it: ${said.join('; ')}`, {
    ...(hint === undefined ? {} : { hint }),
    ...(error.place === undefined ? {} : { place: error.place }),
    details: error.details,
    cause: error.cause,
    parts: error.parts,
  })
}
