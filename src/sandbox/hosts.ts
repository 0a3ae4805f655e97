import { isIP, isIPv6 } from 'node:net'

/** The hosts file that BuildKit gives a step. */
export function hostsFile(hostname: string, more: readonly (readonly [host: string, ip: string])[]): string {
  return [
    `127.0.0.1\tlocalhost ${hostname}`,
    '::1\tlocalhost ip6-localhost ip6-loopback',
    ...more.map(([host, ip]) => `${ip}\t${host}`),
    '',
  ].join('\n')
}

/** Of Google, as in docker: what is left when this machine names only resolvers that a step cannot reach. */
const PUBLIC_RESOLVERS = ['8.8.8.8', '8.8.4.4', '2001:4860:4860::8888', '2001:4860:4860::8844']

/**
 * The resolv.conf of a step from that of this machine, as docker makes it: resolvers on loopback go, as in a network of its
 * own the step would ask itself. When none is left, `resolvers` take their place.
 */
export function resolvConf(text: string, resolvers: readonly string[] = PUBLIC_RESOLVERS): string {
  const servers: string[] = []
  let search: string[] = []
  const options: string[] = []
  const others: string[] = []
  for (const line of text.split('\n')) {
    const [word, ...values] = line.trim().split(/\s+/)
    if (line === '' || /^[#;]/.test(line) || word === '') continue
    if (word === 'nameserver') servers.push(...values.slice(0, 1).filter(value => isIP(value.split('%')[0]!) !== 0))
    else if (word === 'search' || word === 'domain') search = values.length > 0 ? values : search
    else if (word === 'options') options.push(...values)
    else others.push(line)
  }
  const reachable = servers.filter(server => !isLoopback(server))
  return [
    ...(reachable.length > 0 ? reachable : resolvers).map(server => `nameserver ${server}`),
    ...(search.length > 0 ? [`search ${search.join(' ')}`] : []),
    ...(options.length > 0 ? [`options ${options.join(' ')}`] : []),
    ...others,
    '',
  ].join('\n')
}

/** The file to read: when systemd-resolved stands in /etc/resolv.conf, the one with the resolvers that it asks itself. */
export function resolvConfPath(text: string): '/etc/resolv.conf' | '/run/systemd/resolve/resolv.conf' {
  const servers = text.split('\n').flatMap(line => /^\s*nameserver\s+(\S+)/.exec(line)?.[1] ?? [])
  return servers.length === 1 && servers[0] === '127.0.0.53' ? '/run/systemd/resolve/resolv.conf' : '/etc/resolv.conf'
}

/** The address of the interface with the default route in /proc/net/route, else the first that is not loopback; IPv4. */
export function outwardAddress(
  routes: string,
  interfaces: NodeJS.Dict<readonly { readonly address: string; readonly family: string; readonly internal: boolean }[]>,
): string | undefined {
  const byDefault = routes
    .split('\n')
    .map(line => line.split('\t'))
    .find(([, destination]) => destination === '00000000')?.[0]
  return [byDefault ?? '', ...Object.keys(interfaces)]
    .flatMap(name => interfaces[name] ?? [])
    .find(({ family, internal }) => family === 'IPv4' && !internal)?.address
}

function isLoopback(ip: string): boolean {
  return isIPv6(ip) ? ip === '::1' || /^::ffff:127\./i.test(ip) : ip.startsWith('127.')
}
