import { ArchimageError } from '../errors/error.ts'
import { secret } from '../errors/redact.ts'
import { ipVersion } from '../oci/ip-address.ts'
import type { Environment } from './config.ts'

/** 127.0.0.0/8, ::1 and localhost: registries there speak plain HTTP, and no proxy stands before them. */
export function isLoopback(hostname: string): boolean {
  const host = hostname.replace(/^\[|\]$/g, '').toLowerCase()
  if (host === 'localhost' || host.endsWith('.localhost') || host === '::1') return true
  return ipVersion(host) === 4 && host.startsWith('127.')
}

/** Link-local addresses, where clouds keep the credentials of their machines. */
export function isLinkLocal(hostname: string): boolean {
  const host = hostname.replace(/^\[|\]$/g, '').toLowerCase()
  return (ipVersion(host) === 4 && host.startsWith('169.254.')) || (ipVersion(host) === 6 && /^fe[89ab]/.test(host))
}

/**
 * The proxy for a URL by HTTPS_PROXY, HTTP_PROXY and NO_PROXY (also in lower case), as Go programs read them: names with
 * their subdomains, `host:port`, addresses, CIDR ranges, `*`. Loopback is always direct. Throws CONFIG_INVALID.
 */
export function proxyFor(url: URL, env: Environment): string | undefined {
  const names = url.protocol === 'https:' ? ['HTTPS_PROXY', 'https_proxy'] : ['HTTP_PROXY', 'http_proxy']
  const name = names.find(n => env[n])
  if (name === undefined || isLoopback(url.hostname)) return undefined
  if (excluded(url, env['NO_PROXY'] || env['no_proxy'] || '')) return undefined
  const text = env[name]!.includes('://') ? env[name]! : `http://${env[name]}`
  let proxy: URL
  try {
    proxy = new URL(text)
  } catch (error) {
    throw new ArchimageError('CONFIG_INVALID', `${name} is not the URL of a proxy`, {
      hint: `for instance: ${name}=http://proxy.example.com:3128`,
      cause: error,
    })
  }
  if (proxy.password !== '') secret(decodeURIComponent(proxy.password))
  return text
}

function excluded(url: URL, list: string): boolean {
  const host = url.hostname.replace(/^\[|\]$/g, '').toLowerCase()
  const port = url.port || (url.protocol === 'https:' ? '443' : '80')
  return list
    .split(',')
    .map(entry => entry.trim().toLowerCase())
    .filter(Boolean)
    .some(entry => {
      if (entry === '*') return true
      if (entry.includes('/')) return inRange(host, entry)
      const [, name = entry, wanted] =
        /^\[?(.*?)\]?(?::(\d+))?$/.exec(ipVersion(entry) === 6 ? `[${entry}]` : entry) ?? []
      if (wanted !== undefined && wanted !== port) return false
      const bare = name.replace(/^\*?\./, '')
      return host === bare || (ipVersion(host) === 0 && host.endsWith(`.${bare}`))
    })
}

function inRange(host: string, range: string): boolean {
  const [base = '', bits = ''] = range.split('/')
  const [a, b, length] = [addressBits(host), addressBits(base), Number(bits)]
  return a !== undefined && b !== undefined && a.length === b.length && a.slice(0, length) === b.slice(0, length)
}

function addressBits(address: string): string | undefined {
  const binary = (part: number, width: number) => part.toString(2).padStart(width, '0')
  if (ipVersion(address) === 4)
    return address
      .split('.')
      .map(part => binary(Number(part), 8))
      .join('')
  if (ipVersion(address) !== 6 || address.includes('.')) return undefined
  const [head = '', tail] = address.split('::')
  const parts = (text: string | undefined) => (text ? text.split(':') : [])
  const [left, right] = [parts(head), parts(tail)]
  const middle = tail === undefined ? 0 : 8 - left.length - right.length
  return [...left, ...Array<string>(middle).fill('0'), ...right]
    .map(part => binary(Number.parseInt(part, 16), 16))
    .join('')
}
