import { ArchimageError } from '../errors/error.ts'

/** Manifests, indexes and configs that are larger than this are refused (registries take at most 4 MiB; we read 8). */
export const MAX_JSON = 8 * 1024 * 1024

/** What is written anew is walked by recursion: far below the end of the stack. */
const MAX_NESTING = 500

function nestsTooDeep(raw: Uint8Array): boolean {
  let depth = 0
  let quoted = false
  for (let i = 0; i < raw.length; i++) {
    const byte = raw[i]
    if (quoted) {
      if (byte === 0x5c) i++
      else if (byte === 0x22) quoted = false
    } else if (byte === 0x22) quoted = true
    else if (byte === 0x5b || byte === 0x7b) {
      if (++depth > MAX_NESTING) return true
    } else if (byte === 0x5d || byte === 0x7d) depth--
  }
  return false
}

/** Strict reading of JSON from outside: valid UTF-8, one object. Throws MANIFEST_INVALID, naming `what`. */
export function parseJsonObject(raw: Uint8Array, what: string): Record<string, unknown> {
  const fail = (why: string, cause?: unknown): never => {
    throw new ArchimageError('MANIFEST_INVALID', `${what}: ${why}`, cause === undefined ? {} : { cause })
  }
  if (raw.byteLength > MAX_JSON) return fail(`${raw.byteLength} bytes are more than the ${MAX_JSON} that are read`)
  if (nestsTooDeep(raw)) return fail(`it nests more than ${MAX_NESTING} deep`)
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(raw))
  } catch (error) {
    return fail('not valid JSON', error)
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return fail('not a JSON object')
  return value as Record<string, unknown>
}

/** JSON without white space, undefined fields left out; fields stand in the order in which the caller wrote them. */
export function encodeJson(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value))
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
