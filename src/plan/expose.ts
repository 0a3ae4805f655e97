import { ArchimageError } from '../errors/error.ts'
import { ipVersion } from '../oci/ip-address.ts'

/** EXPOSE words as `port/protocol`: ranges unfolded, host parts tolerated and dropped as BuildKit does. */
export function exposedPorts(words: readonly string[]): string[] {
  return words.flatMap(exposedPort)
}

function exposedPort(word: string): string[] {
  const fail = (why: string): never => {
    throw new ArchimageError('DOCKERFILE_INVALID', `EXPOSE ${word}: ${why}`, {
      hint: 'write a port, a range or a port with its protocol: 80, 8000-8010, 53/udp',
    })
  }
  const parts = word.split(':')
  const container = parts.at(-1) ?? ''
  const host = parts.length > 1 ? (parts.at(-2) ?? '') : ''
  const ip = parts
    .slice(0, -2)
    .join(':')
    .replace(/^\[(.*)\]$/, '$1')
  if (ip !== '' && ipVersion(ip) === 0) fail(`"${ip}" is not an IP address`)
  const slash = container.indexOf('/')
  const range = slash < 0 ? container : container.slice(0, slash)
  const protocol = (slash < 0 ? 'tcp' : container.slice(slash + 1) || 'tcp').toLowerCase()
  if (range === '') fail('no port is given')
  if (!['tcp', 'udp', 'sctp'].includes(protocol)) fail(`"${protocol}" is not tcp, udp or sctp`)
  const [start, end] = portRange(range, fail)
  if (host !== '') {
    const [hostStart, hostEnd] = portRange(host, fail)
    if (end - start !== hostEnd - hostStart && start !== end) fail('the ranges of host and container differ in length')
  }
  return Array.from({ length: end - start + 1 }, (_, i) => `${start + i}/${protocol}`)
}

function portRange(text: string, fail: (why: string) => never): readonly [number, number] {
  const port = (word: string): number => {
    const value = /^\+?\d+$/.test(word) ? Number(word) : -1
    return value >= 0 && value <= 65535 ? value : fail(`"${word}" is not a port (0–65535)`)
  }
  const dash = text.indexOf('-')
  const start = port(dash < 0 ? text : text.slice(0, dash))
  const end = dash < 0 ? start : port(text.slice(dash + 1))
  if (end < start) fail(`the range ${text} ends before it begins`)
  return [start, end]
}
