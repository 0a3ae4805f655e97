import { afterAll, describe, expect, test } from 'bun:test'
import { spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import fc from 'fast-check'
import { parsePlatform } from '../oci/platform.ts'
import { explain } from './explain.ts'
import { explainStep } from './explain-step.ts'
import { type FailedProgram, failedProgram } from './failed-program.ts'
import { probeProgram } from './probe-program.ts'
import { directoriesRoot, follow } from './root.ts'

const folder = mkdtempSync(join(tmpdir(), 'archimage-explain-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
let roots = 0

type Content = string | Uint8Array | { readonly link: string } | { readonly plain: string | Uint8Array }

/** A root with these files, executable unless `plain`; gives its folder. */
function rootOf(files: Readonly<Record<string, Content>>): string {
  const root = join(folder, String(roots++))
  mkdirSync(root)
  for (const [name, content] of Object.entries(files)) {
    const path = join(root, name)
    mkdirSync(dirname(path), { recursive: true })
    if (typeof content === 'object' && 'link' in content) symlinkSync(content.link, path)
    else {
      const plain = typeof content === 'object' && 'plain' in content
      writeFileSync(path, plain ? content.plain : content, { mode: plain ? 0o644 : 0o755 })
    }
  }
  return root
}

const program = (platform: string): Uint8Array => probeProgram(parsePlatform(platform))!.bytes

/** A program that asks for a loader: the second segment of a probe becomes PT_INTERP. */
function dynamic(platform: string, loader: string): Uint8Array {
  const base = program(platform)
  const path = Buffer.from(`${loader}\0`)
  const bytes = Buffer.concat([base, path])
  bytes.writeUInt32LE(3, 64 + 56)
  bytes.writeBigUInt64LE(BigInt(base.length), 64 + 56 + 8)
  bytes.writeBigUInt64LE(BigInt(path.length), 64 + 56 + 32)
  return bytes
}

function why(files: Readonly<Record<string, Content>>, file: string, kind: FailedProgram['kind'] = 'exec-format') {
  return explain({
    program: { file, kind },
    root: directoriesRoot([rootOf(files)]),
    ...{ cwd: '/app', path: '/usr/local/bin:/usr/bin:/bin', platform: parsePlatform('linux/arm64') },
  })
}

describe('a program that does not start', () => {
  test('is one for another architecture, found by path, name and link', () => {
    const files = { 'app/tool': program('amd64'), 'usr/bin/tool2': { link: '../../app/tool' } }
    for (const file of ['/app/tool', './tool', 'tool2', '/usr/bin/tool2', '../app/tool']) {
      const found = why(files, file)
      expect(found?.message).toBe('/app/tool is a program for amd64, and the step runs linux/arm64')
      expect(found?.hint).toContain('$TARGETARCH')
      expect(found).toMatchObject({ file: '/app/tool', found: 'amd64' })
    }
    expect(why({ 'bin/x': program('s390x') }, 'x')?.message).toContain('is a program for s390x')
    expect(why({ 'bin/x': program('arm/v7') }, 'x')?.message).toContain('is a program for arm')
  })

  test('is one for another system', () => {
    const pe = Buffer.alloc(256)
    pe.write('MZ')
    pe[60] = 0x80
    pe.write('PE\0\0\x64\x86', 0x80, 'latin1')
    expect(why({ 'bin/x': pe }, 'x')?.message).toContain('is a program for Windows (amd64)')
    const mac = Buffer.from('cffaedfe0c000001', 'hex')
    expect(why({ 'bin/x': mac }, 'x')?.message).toContain('is a program for macOS (arm64)')
    expect(why({ 'bin/x': mac }, 'x')?.hint).toContain('GOOS=$TARGETOS')
  })

  test('is damaged, empty, or not what it should be', () => {
    expect(why({ 'bin/x': program('arm64').subarray(0, 180) }, 'x')?.message).toBe(
      '/bin/x cannot be run: it is cut off',
    )
    expect(why({ 'bin/x': '' }, 'x')?.message).toBe('/bin/x is empty')
    expect(why({ 'bin/x': 'version https://git-lfs.github.com/spec/v1\n' }, 'x')?.hint).toContain('git lfs pull')
    expect(why({ 'bin/x': '\0asm\x01\0\0\0' }, 'x')?.message).toContain('WebAssembly')
    expect(why({ 'bin/x': 'echo hi\n' }, 'x')?.message).toContain('a text without a #! line')
    expect(why({ 'bin/x': '\ufeff#!/bin/sh\n' }, 'x')?.message).toContain('byte order mark')
    expect(why({ 'bin/x/y': '' }, '/bin/x')?.message).toBe('/bin/x is a directory')
  })

  test('is no program, but a script with a mistake: that is nothing to be explained', () => {
    const shell = (content: string | Uint8Array) =>
      explain({
        program: { file: './run', kind: 'exec-format', script: true },
        root: directoriesRoot([rootOf({ 'app/run': content })]),
        ...{ cwd: '/app', path: '/bin', platform: parsePlatform('linux/arm64') },
      })
    expect(shell('if then\n')).toBeUndefined()
    expect(shell('#!/bin/nothing\nif then\n')).toBeUndefined()
    expect(shell(program('amd64'))?.found).toBe('amd64')
  })

  test('is a script: the interpreter is followed', () => {
    const wrong = { 'app/run': '#!/bin/sh -e\n', 'bin/sh': { link: 'busybox' }, 'bin/busybox': program('amd64') }
    expect(why(wrong, './run')?.message).toBe('/bin/busybox is a program for amd64, and the step runs linux/arm64')
    expect(why({ 'app/run': '#!/bin/bash\n' }, './run', 'not-found')?.message).toBe(
      '/app/run is to be run by /bin/bash, which is not in the image',
    )
    const crlf = why({ 'app/run': '#!/bin/sh\r\n', 'bin/sh': program('arm64') }, './run', 'not-found')
    expect(crlf?.message).toContain('ends with CR LF')
    expect(crlf?.hint).toContain('.gitattributes')
    const env = { 'app/run': '#!/usr/bin/env -S A=1 node --x\n', 'usr/bin/env': program('arm64') }
    expect(why(env, './run')?.message).toContain('is to be run by node, and no folder of PATH has it')
    expect(why({ ...env, 'bin/node': program('386') }, './run')?.message).toContain('/bin/node is a program for 386')
    expect(why({ ...env, 'bin/node': program('arm64') }, './run')).toBeUndefined()
  })

  test('is there, but its loader is not', () => {
    const glibc = dynamic('arm64', '/lib/ld-linux-aarch64.so.1')
    const musl = { 'lib/ld-musl-aarch64.so.1': program('arm64') }
    expect(why({ 'app/x': glibc, ...musl }, './x', 'not-found')?.message).toBe(
      '/app/x is there, but its loader /lib/ld-linux-aarch64.so.1 is not in the image: it was linked against glibc, and the image has musl',
    )
    const other = dynamic('arm64', '/lib/ld-musl-aarch64.so.1')
    const debian = { 'lib/ld-linux-aarch64.so.1': program('arm64') }
    expect(why({ 'app/x': other, ...debian }, './x', 'not-found')?.message).toContain(
      'against musl, and the image has glibc',
    )
    expect(why({ 'app/x': glibc }, './x', 'not-found')?.message).toContain('which has no C library')
    expect(why({ 'app/x': glibc, ...debian }, './x', 'not-found')).toBeUndefined()
    const mixed = why({ 'app/x': glibc, 'lib/ld-linux-aarch64.so.1': program('amd64') }, './x')
    expect(mixed?.message).toContain('but its loader /lib/ld-linux-aarch64.so.1 is one for amd64')
    // QEMU names the loader only.
    const qemu = why(musl, '/lib/ld-linux-aarch64.so.1', 'not-found')
    expect(qemu?.message).toContain('linked against glibc, and the image has musl')
    expect(why({}, '/lib64/ld-linux-x86-64.so.2', 'not-found')?.message).toContain('it is a program for amd64')
  })

  test('is not there, not executable, or only in the working directory', () => {
    expect(why({}, 'foo', 'not-found')?.message).toContain('foo is not in the image: no folder of PATH has it')
    expect(why({}, '/opt/foo', 'not-found')?.message).toBe('/opt/foo is not in the image for linux/arm64')
    expect(why({ 'app/foo': program('arm64') }, 'foo', 'not-found')?.hint).toContain('run it as ./foo')
    expect(why({}, 'bash\r', 'not-found')?.message).toContain('CR LF')
    expect(why({ 'app/foo': { plain: '#!/bin/sh\n' } }, './foo', 'not-executable')?.hint).toContain('--chmod=755')
    expect(why({}, '/opt/foo', 'exec-format')).toBeUndefined()
  })
})

describe('links stay inside the root', () => {
  test('however they point', () => {
    const root = rootOf({
      'a/up': { link: '../../../../../../b/file' },
      'b/file': 'x',
      abs: { link: '/b' },
      loop: { link: 'loop' },
      etc: { link: '/../../../../../etc' },
      f: 'x',
    })
    const read = directoriesRoot([root])
    expect(follow(read, '/a/up')?.path).toBe('/b/file')
    expect(follow(read, 'up', '/a')?.path).toBe('/b/file')
    expect(follow(read, '/abs/file')?.path).toBe('/b/file')
    expect(follow(read, '/abs/../b/./file')?.path).toBe('/b/file')
    expect(follow(read, '/loop')).toBeUndefined()
    expect(follow(read, '/etc/hostname')).toBeUndefined()
    expect(follow(read, '/f/x')).toBeUndefined()
    expect(follow(read, '/f/..')?.path).toBeUndefined()
    expect(follow(read, '/')?.node.kind).toBe('directory')
  })

  test('directories one over the other', () => {
    const [upper, lower] = [
      rootOf({ 'a/new': 'n', b: 'file now' }),
      rootOf({ 'a/old': 'o', 'b/gone': 'g', 'a/new': 'x' }),
    ]
    const read = directoriesRoot([upper, lower])
    const text = (path: string) => {
      const node = read(path)
      return node?.kind === 'file' ? node.use(bytes => Buffer.from(bytes.read(0, 9)).toString()) : node?.kind
    }
    expect(text('/a/new')).toBe('n')
    expect(text('/a/old')).toBe('o')
    expect(text('/b/gone')).toBeUndefined()
    expect(text('/b')).toBe('file now')
    expect(text('/a')).toBe('directory')
  })
})

describe('what the output says', () => {
  // As dash, bash 5.2, busybox 1.35, coreutils, runc 1.1, crun, make 4.3, Python 3.11, Go 1.2x, QEMU 7.2 print them.
  const cases: readonly (readonly [string, FailedProgram | undefined])[] = [
    ['/bin/sh: 1: ./tool: Exec format error', { kind: 'exec-format', file: './tool' }],
    ['dash: 1: exec: ./tool: Exec format error', { kind: 'exec-format', file: './tool' }],
    ['bash: line 1: ./tool: cannot execute binary file: Exec format error', { kind: 'exec-format', file: './tool' }],
    ['bash: /app/tool: cannot execute binary file: Exec format error', { kind: 'exec-format', file: '/app/tool' }],
    ['./tool: line 1: \x7fELF\x02\x01\x01\x89\x99\x01: not found', { kind: 'exec-format', file: './tool' }],
    ['./tool: line 1: syntax error: unexpected "("', { kind: 'exec-format', file: './tool', script: true }],
    ['./tool: 1: ELF\ufffd: not found', { kind: 'exec-format', file: './tool' }],
    ['exec /bin/sh: exec format error', { kind: 'exec-format', file: '/bin/sh' }],
    ['fork/exec ./tool: exec format error', { kind: 'exec-format', file: './tool' }],
    ['exec container process `/tool`: Exec format error', { kind: 'exec-format', file: '/tool' }],
    ["OSError: [Errno 8] Exec format error: './tool'", { kind: 'exec-format', file: './tool' }],
    ['/bin/sh: 1: foo: not found', { kind: 'not-found', file: 'foo' }],
    ['sh: ./run: not found', { kind: 'not-found', file: './run' }],
    ['sh: exec: line 0: ./run: not found', { kind: 'not-found', file: './run' }],
    ['bash: line 1: foo: command not found', { kind: 'not-found', file: 'foo' }],
    ['bash: line 1: ./run: cannot execute: required file not found', { kind: 'not-found', file: './run' }],
    ['bash: line 1: ./run: No such file or directory', { kind: 'not-found', file: './run' }],
    ['/usr/bin/env: ‘bash\\r’: No such file or directory', { kind: 'not-found', file: 'bash\r' }],
    ["env: can't execute 'bash': No such file or directory", { kind: 'not-found', file: 'bash' }],
    ['exec /run.sh: no such file or directory', { kind: 'not-found', file: '/run.sh' }],
    ['exec: "foo": executable file not found in $PATH', { kind: 'not-found', file: 'foo' }],
    [
      'level=error msg="runc run failed: unable to start container process: exec: \\"/foo\\": stat /foo: no such file or directory"',
      { kind: 'not-found', file: '/foo' },
    ],
    ['executable file `foo` not found in $PATH: No such file or directory', { kind: 'not-found', file: 'foo' }],
    ['make: ./run: No such file or directory', { kind: 'not-found', file: './run' }],
    [
      "qemu-aarch64-static: Could not open '/lib/ld-musl-aarch64.so.1': No such file or directory",
      { kind: 'not-found', file: '/lib/ld-musl-aarch64.so.1' },
    ],
    ['/app/run.sh: 12: foo: not found', { kind: 'not-found', file: 'foo' }],
    ['/bin/sh: 1: ./run: Permission denied', { kind: 'not-executable', file: './run' }],
    ['exec: \\"/run\\": permission denied', { kind: 'not-executable', file: '/run' }],
    ['error: something else', undefined],
    ['E: Unable to locate package foo', undefined],
    ['', undefined],
  ]
  for (const [line, expected] of cases)
    test(JSON.stringify(line), () =>
      expect(failedProgram(['before', line, 'make: *** [Makefile:2: all] Error 127'])).toEqual(expected),
    )

  test('the shell of this machine', () => {
    const root = rootOf({ tool: program('amd64'), crlf: '#!/bin/sh\r\n' })
    // A machine that does not exist: nothing runs it anywhere.
    const bytes = program('amd64').slice()
    bytes.set([0x47, 0x11], 18)
    writeFileSync(join(root, 'tool'), bytes)
    chmodSync(join(root, 'tool'), 0o755)
    for (const [file, kind] of [
      ['./tool', 'exec-format'],
      ['./crlf', 'not-found'],
      ['archimage-none', 'not-found'],
    ] as const) {
      const { stderr } = spawnSync('/bin/sh', ['-c', file], { cwd: root, encoding: 'latin1', env: { LC_ALL: 'C' } })
      expect(failedProgram(stderr.split('\n'))).toEqual({ kind, file })
    }
  })

  test('hostile lines take no time', () => {
    const piece = fc.constantFrom(
      'exec',
      ': ',
      'sh: ',
      '1: ',
      'not found',
      '"',
      "'",
      '\\',
      'x',
      ' ',
      'Exec format error',
      '\x7fELF',
    )
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 300 }), parts => {
        failedProgram([parts.join('')])
      }),
      { numRuns: 500 },
    )
    failedProgram(Array(30).fill(`sh: ${'1: '.repeat(600)}`))
    failedProgram(['x'.repeat(10_000_000)])
  })
})

describe('a step', () => {
  const base = { cwd: '/', path: '/bin', platform: parsePlatform('linux/arm64') }
  const root = directoriesRoot([rootOf({ 'bin/x': program('amd64') })])
  const emulated = { how: 'emulated' } as const

  test('is explained by its output or by the runtime', () => {
    const lines = ['sh: 1: x: Exec format error']
    expect(explainStep({ ...base, root, exitCode: 2, lines })?.file).toBe('/bin/x')
    const told = { kind: 'exec-format', file: '/bin/x' } as const
    expect(explainStep({ ...base, root, exitCode: 126, lines: [], program: told })?.file).toBe('/bin/x')
  })

  test('that failed for another reason is not', () => {
    expect(explainStep({ ...base, root, exitCode: 1, lines: ['sh: 1: foo: not found', 'test failed'] })).toBeUndefined()
    expect(explainStep({ ...base, root, exitCode: 127, lines: ['sh: 1: foo: not found'] })?.message).toContain('foo')
  })

  test('whose file is right lacks the emulator', () => {
    const problem = { code: 'EMULATOR_MISSING', message: 'no emulator', hint: 'install' } as const
    const right = directoriesRoot([rootOf({ 'bin/x': program('arm64') })])
    const lines = ['exec /bin/x: exec format error']
    expect(explainStep({ ...base, root: right, exitCode: 255, lines, ability: { how: 'no', problem } })).toEqual(
      problem,
    )
  })

  test('whose emulator crashed', () => {
    const lines = [
      'qemu: uncaught target signal 11 (Segmentation fault) - core dumped',
      'Segmentation fault (core dumped)',
    ]
    const found = explainStep({ ...base, root, exitCode: 139, lines, ability: emulated })
    expect(found?.message).toBe(
      "the emulator of linux/arm64 crashed (Segmentation fault): more often its fault than the program's",
    )
    expect(explainStep({ ...base, root, exitCode: 139, lines, ability: { how: 'native' } })).toBeUndefined()
    const abort = ['qemu: uncaught target signal 6 (Aborted) - core dumped']
    expect(explainStep({ ...base, root, exitCode: 134, lines: abort, ability: emulated })).toBeUndefined()
  })
})
