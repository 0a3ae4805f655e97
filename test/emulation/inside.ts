// Run inside a user namespace of its own by emulation.test.ts: prints what it found as JSON.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { probePlatforms } from '../../src/emulation/ability.ts'
import { readBinfmt } from '../../src/emulation/binfmt.ts'
import { measure } from '../../src/emulation/measure.ts'
import { probeProgram } from '../../src/emulation/probe-program.ts'
import { readyPlatforms } from '../../src/emulation/ready.ts'
import { register } from '../../src/emulation/register.ts'
import { parsePlatform, parsePlatforms } from '../../src/oci/platform.ts'

const folder = mkdtempSync(join(tmpdir(), 'archimage-inside-'))
const mountPoint = '/proc/sys/fs/binfmt_misc'
const arm64 = probeProgram(parsePlatform('linux/arm64'))!

/** A program of this machine that ends with exit code 64, and one of a machine that does not exist. */
const interpreter = join(folder, 'interpreter')
writeFileSync(interpreter, probeProgram(parsePlatform('386'))!.bytes, { mode: 0o755 })
const alien = arm64.bytes.slice()
alien.set([0x47, 0x11], 18)

/** ldr x1,[sp,#8]; ldrb w0,[x1]; movz x8,#93; svc #0: ends with the first letter of argv[0] as its exit code. */
const letter = arm64.bytes.slice(0, -12)
const code = Buffer.alloc(16)
for (const [i, word] of [0xf94007e1, 0x39400020, 0xd2800ba8, 0xd4000001].entries()) code.writeUInt32LE(word, 4 * i)
const argv0 = Buffer.concat([letter, code])
argv0.writeBigUInt64LE(BigInt(argv0.length), 64 + 32)
argv0.writeBigUInt64LE(BigInt(argv0.length), 64 + 40)
writeFileSync(join(folder, 'argv0'), argv0, { mode: 0o755 })

async function main(): Promise<unknown> {
  const platforms = parsePlatforms(['linux/arm64,linux/arm/v7'])
  const before = await probePlatforms(platforms)
  const after = await readyPlatforms(platforms, { ownNamespace: true })
  const elsewhere = await measure([arm64], { elsewhere: true })
  const first = spawnSync(join(folder, 'argv0'), [], { argv0: 'Zebra' }).status
  const match = { offset: 0, magic: alien.slice(0, 20), mask: new Uint8Array(20).fill(0xff) }
  register({ name: 'archimage-alien', interpreter, match, flags: '' }, mountPoint)
  const program = { name: 'alien', bytes: alien }
  const here = (await measure([program])).get('alien')
  const there = (await measure([program], { elsewhere: true })).get('alien')
  register({ name: 'archimage-alien', interpreter, match, flags: 'F' }, mountPoint)
  const fixed = (await measure([program], { elsewhere: true })).get('alien')
  return {
    before,
    after,
    elsewhere: elsewhere.get('arm64'),
    first,
    alien: { here, there, fixed },
    handlers: readBinfmt(mountPoint).handlers.map(({ name }) => name),
  }
}

try {
  process.stdout.write(JSON.stringify(await main()))
} finally {
  rmSync(folder, { recursive: true, force: true })
}
