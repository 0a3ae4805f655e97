import { parseQuery, parseRoute, type Route, splitUrl } from '../server/route.ts'

/** Tests `METHOD /path?query`. */
export function matches(match: RegExp | undefined, request: Request): boolean {
  if (match === undefined) return true
  const { path, query } = splitUrl(request.url)
  return match.test(query === '' ? `${request.method} ${path}` : `${request.method} ${path}?${query}`)
}

export function routeOf(request: Request): Route | undefined {
  try {
    return parseRoute(splitUrl(request.url).path)
  } catch {
    return undefined
  }
}

export function queryOf(request: Request): URLSearchParams {
  return parseQuery(splitUrl(request.url).query)
}
