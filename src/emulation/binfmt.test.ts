import { expect, test } from 'bun:test'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { requirePeers } from '../../test/peers/require.ts'
import { parsePlatform } from '../oci/platform.ts'
import { handlersFor, parseHandler, readBinfmt, takes } from './binfmt.ts'
import { elfMatch } from './elf-match.ts'
import { probeProgram } from './probe-program.ts'
import { QEMU_NAMES } from './qemu.ts'

const AARCH64 = `enabled
interpreter /usr/libexec/qemu-binfmt/aarch64-binfmt-P
flags: PF
offset 0
magic 7f454c460201010000000000000000000200b700
mask ffffffffffffff00fffffffffffffffffeffffff
`
const program = (platform: string): Uint8Array => probeProgram(parsePlatform(platform))!.bytes

test('what a handler says of itself', () => {
  expect(parseHandler('qemu-aarch64', AARCH64)).toMatchObject({
    ...{ name: 'qemu-aarch64', enabled: true, interpreter: '/usr/libexec/qemu-binfmt/aarch64-binfmt-P', flags: 'PF' },
    match: { offset: 0 },
  })
  const rosetta = 'disabled\ninterpreter /media/Rosetta Stone/rosetta\nflags: OCF\noffset 0\nmagic 7f454c46\n'
  expect(parseHandler('rosetta', rosetta)).toEqual({
    ...{ name: 'rosetta', enabled: false, interpreter: '/media/Rosetta Stone/rosetta', flags: 'OCF' },
    match: { offset: 0, magic: Uint8Array.of(0x7f, 0x45, 0x4c, 0x46) },
  })
  expect(parseHandler('java', 'enabled\ninterpreter /usr/bin/jexec\nflags: \nextension .jar\n')).toEqual({
    ...{ name: 'java', enabled: true, interpreter: '/usr/bin/jexec', flags: '' },
  })
  expect(parseHandler('status', 'enabled\n')).toBeUndefined()
  expect(parseHandler('x', '')).toBeUndefined()
})

test('which handler takes a file is a matter of magic, mask and offset', () => {
  const aarch64 = parseHandler('qemu-aarch64', AARCH64)!
  expect(takes(aarch64, program('arm64'))).toBe(true)
  expect(takes(aarch64, program('arm/v7'))).toBe(false)
  expect(takes(aarch64, Uint8Array.of(0x7f))).toBe(false)
  // Another OS ABI, and ET_DYN for ET_EXEC: masked
  const shared = program('arm64').slice()
  shared[7] = 3
  shared[16] = 3
  expect(takes(aarch64, shared)).toBe(true)
  shared[17] = 1
  expect(takes(aarch64, shared)).toBe(false)
  const later = { ...aarch64, match: { offset: 2, magic: Uint8Array.of(0x4c, 0x46) } }
  expect(takes(later, program('s390x'))).toBe(true)
  expect(takes({ ...later, match: { offset: 255, magic: Uint8Array.of(0, 0) } }, program('s390x'))).toBe(false)
})

test('the state as a folder; none where nothing is mounted', () => {
  const folder = mkdtempSync(join(tmpdir(), 'archimage-binfmt-'))
  try {
    expect(readBinfmt(folder)).toMatchObject({ mounted: false, enabled: false, handlers: [] })
    expect(readBinfmt(join(folder, 'none'))).toMatchObject({ mounted: false })
    mkdirSync(join(folder, 'm'))
    for (const [name, text] of Object.entries({ status: 'disabled\n', register: '', 'qemu-aarch64': AARCH64 }))
      writeFileSync(join(folder, 'm', name), text)
    const state = readBinfmt(join(folder, 'm'))
    expect(state).toMatchObject({ mounted: true, enabled: false })
    expect(handlersFor(state, program('arm64')).map(({ name }) => name)).toEqual(['qemu-aarch64'])
    expect(handlersFor(state, program('riscv64'))).toEqual([])
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

test('what an emulator is registered for takes the programs of its architecture and no other', () => {
  for (const architecture of Object.keys(QEMU_NAMES)) {
    const handler = {
      name: 'x',
      enabled: true,
      interpreter: '/x',
      flags: '',
      match: { offset: 0, ...elfMatch(architecture)! },
    }
    const taken = Object.keys(QEMU_NAMES).filter(other => takes(handler, program(other)))
    expect(taken).toEqual([architecture])
  }
  expect(elfMatch('constructor')).toBeUndefined()
})

requirePeers('emulation')('it agrees with the handlers that the distribution registered', () => {
  const { handlers } = readBinfmt()
  for (const [architecture, name] of Object.entries(QEMU_NAMES)) {
    const theirs = handlers.find(handler => handler.name === `qemu-${name}`)
    if (theirs?.match === undefined) continue
    expect([architecture, takes(theirs, program(architecture))]).toEqual([architecture, true])
    const ours = elfMatch(architecture)!
    const { magic } = theirs.match
    expect([architecture, Buffer.from(ours.magic).toString('hex').slice(0, 40)]).toEqual([
      architecture,
      Buffer.from(magic).toString('hex').slice(0, 40),
    ])
  }
})
