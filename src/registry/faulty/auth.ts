import { randomUUID } from 'node:crypto'
import { answerJson } from '../server/answers.ts'
import { parseRoute, splitUrl } from '../server/route.ts'
import type { BasicAuth, BearerAuth } from './faults.ts'

interface Token {
  /** `repository:action` */
  readonly scopes: ReadonlySet<string>
  readonly expires: number
  uses: number
}

/** The tokens that the token server gave out, and the check of the credentials of a request. */
export class Authority {
  readonly #tokens = new Map<string, Token>()

  /** The 401 for this request, or undefined when it may pass. `realm` is the token server's address. */
  check(request: Request, auth: BasicAuth | BearerAuth, realm: string): Response | undefined {
    const needs = scopeOf(request)
    const given = request.headers.get('authorization') ?? ''
    if (auth.kind === 'basic') {
      if (given === basic(auth)) return undefined
      if (given === '' && auth.anonymousPull && needs?.actions.join() === 'pull') return undefined
      return unauthorized('Basic realm="faulty"')
    }
    const named = auth.scope ?? (needs && `repository:${needs.repository}:${needs.actions.join(',')}`)
    const scope = named === undefined ? '' : `,scope="${named}"`
    if (needs !== undefined && auth.silent && !given) return unauthorized()
    const challenge = `Bearer realm="${auth.realm ?? realm}",service="faulty"${scope}`
    const token = this.#tokens.get(/^Bearer (.+)$/i.exec(given)?.[1] ?? '')
    if (!token) return unauthorized(challenge)
    if (token.expires <= Date.now() || token.uses++ >= (auth.maxUses ?? Number.POSITIVE_INFINITY))
      return unauthorized(`${challenge},error="invalid_token"`)
    const has = (action: string) => token.scopes.has(`${needs?.repository}:${action}`)
    const called = (action: string) => (action === 'delete' ? (auth.deleteAction ?? 'delete') : action)
    if (needs && !needs.actions.every(action => has(called(action))))
      return unauthorized(`${challenge},error="insufficient_scope"`)
    return undefined
  }

  /** True when the request's token, if tokens are in use at all, may read `repository`: a mount needs that. */
  mayRead(request: Request, auth: BasicAuth | BearerAuth | undefined, repository: string): boolean {
    if (auth?.kind !== 'bearer') return true
    const token = this.#tokens.get(/^Bearer (.+)$/i.exec(request.headers.get('authorization') ?? '')?.[1] ?? '')
    return token?.scopes.has(`${repository}:pull`) ?? false
  }

  /** The token server: GET with Basic (distribution's token spec) and POST (OAuth 2). */
  async serve(request: Request, auth: BasicAuth | BearerAuth | undefined): Promise<Response> {
    const { path, query } = splitUrl(request.url)
    if (path !== '/token' || auth?.kind !== 'bearer') return new Response('not found', { status: 404 })
    if (request.method === 'POST') {
      if (auth.noPost) return new Response('method not allowed', { status: 405 })
      const form = new URLSearchParams(await request.text())
      const known =
        form.get('grant_type') === 'refresh_token'
          ? auth.identityToken !== undefined && form.get('refresh_token') === auth.identityToken
          : form.get('username') === auth.user && form.get('password') === auth.password
      const scopes = (form.get('scope') ?? '').split(' ')
      if (refused(auth, scopes)) return unauthorized()
      return known ? this.#issue(auth, scopes, true, 'access_token') : unauthorized()
    }
    const given = request.headers.get('authorization')
    if (given !== null && given !== basic(auth)) return unauthorized()
    if (given === null && !auth.anonymousPull) return unauthorized()
    const scopes = new URLSearchParams(query).getAll('scope').flatMap(scope => scope.split(' '))
    if (refused(auth, scopes)) return unauthorized()
    return this.#issue(auth, scopes, given !== null, auth.tokenField ?? 'token')
  }

  #issue(auth: BearerAuth, asked: readonly string[], known: boolean, field: string): Response {
    const scopes = new Set<string>()
    for (const scope of auth.firstScopeOnly ? asked.slice(0, 1) : asked) {
      const [, repository, actions = ''] = /^repository:(.+):([^:]*)$/.exec(scope) ?? []
      for (const action of actions.split(',')) if (known || action === 'pull') scopes.add(`${repository}:${action}`)
    }
    const token = randomUUID()
    const seconds = auth.expiresIn ?? 300
    this.#tokens.set(token, { scopes, expires: Date.now() + 1000 * (seconds > 0 ? seconds : 60), uses: 0 })
    return answerJson({ [field]: token, ...(seconds > 0 ? { expires_in: seconds } : {}) })
  }
}

function refused(auth: BearerAuth, scopes: readonly string[]): boolean {
  const asked = scopes.flatMap(scope => {
    const [, repository = '', actions = ''] = /^repository:(.+):([^:]*)$/.exec(scope) ?? []
    return actions.split(',').map(action => ({ repository, action }))
  })
  if (auth.pullOnly && asked.some(({ action }) => action !== 'pull' && action !== '')) return true
  if (auth.deleteAction === '*' && asked.some(({ action }) => action === 'delete')) return true
  return auth.oneRepository === true && new Set(asked.map(({ repository }) => repository)).size > 1
}

/** What a request needs to be allowed; undefined for /v2/ and the catalog, where any credentials do. */
function scopeOf(request: Request): { readonly repository: string; readonly actions: readonly string[] } | undefined {
  try {
    const route = parseRoute(splitUrl(request.url).path)
    if (!('repository' in route)) return undefined
    const { repository, kind } = route
    const reading = (request.method === 'GET' || request.method === 'HEAD') && kind !== 'upload'
    if (reading) return { repository, actions: ['pull'] }
    return { repository, actions: request.method === 'DELETE' && kind !== 'upload' ? ['delete'] : ['pull', 'push'] }
  } catch {
    return undefined
  }
}

function basic({ user, password }: { readonly user: string; readonly password: string }): string {
  return `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`
}

function unauthorized(challenge?: string): Response {
  const errors = [{ code: 'UNAUTHORIZED', message: 'authentication required' }]
  return answerJson({ errors }, challenge === undefined ? {} : { 'www-authenticate': challenge }, 401)
}
