import { expect } from 'bun:test'
import { probeProgram } from '../../src/emulation/probe-program.ts'
import { parsePlatform } from '../../src/oci/platform.ts'
import { requirePeers } from '../peers/require.ts'
import { Sandbox } from './command.ts'
import { cellOf, withBusybox } from './steps.ts'

const sandbox = new Sandbox('explained')
withBusybox(sandbox)
const test = requirePeers('root', 'busybox')

const program = probeProgram(parsePlatform('linux/amd64'))!.bytes
/** For a machine that does not exist: nothing runs it anywhere. */
const alien = program.slice()
alien.set([0x47, 0x11], 18)
/** Asks for the loader of glibc: the second segment becomes PT_INTERP. */
const loader = Buffer.from('/lib64/ld-linux-x86-64.so.2\0')
const dynamic = Buffer.concat([program, loader])
dynamic.writeUInt32LE(3, 64 + 56)
dynamic.writeBigUInt64LE(BigInt(program.length), 64 + 56 + 8)
dynamic.writeBigUInt64LE(BigInt(loader.length), 64 + 56 + 32)

let count = 0
async function failure(step: string, files: Readonly<Record<string, string | Uint8Array>> = {}) {
  const project = sandbox.project(`p${count++}`, {
    'archimage.yaml': 'platforms: [linux/amd64]\n',
    'src/app/Dockerfile': `FROM busybox:1\nWORKDIR /app\nCOPY --chmod=755 . .\n${step}\n`,
    ...Object.fromEntries(Object.entries(files).map(([path, content]) => [`src/app/${path}`, content])),
  })
  const { code } = await sandbox.run(['build'], { cwd: project })
  expect(code).toBe(1)
  const { message, hint, line } = cellOf(project).failure!
  expect(line).toBe(4)
  return { message, hint }
}

test('a program for another machine: which file, what it is, what was needed', async () => {
  const files = { tool: alien }
  const expected = '/app/tool is a program for machine 4423, and the step runs linux/amd64'
  expect(await failure('RUN ["./tool"]', files)).toEqual({
    message: `exit code 126: ${expected}`,
    hint: expect.stringContaining('$TARGETARCH'),
  })
  // Through a shell, which tells it in its own words.
  expect((await failure('RUN ./tool', files)).message).toEndWith(expected)
  expect((await failure('RUN cp tool /bin/called && called', files)).message).toContain('/bin/called is a program for')
})

test('scripts: no interpreter, CR LF, no first line', async () => {
  const files = { 'a.sh': '#!/bin/bash\n', 'b.sh': '#!/bin/sh\r\n', 'c.sh': 'echo\n', 'd.sh': '#!/usr/bin/env bash\n' }
  const bash = 'exit code 127: /app/a.sh is to be run by /bin/bash, which is not in the image'
  expect((await failure('RUN ["./a.sh"]', files)).message).toBe(bash)
  expect((await failure('RUN ./a.sh', files)).message).toBe(bash)
  expect((await failure('RUN ./b.sh', files)).hint).toContain('.gitattributes')
  expect((await failure('RUN ["/app/c.sh"]', files)).message).toContain('a text without a #! line')
  expect((await failure('RUN ./d.sh', files)).message).toBe(
    'exit code 127: bash is not in the image: no folder of PATH has it',
  )
})

test('a loader that is not there, a program that is not', async () => {
  const { message } = await failure('RUN ./tool', { tool: dynamic })
  expect(message).toContain('/app/tool is there, but its loader /lib64/ld-linux-x86-64.so.2 is not in the image')
  expect((await failure('RUN frobnicate')).message).toBe(
    'exit code 127: frobnicate is not in the image: no folder of PATH has it',
  )
  expect((await failure('RUN chmod -x a && ./a', { a: '#!/bin/sh\n' })).message).toContain(
    'is there, but is not executable',
  )
})

test('what the step itself wrote counts, mounts and other failures are left alone', async () => {
  expect((await failure("RUN printf '#!/nowhere\\n' > x && chmod +x x && ./x")).message).toContain(
    'is to be run by /nowhere',
  )
  const mounted = await failure('RUN --mount=type=bind,source=tool,target=/mnt/tool /mnt/tool', { tool: alien })
  expect(mounted.message).toBe('exit code 126')
  expect((await failure('RUN frobnicate; exit 3')).message).toBe('exit code 3')
})
