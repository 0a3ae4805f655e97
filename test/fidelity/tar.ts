import { spawnSync } from 'node:child_process'

/** A tar entry as the tests write and read it: nothing here is shared with src/tar, which is under test. */
export interface Entry {
  /** As it stands in the archive, without "./" in front and "/" behind. */
  readonly path: string
  readonly type: 'file' | 'dir' | 'symlink' | 'hardlink' | 'char' | 'block' | 'fifo'
  readonly mode?: number
  readonly uid?: number
  readonly gid?: number
  readonly mtime?: number
  readonly data?: Buffer
  readonly link?: string
  readonly major?: number
  readonly minor?: number
  /** PAX records, xattrs among them as SCHILY.xattr.NAME. */
  readonly pax?: Readonly<Record<string, Buffer>>
}

const FLAGS = { file: '0', hardlink: '1', symlink: '2', char: '3', block: '4', dir: '5', fifo: '6' } as const
const TYPES = Object.fromEntries(Object.entries(FLAGS).map(([type, flag]) => [flag, type])) as Record<
  string,
  Entry['type']
>

function octal(value: number, width: number): string {
  return `${value.toString(8).padStart(width - 1, '0')}\0`
}

function header(name: Buffer, link: Buffer, flag: string, size: number, entry: Partial<Entry>): Buffer {
  const block = Buffer.alloc(512)
  name.copy(block, 0, 0, 100)
  block.write(octal(entry.mode ?? 0, 8), 100)
  block.write(octal(entry.uid ?? 0, 8), 108)
  block.write(octal(entry.gid ?? 0, 8), 116)
  block.write(octal(size, 12), 124)
  block.write(octal(entry.mtime ?? 1_700_000_000, 12), 136)
  block.write('        ', 148)
  block.write(flag, 156)
  link.copy(block, 157, 0, 100)
  block.write('ustar\x0000', 257)
  if (flag === '3' || flag === '4') {
    block.write(octal(entry.major ?? 0, 8), 329)
    block.write(octal(entry.minor ?? 0, 8), 337)
  }
  block.write(
    octal(
      block.reduce((sum, byte) => sum + byte, 0),
      7,
    ),
    148,
  )
  return block
}

function record(key: string, value: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(` ${key}=`), value, Buffer.from('\n')])
  let length = body.length + 1
  while (String(length).length + body.length !== length) length = String(length).length + body.length
  return Buffer.concat([Buffer.from(String(length)), body])
}

const padded = (data: Buffer): Buffer => Buffer.concat([data, Buffer.alloc((512 - (data.length % 512)) % 512)])

export function writeTar(entries: readonly Entry[]): Buffer {
  const out: Buffer[] = []
  for (const entry of entries) {
    const data = entry.data ?? Buffer.alloc(0)
    const name = Buffer.from(entry.type === 'dir' ? `${entry.path}/` : entry.path)
    const link = Buffer.from(entry.link ?? '')
    const pax: Record<string, Buffer> = { ...entry.pax }
    if (name.length > 100) pax['path'] = name
    if (link.length > 100) pax['linkpath'] = link
    if (Object.keys(pax).length > 0) {
      const records = Buffer.concat(Object.entries(pax).map(([key, value]) => record(key, value)))
      out.push(header(Buffer.from('pax'), Buffer.alloc(0), 'x', records.length, {}), padded(records))
    }
    out.push(header(name, link, FLAGS[entry.type], data.length, { mode: 0o644, ...entry }), padded(data))
  }
  return Buffer.concat([...out, Buffer.alloc(1024)])
}

/** Up to the first NUL; what is not UTF-8 stays apart from what is. */
function text(padded: Buffer): string {
  const nul = padded.indexOf(0)
  const bytes = nul < 0 ? padded : padded.subarray(0, nul)
  const decoded = bytes.toString('utf8')
  return Buffer.from(decoded).equals(bytes) ? decoded : bytes.toString('latin1').replace(/[\x80-\xff]/g, escaped)
}

const escaped = (byte: string): string => `\\x${byte.charCodeAt(0).toString(16)}`

function number(bytes: Buffer): number {
  if ((bytes[0]! & 0x80) !== 0) return bytes.subarray(1).reduce((value, byte) => value * 256 + byte, bytes[0]! & 0x7f)
  return Number.parseInt(text(bytes).trim() || '0', 8)
}

const clean = (path: string): string => path.replace(/^(?:\.?\/)+/, '').replace(/\/+$/, '')

/** Reads ustar, PAX and GNU long names, all of a buffer. */
export function readTar(bytes: Buffer): Entry[] {
  const out: Entry[] = []
  let pax: Record<string, Buffer> = {}
  let longName: string | undefined
  let longLink: string | undefined
  for (let at = 0; at + 512 <= bytes.length; ) {
    const block = bytes.subarray(at, at + 512)
    at += 512
    if (block.every(byte => byte === 0)) break
    const flag = String.fromCharCode(block[156]!)
    const size = pax['size'] ? Number(pax['size']) : number(block.subarray(124, 136))
    const data = bytes.subarray(at, at + size)
    at += Math.ceil(size / 512) * 512
    if (flag === 'x') {
      pax = {}
      for (let from = 0; from < data.length; ) {
        const space = data.indexOf(0x20, from)
        const length = Number(data.subarray(from, space).toString())
        const equals = data.indexOf(0x3d, space)
        pax[data.subarray(space + 1, equals).toString()] = data.subarray(equals + 1, from + length - 1)
        from += length
      }
      continue
    }
    if (flag === 'L') longName = text(data)
    else if (flag === 'K') longLink = text(data)
    if (flag === 'L' || flag === 'K') continue
    const type = TYPES[flag === '\0' ? '0' : flag]
    if (type === undefined) throw new Error(`tar entry of type ${JSON.stringify(flag)}`)
    const prefix = text(block.subarray(345, 500))
    const short = text(block.subarray(0, 100))
    const ustar = block.subarray(257, 263).toString() === 'ustar\0'
    const path =
      (pax['path'] && text(pax['path'])) ?? longName ?? (ustar && prefix !== '' ? `${prefix}/${short}` : short)
    const link = (pax['linkpath'] && text(pax['linkpath'])) ?? longLink ?? text(block.subarray(157, 257))
    const { path: _p, linkpath: _l, size: _s, ...rest } = pax
    out.push({
      path: clean(path),
      type,
      mode: number(block.subarray(100, 108)),
      uid: pax['uid'] ? Number(pax['uid']) : number(block.subarray(108, 116)),
      gid: pax['gid'] ? Number(pax['gid']) : number(block.subarray(116, 124)),
      mtime: pax['mtime'] ? Number(pax['mtime']) : number(block.subarray(136, 148)),
      ...(type === 'file' ? { data: Buffer.from(data) } : {}),
      ...(type === 'symlink' ? { link } : type === 'hardlink' ? { link: clean(link) } : {}),
      ...(type === 'char' || type === 'block'
        ? { major: number(block.subarray(329, 337)), minor: number(block.subarray(337, 345)) }
        : {}),
      pax: rest,
    })
    pax = {}
    longName = undefined
    longLink = undefined
  }
  return out
}

/** What Python's tarfile makes of an archive, one line an entry: a second opinion about `readTar`. */
export function pythonListing(file: string): string[] | undefined {
  const script =
    'import sys,tarfile\nfor m in tarfile.open(sys.argv[1]):\n  print(m.name.removeprefix("./"), m.type.decode(), oct(m.mode), m.uid, m.gid, m.size, m.linkname, sep="|")'
  const { status, stdout } = spawnSync('python3', ['-c', script, file], { encoding: 'utf8' })
  return status === 0 ? stdout.split('\n').filter(Boolean) : undefined
}
