import { expect, test } from 'bun:test'
import { isLinkLocal, isLoopback, proxyFor } from './proxy.ts'

const P = 'http://proxy.test:3128'
test.each([
  ['https://a.test/', { HTTPS_PROXY: P }, P],
  ['https://a.test/', { https_proxy: 'proxy.test:3128' }, P],
  ['http://a.test/', { HTTPS_PROXY: P }, undefined],
  ['http://a.test/', { HTTP_PROXY: P }, P],
  ['https://a.test/', { ALL_PROXY: P }, undefined],
  // Loopback is direct, whatever is said.
  ['http://127.0.0.1:5000/', { HTTP_PROXY: P }, undefined],
  ['http://localhost:5000/', { HTTP_PROXY: P }, undefined],
  ['http://[::1]:5000/', { HTTP_PROXY: P }, undefined],
  ['https://a.test/', { HTTPS_PROXY: P, NO_PROXY: '*' }, undefined],
  ['https://a.test/', { HTTPS_PROXY: P, NO_PROXY: 'x.test, a.test' }, undefined],
  ['https://b.a.test/', { HTTPS_PROXY: P, no_proxy: 'A.test' }, undefined],
  ['https://b.a.test/', { HTTPS_PROXY: P, NO_PROXY: '.a.test' }, undefined],
  ['https://ba.test/', { HTTPS_PROXY: P, NO_PROXY: 'a.test' }, P],
  ['https://a.test:8443/', { HTTPS_PROXY: P, NO_PROXY: 'a.test:8443' }, undefined],
  ['https://a.test/', { HTTPS_PROXY: P, NO_PROXY: 'a.test:8443' }, P],
  ['https://a.test/', { HTTPS_PROXY: P, NO_PROXY: 'a.test:443' }, undefined],
  ['https://10.1.2.3/', { HTTPS_PROXY: P, NO_PROXY: '10.0.0.0/8' }, undefined],
  ['https://11.1.2.3/', { HTTPS_PROXY: P, NO_PROXY: '10.0.0.0/8' }, P],
  ['https://10.1.2.3/', { HTTPS_PROXY: P, NO_PROXY: '10.1.2.3' }, undefined],
  ['https://[fd00::1]/', { HTTPS_PROXY: P, NO_PROXY: 'fd00::/8' }, undefined],
  ['https://[fd00::1]:5000/', { HTTPS_PROXY: P, NO_PROXY: 'fd00::1' }, undefined],
  ['https://[fe00::1]/', { HTTPS_PROXY: P, NO_PROXY: 'fd00::/8' }, P],
] as [string, Record<string, string>, string | undefined][])('%s with %o', (url, env, expected) => {
  expect(proxyFor(new URL(url), env)).toBe(expected)
})

test('a proxy that is no URL is an error', () => {
  expect(() => proxyFor(new URL('https://a.test'), { HTTPS_PROXY: 'http://:x:y' })).toThrow('HTTPS_PROXY')
})

test('what loopback and link-local are', () => {
  for (const host of ['127.0.0.1', '127.9.9.9', '[::1]', 'localhost', 'x.localhost'])
    expect(isLoopback(host)).toBe(true)
  for (const host of ['128.0.0.1', '127.example.com', 'localhost.example.com', '[::2]'])
    expect(isLoopback(host)).toBe(false)
  expect(isLinkLocal('169.254.169.254')).toBe(true)
  expect(isLinkLocal('[fe80::1]')).toBe(true)
  expect(isLinkLocal('10.0.0.1')).toBe(false)
})
