import { expect, test } from 'bun:test'
import { compilersIn, nativeAdvice } from './compilers.ts'

const sh = (script: string) => nativeAdvice(['/bin/sh', '-c', script])

test('what would let a step run natively', () => {
  expect(sh('apk add git && CGO_ENABLED=1 go build -o /app ./cmd')).toBe(
    'run go build in a stage FROM --platform=$BUILDPLATFORM, with CGO_ENABLED=0 GOARCH=$TARGETARCH',
  )
  expect(sh('cargo build --release')).toContain('with --target')
  expect(sh('dotnet publish -c Release')).toContain('-a $TARGETARCH')
  expect(sh('./configure && make -j8')).toContain('xx-clang')
  expect(sh('npm ci && npm run build')).toBe(
    'npm run build gives the same for every platform: run it in a stage FROM --platform=$BUILDPLATFORM',
  )
  expect(nativeAdvice(['go', 'build', '.'])).toContain('run go build')
  expect(nativeAdvice(['/usr/bin/make'])).toContain('run make')
  expect(nativeAdvice(['/bin/bash', '-o', 'pipefail', '-euc', 'make'])).toContain('run make')
})

test('what is done for a platform on that platform is left alone', () => {
  for (const script of [
    'apt-get update && apt-get install -y gcc make',
    'adduser app',
    'gcc --version',
    'echo make',
    '',
  ])
    expect([script, sh(script)]).toEqual([script, undefined])
  expect(nativeAdvice([])).toBeUndefined()
  expect(nativeAdvice(['/app', 'make'])).toBeUndefined()
  expect(nativeAdvice(['/bin/sh', '/build.sh'])).toBeUndefined()
})

test('all compilers of a script, in order', () => {
  expect(compilersIn('go build . && npm run build; make').map(({ label, portable }) => [label, portable])).toEqual([
    ['go build', false],
    ['npm run build', true],
    ['make', false],
  ])
})
