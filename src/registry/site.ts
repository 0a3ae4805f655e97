import type { Client, RegistryRequest } from './client.ts'
import type { Doing } from './failures.ts'
import type { Host } from './host.ts'

/** One repository on one host: where requests go. */
export interface Site {
  readonly client: Client
  readonly host: Host
  readonly repository: string
  /** Another site comes after it: it is given up sooner. */
  readonly mirror?: boolean
}

export function siteName(site: Site): string {
  return `registry ${site.host.registry}, repository ${site.repository}`
}

/** Builds a request for `/v2/REPOSITORY/REST`. */
export function siteRequest(
  site: Site,
  what: string,
  request: Omit<RegistryRequest, 'host' | 'doing' | 'scopes' | 'url'> & {
    readonly path?: string
    readonly url?: URL
    readonly actions: 'pull' | 'pull,push' | 'pull,delete' | '*'
    readonly moreScopes?: readonly string[]
  },
): RegistryRequest {
  const { path, url, actions, moreScopes = [], ...rest } = request
  const doing: Doing = { registry: site.host.registry, repository: site.repository, what }
  return {
    ...(site.mirror ? { attempts: 2 } : {}),
    ...rest,
    host: site.host,
    doing,
    scopes: [`repository:${site.repository}:${actions}`, ...moreScopes],
    url: url ?? `/v2/${site.repository}/${path}`,
  }
}
