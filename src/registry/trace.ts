import { redact } from '../errors/redact.ts'
import { networkCode } from './failures.ts'

/** Gets one line for each exchange with a host. */
export type Trace = (line: string) => void

/** Parts of queries that tell nothing but what is asked for; others may sign or identify. */
const OPEN = new Set(['digest', 'mount', 'from', 'n', 'last', 'service', 'scope', 'artifactType'])

/** `PUT https://host/v2/app/blobs/uploads/1?_state=***&digest=… 201, 12 ms`. No header is shown, and no secret. */
export function traceLine(method: string, url: URL, outcome: number | unknown, milliseconds: number): string {
  const query = [...url.searchParams].map(([name, value]) => `${name}=${OPEN.has(name) ? value : '***'}`).join('&')
  const end = typeof outcome === 'number' ? outcome : networkCode(outcome) || 'failed'
  const where = `${url.origin}${url.pathname}${query === '' ? '' : `?${query}`}`
  return redact(`${method} ${where} ${end}, ${Math.round(milliseconds)} ms`)
}
