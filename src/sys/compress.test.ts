import { describe, expect, test } from 'bun:test'
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { gunzipSync, gzipSync, zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import { requirePeers } from '../../test/peers/require.ts'
import {
  type Compressed,
  createCompressor,
  decompress,
  decompressMember,
  MEMBER_SIZE,
  sniffCompression,
} from './compress.ts'

/** Bytes that are always the same and half of which can be compressed away: hexadecimal digits of digests. */
function sample(size: number): Buffer {
  const digest = (n: number) => createHash('sha256').update(`${n}`).digest('hex')
  return Buffer.from(Array.from({ length: Math.ceil(size / 64) }, (_, n) => digest(n)).join('')).subarray(0, size)
}

async function compress(
  input: Uint8Array,
  format: 'gzip' | 'zstd' | 'none',
  workers: number,
  step = 100_000,
): Promise<{ bytes: Buffer; result: Compressed }> {
  const out: Uint8Array[] = []
  const compressor = createCompressor({ format, workers, output: chunk => out.push(Buffer.from(chunk)) })
  for (let at = 0; at < input.length; at += step) await compressor.push(input.subarray(at, at + step))
  const result = await compressor.finish()
  return { bytes: Buffer.concat(out), result }
}

/** The error of a promise. (`expect(…).rejects` turns the event loop inside itself, where answers of workers get lost.) */
const failure = (promise: Promise<unknown>): Promise<{ code?: string; message?: string } | undefined> =>
  promise.then(
    () => undefined,
    error => error,
  )

const collect = async (source: AsyncIterable<Uint8Array>) => Buffer.concat(await Array.fromAsync(source))

describe('compressing', () => {
  const input = sample(5 * MEMBER_SIZE + 12345)

  for (const format of ['gzip', 'zstd', 'none'] as const)
    test(`${format}: the same bytes for any number of workers and any pieces`, async () => {
      const one = await compress(input, format, 1)
      for (const [workers, step] of [
        [0, 333_333],
        [2, MEMBER_SIZE],
        [4, 3 * MEMBER_SIZE + 1],
      ] as const) {
        const other = await compress(input, format, workers, step)
        expect(other.bytes.equals(one.bytes)).toBe(true)
        expect(other.result).toEqual(one.result)
      }
      expect(one.result).toMatchObject({
        size: one.bytes.length,
        inputSize: input.length,
        inputSha256: createHash('sha256').update(input).digest('hex'),
      })
      const whole =
        format === 'gzip' ? gunzipSync(one.bytes) : format === 'zstd' ? zstdDecompressSync(one.bytes) : one.bytes
      expect(whole.equals(input)).toBe(true)
    })

  requirePeers('gzip')('the command line tools take it', async () => {
    const { bytes } = await compress(input, 'gzip', 2)
    const gzip = spawnSync('gzip', ['-dc'], { input: bytes, maxBuffer: 1 << 24 })
    expect([gzip.status, String(gzip.stderr)]).toEqual([0, ''])
    expect(gzip.stdout.equals(input)).toBe(true)
    const zstd = spawnSync('zstd', ['-dc'], { input: (await compress(input, 'zstd', 2)).bytes, maxBuffer: 1 << 24 })
    if (zstd.error === undefined) expect(zstd.stdout.equals(input)).toBe(true)
  })

  test('every member stands where the table says, with the agreed header', async () => {
    for (const format of ['gzip', 'zstd'] as const) {
      const { bytes, result } = await compress(input, format, 2)
      expect(result.members.length).toBe(6)
      for (const [i, start] of result.members.entries()) {
        const member = bytes.subarray(start, result.members[i + 1])
        if (format === 'gzip') expect(member.toString('hex', 0, 10)).toBe('1f8b08000000000000ff')
        // RFC 8878: the frame header descriptor's content size flag
        else expect(member[4]! >> 6).toBeGreaterThan(0)
        const part = decompressMember(format, Buffer.from(member))
        expect(Buffer.from(part).equals(input.subarray(i * MEMBER_SIZE, (i + 1) * MEMBER_SIZE))).toBe(true)
      }
    }
  })

  test('golden bytes: RFC 1952 and 1951 leave no choice for nothing at all', async () => {
    // header, one final stored or fixed block of no bytes, CRC 0, length 0
    const { bytes } = await compress(new Uint8Array(), 'gzip', 2)
    expect(bytes.toString('hex')).toBe(`1f8b08000000000000ff${'010000ffff'}${'0'.repeat(16)}`)
  })

  test('golden digest of level 6', async () => {
    const { bytes } = await compress(sample(MEMBER_SIZE + 1000), 'gzip', 0)
    expect(createHash('sha256').update(bytes).digest('hex')).toBe(GOLDEN)
  })

  test('an output that fails stops the input', async () => {
    const compressor = createCompressor({
      format: 'gzip',
      workers: 2,
      output: () => {
        throw new Error('disk full')
      },
    })
    const feed = async () => {
      for (let i = 0; i < 100; i++) await compressor.push(input)
      await compressor.finish()
    }
    expect((await failure(feed()))?.message).toBe('disk full')
  })

  test('nothing comes out after abort', async () => {
    let chunks = 0
    const compressor = createCompressor({ format: 'gzip', workers: 2, output: () => chunks++ })
    const pushing = compressor.push(input)?.catch(() => {})
    compressor.abort()
    await pushing
    expect((await failure(compressor.finish()))?.message).toContain('given up')
    expect(chunks).toBe(0)
  })

  test('idle workers let the program end, busy ones keep it', () => {
    const script = `
      const { createCompressor } = await import(${JSON.stringify(new URL('./compress.ts', import.meta.url).href)})
      const c = createCompressor({ format: 'gzip', workers: 2, output() {} })
      await c.push(new Uint8Array(3 << 20))
      c.finish().then(r => process.stdout.write(String(r.inputSize)))`
    const { stdout, status } = spawnSync(process.execPath, ['-e', script], { encoding: 'utf8', timeout: 20_000 })
    expect([stdout, status]).toEqual([String(3 << 20), 0])
  })
})

/** Level 6 of libdeflate; a change of this value is a change of every layer's digest (the format version). */
const GOLDEN = 'f06b3e5f2f76458c1a42982b9edf5102e9b5840a477aaa6cbb8c986ac4980907'

describe('decompressing', () => {
  const text = Buffer.from('some text '.repeat(5000))
  const two = Buffer.concat([gzipSync(text), gzipSync(text)])

  test('the first bytes tell the format', () => {
    const cases: [string, string][] = [
      ['1f8b0800', 'gzip'],
      ['28b52ffd00', 'zstd'],
      ['502a4d18', 'zstd'],
      ['425a6839', 'bzip2'],
      ['fd377a585a00', 'xz'],
      ['1f8b', 'none'],
      ['', 'none'],
    ]
    for (const [hex, format] of cases) expect(sniffCompression(Buffer.from(hex, 'hex'))).toBe(format as 'gzip')
  })

  test('all members are read', async () => {
    expect((await collect(decompress('gzip', [two.subarray(0, 7), two.subarray(7)]))).length).toBe(2 * text.length)
  })

  test('by the tools for bzip2 and xz', async () => {
    for (const tool of ['bzip2', 'xz'] as const) {
      const { stdout, error } = spawnSync(tool, ['-c'], { input: text })
      if (error) continue
      expect(sniffCompression(stdout)).toBe(tool)
      expect((await collect(decompress(tool, [stdout]))).equals(text)).toBe(true)
      expect((await failure(collect(decompress(tool, [stdout.subarray(0, 40)]))))?.code).toBe('TAR_INVALID')
    }
  })

  test('without the tool the error names it', async () => {
    const path = process.env['PATH']
    process.env['PATH'] = '/nonexistent'
    try {
      expect((await failure(collect(decompress('xz', [text]))))?.code).toBe('ENGINE_MISSING')
    } finally {
      process.env['PATH'] = path
    }
  })

  test('damage, cuts, garbage and nothing are refused', async () => {
    const broken = Buffer.from(two)
    broken[30]! ^= 0xff
    for (const bytes of [
      broken,
      two.subarray(0, two.length - 3),
      Buffer.concat([two, Buffer.from('garbage')]),
      Buffer.alloc(0),
    ])
      expect((await failure(collect(decompress('gzip', [bytes], { name: 'x' }))))?.code).toBe('TAR_INVALID')
  })

  test('zstd: every cut and what is no frame is refused, which the runtime does not do', async () => {
    const whole = Buffer.concat([
      zstdCompressSync(text),
      Buffer.from('502a4d1803000000616263', 'hex'),
      zstdCompressSync(text),
    ])
    expect((await collect(decompress('zstd', [whole.subarray(0, 5), whole.subarray(5)]))).length).toBe(2 * text.length)
    const frames = [zstdCompressSync(text).length, whole.length - zstdCompressSync(text).length]
    for (let end = 0; end < whole.length; end++) {
      if (frames.includes(end)) continue
      const cut = collect(decompress('zstd', [whole.subarray(0, end)]))
      expect((await failure(cut))?.code).toBe('TAR_INVALID')
    }
    const garbage = collect(decompress('zstd', [whole, Buffer.from('garbage')]))
    expect((await failure(garbage))?.code).toBe('TAR_INVALID')
  })

  test('zstd of the command line tool, several blocks and a checksum', async () => {
    const big = sample(700_000)
    const { stdout, error } = spawnSync('zstd', ['-c', '--check'], { input: big, maxBuffer: 1 << 24 })
    if (error === undefined) expect((await collect(decompress('zstd', [stdout]))).equals(big)).toBe(true)
  })

  test('a bomb ends at the limit', async () => {
    const bomb = gzipSync(Buffer.alloc(50 << 20))
    const bombed = await failure(collect(decompress('gzip', [bomb], { limit: 1 << 20 })))
    expect(bombed?.message).toMatch(/grows beyond 1048576/)
  })

  requirePeers('xz')('a failure of the source stays itself', async () => {
    async function* source() {
      yield two.subarray(0, 20)
      throw new Error('network gone')
    }
    for (const format of ['gzip', 'xz'] as const)
      expect((await failure(collect(decompress(format, source()))))?.message).toBe('network gone')
  })
})
