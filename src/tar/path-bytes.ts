/**
 * Names in images and archives are bytes; here they are strings. Bytes that are not UTF-8 become lone surrogates: byte
 * 0xNN is U+DCNN (as in Python's PEP 383), so that every name survives reading and writing unchanged.
 */

const encoder = new TextEncoder()

/** Length of the UTF-8 sequence that starts at `i`, 0 when the byte there starts none (RFC 3629, table of section 4). */
function sequence(bytes: Uint8Array, i: number): number {
  const first = bytes[i]!
  if (first < 0x80) return 1
  const length = first >= 0xc2 && first <= 0xdf ? 2 : first >= 0xe0 && first <= 0xef ? 3 : first <= 0xf4 ? 4 : 0
  if (first < 0xc2 || length === 0) return 0
  const low = first === 0xe0 ? 0xa0 : first === 0xf0 ? 0x90 : 0x80
  const high = first === 0xed ? 0x9f : first === 0xf4 ? 0x8f : 0xbf
  for (let k = 1; k < length; k++) {
    const byte = bytes[i + k]
    if (byte === undefined || byte < (k === 1 ? low : 0x80) || byte > (k === 1 ? high : 0xbf)) return 0
  }
  return length
}

/** The string for the bytes of a name. */
export function decodePath(bytes: Uint8Array): string {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const plain = buffer.toString('utf8')
  if (!plain.includes('\ufffd')) return plain
  let out = ''
  let start = 0
  for (let i = 0; i < buffer.length; ) {
    const length = sequence(buffer, i)
    if (length === 0) {
      out += buffer.toString('utf8', start, i) + String.fromCharCode(0xdc00 + buffer[i]!)
      start = i + 1
    }
    i += length || 1
  }
  return out + buffer.toString('utf8', start)
}

/** The bytes of a name: the inverse of `decodePath`. */
export function encodePath(path: string): Buffer {
  if (path.isWellFormed()) return Buffer.from(path, 'utf8')
  const out = Buffer.alloc(path.length * 3)
  let length = 0
  for (const character of path) {
    const code = character.codePointAt(0)!
    if (code >= 0xdc80 && code <= 0xdcff) out[length++] = code & 0xff
    else length += encoder.encodeInto(character, out.subarray(length)).written
  }
  return out.subarray(0, length)
}

/** Order of the encoded bytes, for `sort`. UTF-16 order is the same up to U+D7FF; only beyond that bytes are made. */
export function comparePaths(a: string, b: string): number {
  const length = Math.min(a.length, b.length)
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i)
    const y = b.charCodeAt(i)
    if (x !== y) return x < 0xd800 && y < 0xd800 ? x - y : Buffer.compare(encodePath(a), encodePath(b))
  }
  return a.length - b.length
}

/** What `node:fs` needs to name the file: the string itself, or bytes when the name is not UTF-8. */
export function fsPath(path: string): string | Buffer {
  return path.isWellFormed() ? path : encodePath(path)
}

/**
 * An archive's name as a path: no leading "/" or "./", no empty, "." or ".." components, no trailing "/"; "" is the root.
 * Undefined when ".." leaves the root.
 */
export function cleanPath(name: string): string | undefined {
  if (!/^\/|^\.{1,2}(?:\/|$)|\/\.{0,2}(?:\/|$)/.test(name)) return name
  const parts: string[] = []
  for (const part of name.split('/')) {
    if (part === '' || part === '.') continue
    if (part !== '..') parts.push(part)
    else if (parts.pop() === undefined) return undefined
  }
  return parts.join('/')
}
