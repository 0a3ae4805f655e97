import { expect, test } from 'bun:test'
import { parseChallenges } from './challenge.ts'

test.each([
  [
    'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push"',
    [
      {
        scheme: 'bearer',
        parameters: {
          realm: 'https://auth.docker.io/token',
          service: 'registry.docker.io',
          scope: 'repository:a/b:pull,push',
        },
      },
    ],
  ],
  [
    'Negotiate, Basic realm="a, b", charset=UTF-8',
    [
      { scheme: 'negotiate', parameters: {} },
      { scheme: 'basic', parameters: { realm: 'a, b', charset: 'UTF-8' } },
    ],
  ],
  [
    'NTLM TlRMTVNTUAAC==, BEARER Realm = "x" , Basic',
    [
      { scheme: 'ntlm', parameters: {} },
      { scheme: 'bearer', parameters: { realm: 'x' } },
      { scheme: 'basic', parameters: {} },
    ],
  ],
  ['Basic realm="say \\"hi\\" \\\\ there"', [{ scheme: 'basic', parameters: { realm: 'say "hi" \\ there' } }]],
  [
    'Bearer realm="r",error="insufficient_scope"',
    [{ scheme: 'bearer', parameters: { realm: 'r', error: 'insufficient_scope' } }],
  ],
  // What is broken ends the list.
  [
    'Basic realm="a", Bearer realm="unclosed',
    [
      { scheme: 'basic', parameters: { realm: 'a' } },
      { scheme: 'bearer', parameters: {} },
    ],
  ],
  ['', []],
  [' , ,', []],
  ['="x"', []],
])('%s', (header, expected) => {
  expect(parseChallenges(header)).toEqual(expected as ReturnType<typeof parseChallenges>)
})
