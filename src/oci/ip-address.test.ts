import { expect, test } from 'bun:test'
import { isIP } from 'node:net'
import { ipVersion } from './ip-address.ts'

test.each([
  '127.0.0.1',
  '0.0.0.0',
  '255.255.255.255',
  '256.0.0.1',
  '1.2.3',
  '1.2.3.4.5',
  '::',
  '::1',
  'fe80::1',
  '2001:db8::8a2e:370:7334',
  '::ffff:127.0.0.1',
  ':::',
  '1::2::3',
  '12345::',
  'localhost',
  '',
  '1.2.3.4:80',
  '[::1]',
  'a.b.c.d',
])('%p as node:net says', text => expect(ipVersion(text)).toBe(isIP(text) as 0 | 4 | 6))
