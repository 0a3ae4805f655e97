import { afterAll, describe, expect, test } from 'bun:test'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { requirePeers } from '../../test/peers/require.ts'
import { bytesOf } from '../executable/bytes.ts'
import { readElf } from '../executable/elf.ts'
import { parsePlatform } from '../oci/platform.ts'
import { probeProgram } from './probe-program.ts'
import { QEMU_NAMES } from './qemu.ts'

const folder = mkdtempSync(join(tmpdir(), 'archimage-probe-test-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const NAMES = ['amd64', '386', 'arm64', 'arm64/v9', 'arm/v5', 'arm/v6', 'arm/v7', 'riscv64', 'ppc64le', 'ppc64']
const MORE = ['s390x', 'loong64', 'mips64le', 'mips64', 'mipsle', 'mips']

/** Exit code, or the signal, of a platform's program under QEMU itself: no handler takes part. */
function underQemu(platform: string, cpu?: string): number | string | null {
  const { architecture } = parsePlatform(platform)
  const file = join(folder, platform.replace('/', '-'))
  writeFileSync(file, probeProgram(parsePlatform(platform))!.bytes, { mode: 0o755 })
  const args = cpu === undefined ? [file] : ['-cpu', cpu, file]
  const { status, signal } = spawnSync(`/usr/bin/qemu-${QEMU_NAMES[architecture]}-static`, args, { cwd: folder })
  return signal ?? status
}

test('each is an ELF file of its architecture', () => {
  for (const name of [...NAMES, ...MORE]) {
    const { bytes } = probeProgram(parsePlatform(name))!
    const elf = readElf(bytesOf(bytes))
    expect([name, elf?.architecture]).toEqual([name, parsePlatform(name).architecture])
    expect(elf?.defect).toBeUndefined()
    expect(elf?.interpreter).toBeUndefined()
    expect(bytes.length).toBeLessThan(500)
  }
})

test('variants without a program of their own count as the architecture; other systems have none', () => {
  expect(probeProgram(parsePlatform('arm64/v8.2'))?.name).toBe('arm64')
  expect(probeProgram(parsePlatform('amd64/v3'))?.name).toBe('amd64')
  expect(probeProgram({ os: 'linux', architecture: 'arm' })?.name).toBe('arm/v7')
  expect(probeProgram(parsePlatform('windows/amd64'))).toBeUndefined()
  expect(probeProgram(parsePlatform('wasip1/wasm'))).toBeUndefined()
  expect(probeProgram({ os: 'linux', architecture: 'constructor' })).toBeUndefined()
})

describe('under QEMU', () => {
  const emulated = requirePeers('qemu-aarch64-static', 'qemu-arm-static')

  emulated('each ends with its exit code', () => {
    for (const name of [...NAMES.slice(1), ...MORE]) {
      if (!existsSync(`/usr/bin/qemu-${QEMU_NAMES[parsePlatform(name).architecture]}-static`)) continue
      expect([name, underQemu(name)]).toEqual([name, 64])
    }
  })

  emulated('a CPU that lacks the instructions ends the program with SIGILL', () => {
    expect(underQemu('arm/v5', 'arm926')).toBe(64)
    expect(underQemu('arm/v6', 'arm926')).toBe('SIGILL')
    expect(underQemu('arm/v6', 'arm1176')).toBe(64)
    expect(underQemu('arm/v7', 'arm1176')).toBe('SIGILL')
    expect(underQemu('arm/v7', 'cortex-a7')).toBe(64)
    expect(underQemu('arm64', 'cortex-a72')).toBe(64)
    expect(underQemu('arm64/v9', 'cortex-a72')).toBe('SIGILL')
  })

  emulated('levels of x86-64', () => {
    expect(underQemu('amd64', 'core2duo')).toBe(65)
    expect(underQemu('amd64', 'Nehalem')).toBe(66)
    expect(underQemu('amd64', 'Haswell')).toBe(67)
  })
})
