import { expect, test } from 'bun:test'
import { hostsFile, outwardAddress, resolvConf, resolvConfPath } from './hosts.ts'

test('the hosts file is that of BuildKit', () => {
  expect(hostsFile('buildkitsandbox', [['db', '10.0.0.7']])).toBe(
    '127.0.0.1\tlocalhost buildkitsandbox\n::1\tlocalhost ip6-localhost ip6-loopback\n10.0.0.7\tdb\n',
  )
})

const PUBLIC =
  'nameserver 8.8.8.8\nnameserver 8.8.4.4\nnameserver 2001:4860:4860::8888\nnameserver 2001:4860:4860::8844\n'

// Expected values: BuildKit's util/resolvconf, TransformForLegacyNw.
for (const [name, text, expected] of [
  ['others stay', 'nameserver 10.0.0.1\nnameserver 10.0.0.2\n', 'nameserver 10.0.0.1\nnameserver 10.0.0.2\n'],
  ['loopback goes', 'nameserver 127.0.0.53\nnameserver 10.0.0.2\nnameserver ::1\n', 'nameserver 10.0.0.2\n'],
  ['none is left', 'nameserver 127.0.0.1\n', PUBLIC],
  ['an empty file', '', PUBLIC],
  ['no address', 'nameserver example.com\n', PUBLIC],
  ['comments', '# a\n; b\nnameserver 1.1.1.1\n', 'nameserver 1.1.1.1\n'],
  ['a zone', 'nameserver fe80::1%eth0\n', 'nameserver fe80::1%eth0\n'],
  ['the last search', 'search a b\ndomain c\nnameserver 1.1.1.1\n', 'nameserver 1.1.1.1\nsearch c\n'],
  ['options gather', 'options a\nnameserver 1.1.1.1\noptions ndots:2 b\n', 'nameserver 1.1.1.1\noptions a ndots:2 b\n'],
  ['the rest as it is', 'sortlist 130.155.160.0\nnameserver 1.1.1.1\n', 'nameserver 1.1.1.1\nsortlist 130.155.160.0\n'],
] as const)
  test(`resolv.conf: ${name}`, () => expect(resolvConf(text)).toBe(expected))

test('resolvers of the network take the place of public ones', () => {
  expect(resolvConf('nameserver 127.0.0.1\noptions edns0\n', ['10.0.2.3'])).toBe('nameserver 10.0.2.3\noptions edns0\n')
})

test('systemd-resolved has its own resolvers in another file', () => {
  expect(resolvConfPath('nameserver 127.0.0.53\n')).toBe('/run/systemd/resolve/resolv.conf')
  expect(resolvConfPath('nameserver 127.0.0.53\nnameserver 1.1.1.1\n')).toBe('/etc/resolv.conf')
})

test('the address of this machine is that of the interface with the default route', () => {
  const one = (address: string, family = 'IPv4', internal = false) => ({ address, family, internal })
  const interfaces = {
    lo: [one('127.0.0.1', 'IPv4', true)],
    docker0: [one('172.17.0.1')],
    eth0: [one('fd00::1', 'IPv6'), one('10.1.1.1')],
  }
  const routes = 'Iface\tDestination\tGateway\ndocker0\t000011AC\t00000000\neth0\t00000000\t0101010A\n'
  expect(outwardAddress(routes, interfaces)).toBe('10.1.1.1')
  expect(outwardAddress('Iface\tDestination\n', interfaces)).toBe('172.17.0.1')
  expect(outwardAddress('', { lo: interfaces.lo })).toBeUndefined()
})
