import { expect, test } from 'bun:test'
import { redact } from '../errors/redact.ts'
import { failure } from '../registry/test-server.ts'
import { command, parse } from './command.ts'
import { addCredentialFlags, addTlsFlags, registryOptions } from './registry-flags.ts'

const invocation = (args: readonly string[]) => ({
  name: 'copy',
  args,
  directory: undefined,
  signal: new AbortController().signal,
})
function parsed(args: readonly string[], sides: readonly ('src' | 'dest' | undefined)[] = [undefined]) {
  const program = command(invocation(args), 'A B', 'test')
  for (const side of sides) addCredentialFlags(addTlsFlags(program, side), side)
  return parse(program, invocation(args))!.options
}
const options = (args: readonly string[], registry = 'r.test') => registryOptions(parsed(args), [registry])

test('nothing said, nothing set', async () => {
  expect(await options([])).toEqual({})
})

test('TLS: switches as Go programs write them, files', async () => {
  expect(await options(['--tls-verify=false'])).toEqual({ tlsVerify: false })
  expect(await options(['--tls-verify', 'x'])).toEqual({ tlsVerify: true })
  expect((await failure(options(['--tls-verify=maybe']))).message).toContain('neither true nor false')
  expect(
    await options(['--cert-dir', 'd', '--ca-file=ca.pem', '--cert-file', 'c', '--key-file', 'k', '--authfile', 'a']),
  ).toEqual({ certDir: 'd', caFile: 'ca.pem', certFile: 'c', keyFile: 'k', authFile: 'a' })
})

test('credentials belong to the registry named, and are never shown', async () => {
  const source = 'the command line'
  expect(await options(['--creds', 'me:top:secret'])).toEqual({
    hosts: { 'r.test': { credential: { username: 'me', password: 'top:secret', source } } },
  })
  expect(redact('me:top:secret or top:secret')).toBe('*** or ***')
  expect(await options(['--username', 'me', '--password', 'hidden-word'])).toEqual({
    hosts: { 'r.test': { credential: { username: 'me', password: 'hidden-word', source } } },
  })
  expect(await options(['--registry-token', 'token-12'])).toEqual({
    hosts: { 'r.test': { credential: { registryToken: 'token-12', source } } },
  })
  expect(await options(['--no-creds'])).toEqual({ hosts: { 'r.test': { credential: null } } })
  expect((await failure(options(['--password', 'alone-word']))).code).toBe('USAGE')
  expect((await failure(options(['--creds', 'me']))).hint).toBe('give --creds USER:PASSWORD')
})

test('a side has its own, else what stands for both', async () => {
  const args = ['--src-creds', 'me:source-pw', '--tls-verify=false', '--dest-tls-verify', '--dest-no-creds']
  const both = parsed(args, [undefined, 'src', 'dest'])
  expect(await registryOptions(both, ['a.test'], 'src')).toEqual({
    tlsVerify: false,
    hosts: { 'a.test': { credential: { username: 'me', password: 'source-pw', source: 'the command line' } } },
  })
  expect(await registryOptions(both, ['b.test'], 'dest')).toEqual({
    tlsVerify: true,
    hosts: { 'b.test': { credential: null } },
  })
})

test('a misspelt option does not show its value', () => {
  try {
    parsed(['--cred=me:pass-of-me'])
    throw new Error('it should have failed')
  } catch (error) {
    expect((error as Error).message).toBe('archimage copy has no option --cred')
  }
})
