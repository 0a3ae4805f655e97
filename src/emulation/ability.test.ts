import { afterAll, describe, expect, test } from 'bun:test'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { requirePeers } from '../../test/peers/require.ts'
import { buildPlatform, formatPlatform, parsePlatform, parsePlatforms } from '../oci/platform.ts'
import { type Memory, probePlatforms } from './ability.ts'
import type { Handler } from './binfmt.ts'
import type { Outcome } from './measure.ts'
import { whyNot } from './problem.ts'

const folder = mkdtempSync(join(tmpdir(), 'archimage-ability-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const onLinux = test.skipIf(process.platform !== 'linux')

function memory(): Memory & { puts: number; forge(change: (value: never) => unknown): void } {
  const kept = new Map<string, unknown>()
  const self = {
    puts: 0,
    get: <T>(kind: string, key: string) => kept.get(`${kind} ${key}`) as T | undefined,
    put: (kind: string, key: string, value: unknown) => {
      self.puts++
      kept.set(`${kind} ${key}`, value)
    },
    forge: (change: (value: never) => unknown) => {
      for (const [key, value] of kept) kept.set(key, change(value as never))
    },
  }
  return self
}

/** A folder that looks like a binfmt_misc with these handlers. */
function fakeBinfmt(name: string, files: Readonly<Record<string, string>>): string {
  const path = join(folder, name)
  mkdirSync(path)
  for (const [file, text] of Object.entries({ status: 'enabled\n', register: '', ...files }))
    writeFileSync(join(path, file), text)
  return path
}

describe('measured', () => {
  onLinux('this machine runs its own programs by itself', async () => {
    const own = buildPlatform()
    expect(await probePlatforms([own])).toEqual({ [formatPlatform(own)]: { how: 'native' } })
  })

  onLinux('other systems and machines that do not exist', async () => {
    const found = await probePlatforms(parsePlatforms(['windows/amd64,wasip1/wasm,linux/wasm']))
    expect(Object.values(found).map(({ how, problem }) => [how, problem?.code])).toEqual(
      Array(3).fill(['no', 'ENGINE_MISSING']),
    )
    expect(found['windows/amd64']?.problem?.message).toContain('this machine runs linux')
  })

  const emulated = requirePeers('emulation')

  emulated('foreign platforms with the handler that takes them', async () => {
    const found = await probePlatforms(parsePlatforms(['linux/arm64,linux/arm/v7,linux/arm/v6']))
    for (const { how, handler } of Object.values(found)) {
      expect(how).toBe('emulated')
      expect(handler?.flags).toContain('F')
    }
    expect(found['linux/arm64']?.handler?.name).toBe('qemu-aarch64')
    expect(found['linux/arm/v6']?.handler?.name).toBe('qemu-arm')
  })

  emulated('handlers that cannot be seen, as in a container, are found out by what they do', async () => {
    const found = await probePlatforms([parsePlatform('linux/arm64')], { mountPoint: join(folder, 'nothing') })
    expect(found).toEqual({ 'linux/arm64': { how: 'emulated' } })
  })

  emulated('what ran is remembered until the handlers change', async () => {
    const kept = memory()
    const platforms = parsePlatforms(['linux/arm64,windows/amd64'])
    const first = await probePlatforms(platforms, { memory: kept })
    expect(kept.puts).toBe(1)
    expect(await probePlatforms(platforms, { memory: kept })).toEqual(first)
    expect(kept.puts).toBe(1)
    kept.forge(() => ({ 'linux/arm64': { how: 'native' } }))
    expect((await probePlatforms(platforms, { memory: kept }))['linux/arm64']).toEqual({ how: 'native' })
    const elsewhere = await probePlatforms(platforms, { memory: kept, mountPoint: fakeBinfmt('other', {}) })
    expect(elsewhere['linux/arm64']).toEqual({ how: 'emulated' })
  })

  onLinux('a temporary directory where nothing may run, or that is not there, is passed over', async () => {
    const own = buildPlatform()
    const found = await probePlatforms([own], { directory: '/proc/none' })
    expect(found[formatPlatform(own)]?.how).toBe('native')
  })
})

describe('why not', () => {
  const handler: Handler = {
    ...{ name: 'qemu-s390x', enabled: true, interpreter: '/usr/bin/qemu-s390x-static', flags: 'F' },
  }
  const binfmt = { mountPoint: '/b', mounted: true, enabled: true, handlers: [handler] }
  const why = (outcome: Outcome | undefined, more: Partial<Parameters<typeof whyNot>[0]> = {}) => {
    const base = {
      platform: parsePlatform('linux/s390x'),
      outcome,
      elsewhere: undefined,
      handler,
      emulated: true,
      binfmt,
    }
    const found = whyNot({ ...base, ...more })
    return found && [found.code, found.message]
  }
  const error = (code: string): Outcome => ({ ran: false, error: code })
  const ended = (exit: number): Outcome => ({ ran: false, exit })
  const ran = (level = 0): Outcome => ({ ran: true, level })

  test('it runs', () => {
    expect(why(ran())).toBeUndefined()
    expect(why(ran(), { handler: undefined, elsewhere: ran() })).toBeUndefined()
    // chroot or unshare are not allowed here: that says nothing about the emulator
    expect(why(ran(), { handler: undefined, elsewhere: ended(1) })).toBeUndefined()
    expect(why(ran(), { handler: undefined, emulated: false })).toBeUndefined()
  })

  test('what is missing or wrong is said', () => {
    const none = { handler: undefined }
    expect(why(error('ENOEXEC'), none)).toEqual([
      'EMULATOR_MISSING',
      'RUN steps of linux/s390x do not run here: no emulator is registered for it',
    ])
    expect(why(error('ENOEXEC'), { ...none, binfmt: { ...binfmt, mounted: false } })?.[1]).toContain(
      'binfmt_misc is not mounted',
    )
    expect(why(error('ENOEXEC'), { handler: { ...handler, enabled: false } })).toEqual([
      'EMULATOR_BROKEN',
      'RUN steps of linux/s390x do not run here: the handler qemu-s390x is disabled',
    ])
    expect(why(error('ENOEXEC'), { binfmt: { ...binfmt, enabled: false } })?.[1]).toContain(
      'binfmt_misc is switched off',
    )
    expect(why(error('ENOENT'))).toEqual([
      'EMULATOR_BROKEN',
      'RUN steps of linux/s390x do not run here: the handler qemu-s390x is registered, but /usr/bin/qemu-s390x-static is not there',
    ])
    expect(why(error('EACCES'))?.[1]).toContain('does not start (EACCES)')
    expect(why(error('EACCES'), { emulated: false })?.[0]).toBe('PERMISSION')
    expect(why(ended(139))?.[1]).toContain('was ended by signal 11, run by the handler qemu-s390x')
    expect(why(ended(1))?.[1]).toContain('ended with exit code 1')
    const bare = 'linux/s390x runs on this machine but not inside images: '
    expect(why(ran(), { ...none, elsewhere: ended(127) })?.[1]).toBe(
      `${bare}its handler is registered without the F flag`,
    )
    const unfixed = { handler: { ...handler, flags: 'P' } }
    expect(why(ran(), { ...unfixed, elsewhere: ended(1) })?.[0]).toBe('EMULATOR_BROKEN')
    expect(why(ran(), { ...unfixed, elsewhere: ended(127) })?.[1]).toContain('is registered without the F flag')
    const dynamic = { handler: { ...handler, interpreter: process.execPath }, elsewhere: ended(127) }
    expect(why(ran(), dynamic)?.[1]).toMatch(/ needs \/.*ld-/)
  })

  test('a CPU or an emulator that is too small', () => {
    const amd64 = (variant: string) => ({
      platform: parsePlatform(`amd64/${variant}`),
      emulated: false,
      handler: undefined,
    })
    expect(why(ran(3), amd64('v3'))).toBeUndefined()
    expect(why(ran(3), amd64('v1'))).toBeUndefined()
    expect(why(ran(2), amd64('v3'))).toEqual([
      'ENGINE_MISSING',
      'RUN steps of linux/amd64/v3 do not run here: this CPU has x86-64-v2 only',
    ])
    expect(why(ran(3), { ...amd64('v4'), emulated: true, handler })?.[1]).toContain(
      'the emulator qemu-s390x has x86-64-v3',
    )
    expect(why(ended(132), { platform: parsePlatform('arm/v7'), emulated: false })?.[1]).toContain(
      'this CPU does not have',
    )
  })

  test('no remedy is made up where there is no QEMU', () => {
    const found = whyNot({
      ...{ platform: { os: 'linux', architecture: 'wasm' }, outcome: error('ENOEXEC'), elsewhere: undefined },
      ...{ handler: undefined, emulated: true, binfmt },
    })
    expect(found?.hint).toBe('there is no QEMU for linux/wasm: build it on a machine that runs it')
  })
})
