import { describe, expect, test } from 'bun:test'
import { closeSync, fstatSync, openSync, readFileSync, readSync } from 'node:fs'
import fc from 'fast-check'
import { bytesOf } from './bytes.ts'
import { readElf } from './elf.ts'
import { readExecutable } from './executable.ts'

const hex = (...lines: string[]): Uint8Array =>
  Uint8Array.from(Buffer.from(lines.join('').replaceAll(/\s/g, ''), 'hex'))
const read = (bytes: Uint8Array | string) =>
  readExecutable(bytesOf(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes))

/** The headers of an arm64 program linked by GNU ld, as readelf shows them, with the segments that matter. */
const ARM64 = hex(
  '7f454c46 02 01 01 00 0000000000000000', // ELF64, little endian, System V
  '0300 b700 01000000 4006000000000000', //  ET_DYN, AArch64, entry 0x640
  '4000000000000000 0000000000000000', //     program headers at 64, no sections
  '00000000 4000 3800 0200 4000 0000 0000', // 2 of 56 bytes
  // PT_INTERP at 0xb0, 27 bytes
  '03000000 04000000 b000000000000000 b000000000000000 b000000000000000 1b00000000000000 1b00000000000000 0100000000000000',
  // PT_LOAD of 0xcb bytes
  '01000000 05000000 0000000000000000 0000000000000000 0000000000000000 cb00000000000000 cb00000000000000 0000010000000000',
  Buffer.from('/lib/ld-linux-aarch64.so.1\0').toString('hex'),
)

/** ELF32 with one PT_LOAD of the whole file; `fields` replaces bytes. */
function elf32(endian: 'little' | 'big', machine: number, flags: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(84))
  const little = endian === 'little'
  new Uint8Array(view.buffer).set([0x7f, 0x45, 0x4c, 0x46, 1, little ? 1 : 2, 1])
  view.setUint16(16, 2, little)
  view.setUint16(18, machine, little)
  view.setUint32(28, 52, little)
  view.setUint32(36, flags, little)
  view.setUint16(42, 32, little)
  view.setUint16(44, 1, little)
  view.setUint32(52, 1, little)
  view.setUint32(68, 84, little)
  return new Uint8Array(view.buffer)
}

describe('ELF', () => {
  test('a dynamically linked program', () => {
    expect(read(ARM64)).toEqual({
      ...{ kind: 'elf', bits: 64, endian: 'little', machine: 183, architecture: 'arm64', type: 'shared', flags: 0 },
      interpreter: '/lib/ld-linux-aarch64.so.1',
    })
  })

  test('architectures by machine, class, byte order and flags', () => {
    const of = (endian: 'little' | 'big', machine: number, flags = 0) => {
      const elf = readElf(bytesOf(elf32(endian, machine, flags)))!
      return [elf.architecture, elf.floatAbi, elf.defect]
    }
    expect(of('little', 40, 0x05000400)).toEqual(['arm', 'hard', undefined])
    expect(of('little', 40, 0x05000200)).toEqual(['arm', 'soft', undefined])
    expect(of('little', 40, 0x05000000)).toEqual(['arm', undefined, undefined])
    expect(of('big', 40)[0]).toBe('big-endian arm')
    expect(of('little', 3)[0]).toBe('386')
    expect(of('little', 62)[0]).toBe('x32')
    expect(of('little', 8, 0x70001000)[0]).toBe('mipsle')
    expect(of('big', 8, 0x70001000)[0]).toBe('mips')
    expect(of('big', 8, 0x20)[0]).toBe('mips with the n32 ABI')
    expect(of('little', 243)[0]).toBe('riscv32')
    expect(of('big', 20)[0]).toBe('ppc')
    expect(of('little', 4711)[0]).toBe('machine 4711')
  })

  test('what no kernel runs', () => {
    const defect = (change: (view: DataView) => void, length = ARM64.length): string | undefined => {
      const bytes = ARM64.slice(0, length)
      change(new DataView(bytes.buffer))
      return readElf(bytesOf(bytes))?.defect
    }
    expect(defect(() => {})).toBeUndefined()
    expect(defect(() => {}, ARM64.length - 1)).toBe('it is cut off')
    expect(defect(() => {}, 100)).toBe('it is cut off')
    expect(defect(() => {}, 40)).toBe('it ends within its header')
    expect(defect(view => view.setUint16(16, 1, true))).toBe('it is an object file that was not linked')
    expect(defect(view => view.setUint16(16, 4, true))).toBe('it is a core dump')
    expect(defect(view => view.setUint16(56, 0, true))).toBe('it has no program headers')
    expect(defect(view => view.setUint16(54, 57, true))).toBe('its program headers are damaged')
    expect(defect(view => view.setUint16(56, 0xffff, true))).toBe('its program headers are damaged')
    expect(defect(view => view.setBigUint64(32, 0xffffffffffffffffn, true))).toBe('it is cut off')
    expect(defect(view => view.setBigUint64(64 + 32, 1n << 40n, true))).toBe('its program headers are damaged')
    expect(defect(view => view.setUint8(4, 7))).toBe('its header is damaged')
  })

  test('the program that runs this test', () => {
    const fd = openSync(process.execPath, 'r')
    try {
      const elf = readElf({
        size: fstatSync(fd).size,
        read: (offset, length) => {
          const bytes = Buffer.alloc(length)
          return bytes.subarray(0, readSync(fd, bytes, 0, length, offset))
        },
      })
      if (process.platform !== 'linux') return
      const names: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' }
      expect(elf?.architecture).toBe(names[process.arch] ?? process.arch)
      expect(elf?.interpreter).toMatch(/\/ld-/)
      expect(elf?.defect).toBeUndefined()
    } finally {
      closeSync(fd)
    }
  })
})

test('programs of other systems', () => {
  const pe = (machine: string) => {
    const bytes = new Uint8Array(256)
    bytes.set(hex('4d5a'))
    bytes[60] = 0x80
    bytes.set(hex('50450000', machine), 0x80)
    return bytes
  }
  expect(read(pe('6486'))).toEqual({ kind: 'pe', architecture: 'amd64' })
  expect(read(pe('64aa'))).toEqual({ kind: 'pe', architecture: 'arm64' })
  expect(read(pe('3412'))).toEqual({ kind: 'pe', architecture: 'machine 0x1234' })
  expect(read(hex('cffaedfe 0c000001 00000000'))).toEqual({ kind: 'mach-o', architectures: ['arm64'] })
  expect(read(hex('cffaedfe 07000001 03000000'))).toEqual({ kind: 'mach-o', architectures: ['amd64'] })
  const universal = `cafebabe 00000002 01000007 ${'00'.repeat(16)} 0100000c ${'00'.repeat(16)}`
  expect(read(hex(universal))).toEqual({ kind: 'mach-o', architectures: ['amd64', 'arm64'] })
  // minor version 0, major version 65: a class of Java 21
  expect(read(hex('cafebabe 00000041 0022'))).toEqual({ kind: 'other', what: 'a Java class' })
  expect(read('\0asm\x01\0\0\0')).toEqual({ kind: 'other', what: 'WebAssembly' })
})

test('texts', () => {
  const script = (text: string) => read(text)
  expect(script('#!/bin/sh\necho')).toEqual({ kind: 'script', interpreter: '/bin/sh', carriageReturn: false })
  expect(script('#! /usr/bin/env  -S node --x  \n')).toEqual({
    ...{ kind: 'script', interpreter: '/usr/bin/env', argument: '-S node --x', carriageReturn: false },
  })
  expect(script('#!/bin/sh\r\necho\r\n')).toEqual({ kind: 'script', interpreter: '/bin/sh\r', carriageReturn: true })
  expect(script('#!/usr/bin/env bash\r\n')).toEqual({
    ...{ kind: 'script', interpreter: '/usr/bin/env', argument: 'bash\r', carriageReturn: true },
  })
  expect(script('#!/bin/sh')).toMatchObject({ kind: 'script', interpreter: '/bin/sh' })
  expect(script('#!\necho')).toEqual({ kind: 'text', bom: false })
  expect(script('echo hi\n')).toEqual({ kind: 'text', bom: false })
  expect(script('\xef\xbb\xbf#!/bin/sh\n')).toEqual({ kind: 'text', bom: true })
  expect(script('')).toEqual({ kind: 'empty' })
  expect(script('\x01\x02\x03')).toEqual({ kind: 'other', what: 'of no format that is known here' })
  const pointer = 'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n'
  expect(script(pointer)).toEqual({ kind: 'lfs-pointer' })
})

describe('hostile bytes', () => {
  test('any change of a real file is read without an exception', () => {
    const real = readFileSync(process.execPath).subarray(0, 4096)
    const change = fc.array(fc.tuple(fc.nat(1023), fc.nat(255)), { maxLength: 8 })
    const files = fc.constantFrom(ARM64, elf32('big', 8, 0), Uint8Array.from(real))
    fc.assert(
      fc.property(files, change, fc.nat(4096), (file, changes, length) => {
        const bytes = file.slice(0, length)
        for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value
        const what = readExecutable(bytesOf(bytes))
        if (what.kind === 'elf') expect((what.interpreter ?? '').length).toBeLessThanOrEqual(4096)
      }),
      { numRuns: 3000 },
    )
  })

  test('any bytes behind a known magic', () => {
    const magics = ['\x7fELF', 'MZ', '\xca\xfe\xba\xbe', '\xcf\xfa\xed\xfe', '#!', ''].map(text =>
      Buffer.from(text, 'latin1'),
    )
    fc.assert(
      fc.property(fc.constantFrom(...magics), fc.uint8Array({ maxLength: 400 }), (magic, rest) => {
        readExecutable(bytesOf(Buffer.concat([magic, rest])))
      }),
      { numRuns: 3000 },
    )
  })

  test('nothing is read outside of the file', () => {
    fc.assert(
      fc.property(fc.bigInt(0n, (1n << 64n) - 1n), fc.bigInt(0n, (1n << 64n) - 1n), (offset, size) => {
        const bytes = ARM64.slice()
        new DataView(bytes.buffer).setBigUint64(64 + 8, offset, true)
        new DataView(bytes.buffer).setBigUint64(64 + 32, size, true)
        readElf({
          size: bytes.length,
          read: (at, length) => {
            expect(at + length).toBeLessThanOrEqual(bytes.length)
            return bytes.subarray(at, at + length)
          },
        })
      }),
    )
  })
})
