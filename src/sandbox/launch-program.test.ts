import { expect, test } from 'bun:test'
import { spawnSync } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { requirePeers } from '../../test/peers/require.ts'
import { type Call, launchProgram, waitForChild } from './launch-program.ts'
import type { Abi } from './system-calls.ts'

const dir = mkdtempSync(join(tmpdir(), 'archimage-launch-'))
process.on('exit', () => rmSync(dir, { recursive: true, force: true }))

const ENOENT = 2
const exit = (code: number): Call => ({ name: 'exit_group', args: [code] })
const say = (text: string): Call => ({ name: 'write', args: [1, text, text.length] })

function run(first: readonly Call[], second: readonly Call[], arch: Abi, emulator?: string) {
  const program = launchProgram(first, second, arch)
  const file = join(dir, `program-${arch}`)
  writeFileSync(file, program.bytes, { mode: 0o755 })
  const [command, args] = emulator === undefined ? [file, []] : [emulator, [file]]
  const reports = join(dir, 'reports')
  const fd = openSync(reports, 'w')
  const { status, stdout } = spawnSync(command, args, { stdio: ['ignore', 'pipe', 'inherit', fd] })
  closeSync(fd)
  return { code: status, stdout: stdout.toString(), ...program.read(readFileSync(reports)) }
}

const cases: readonly [arch: Abi, test: ReturnType<typeof requirePeers>, emulator?: string][] = [
  ['x64', process.arch === 'x64' ? test : test.skip],
  process.arch === 'arm64' ? ['arm64', test] : ['arm64', requirePeers('qemu-aarch64-static'), 'qemu-aarch64-static'],
]

for (const [arch, on, emulator] of cases) {
  on(`${arch}: calls are made in order, errors are told`, () => {
    const missing: Call = { name: 'chdir', args: ['/does/not/exist'] }
    expect(run([say('one '), say('two'), exit(3)], [], arch, emulator)).toEqual({
      code: 3,
      stdout: 'one two',
      failures: [],
    })
    const tolerated = { ...missing, unless: [ENOENT] }
    expect(run([tolerated, say('on'), exit(0)], [], arch, emulator)).toEqual({
      ...{ code: 0, stdout: 'on', failures: [{ call: tolerated, errno: ENOENT }] },
    })
    expect(run([missing, say('never')], [], arch, emulator)).toEqual({
      ...{ code: 125, stdout: '', failures: [{ call: missing, errno: ENOENT }] },
    })
  })

  on(`${arch}: a child, and how it ended`, () => {
    const SIGCHLD = 17
    const fork: Call = { name: 'clone', args: [SIGCHLD, 0, 0, 0, 0], fork: true }
    const execute: Call = { name: 'execve', args: ['/bin/sh', ['sh', '-c', 'echo $0 $X; exit 7', 0], ['X=x y', 0]] }
    expect(run([fork, execute], waitForChild(), arch, emulator)).toEqual({
      ...{ code: 0, stdout: 'sh x y\n', failures: [], status: 7 << 8 },
    })
  })
}
