import { isIP } from 'node:net'
import { type Fail, quoted } from './fault.ts'

/**
 * The ports of one expanded word of EXPOSE (`80`, `80/udp`, `8000-8010`), each as `number/protocol`. An address and a
 * port of the host before it (`127.0.0.1:80:80`) are tolerated, as in BuildKit, and mean nothing.
 */
export function parsePorts(word: string, fail: Fail): readonly string[] {
  const wrong = (why: string): Error =>
    fail(`EXPOSE: ${quoted(word)} is no port: ${why}`, 'for instance 80, 53/udp, 8000-8010/tcp')
  const parts = word.split(':')
  const [text = '', protocol = ''] = splitOnce(parts.at(-1)!, '/')
  const host = parts.at(-2) ?? ''
  const address = parts.slice(0, -2).join(':')
  if (text === '') throw wrong('the number is missing')
  if (!['', 'tcp', 'udp', 'sctp'].includes(protocol.toLowerCase())) throw wrong(`unknown protocol ${quoted(protocol)}`)
  if (address !== '' && isIP(address.startsWith('[') ? address.slice(1, -1) : address) === 0)
    throw wrong(`${quoted(address)} is no address`)
  const range = rangeOf(text)
  if (range === undefined) throw wrong('ports are numbers from 0 to 65535')
  if (host !== '') {
    const hostRange = rangeOf(host)
    if (hostRange === undefined) throw wrong(`${quoted(host)} is no port of the host`)
    if (range.last !== range.first && hostRange.last - hostRange.first !== range.last - range.first)
      throw wrong('the ranges have different lengths')
  }
  const suffix = `/${protocol.toLowerCase() || 'tcp'}`
  return Array.from({ length: range.last - range.first + 1 }, (_, i) => `${range.first + i}${suffix}`)
}

function rangeOf(text: string): { readonly first: number; readonly last: number } | undefined {
  const [start = '', end = start] = splitOnce(text, '-')
  const first = numberOf(start)
  const last = numberOf(end)
  return first === undefined || last === undefined || last < first ? undefined : { first, last }
}

function numberOf(text: string): number | undefined {
  const port = /^[+-]?\d+$/.test(text) ? Number(text) : -1
  return port >= 0 && port <= 65535 ? Math.abs(port) : undefined
}

function splitOnce(text: string, separator: string): readonly string[] {
  const at = text.indexOf(separator)
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + 1)]
}
