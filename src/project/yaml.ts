import type { LineCounter, Node } from 'yaml'
import type { ErrorCode } from '../errors/codes.ts'
import { ArchimageError, type Place } from '../errors/error.ts'

const MAX_BYTES = 512 * 1024
const MAX_NODES = 20_000
const MAX_DEPTH = 24

export interface YamlFile {
  /** Maps, lists and strings only; an empty value is undefined. */
  readonly value: unknown
  /** Where the value at `path` stands, or its key with `onKey`; the nearest parent when there is no such value. */
  place(path: readonly PropertyKey[], onKey?: boolean): Place
}

export interface YamlOptions {
  /** What a wrong file is called; PROJECT_INVALID. */
  readonly code?: ErrorCode
  /** Merge keys are read: `<<: *defaults`. */
  readonly merge?: boolean
}

/**
 * Reads one YAML document in which every scalar is a string as it is written (`1.10` stays `1.10`). Limits size, depth
 * and what aliases expand to; refuses merge keys (without `merge`) and tags.
 * Throws PROJECT_INVALID, or `code`, with the place.
 */
export async function readYaml(bytes: Uint8Array, file: string, options: YamlOptions = {}): Promise<YamlFile> {
  const fail = (why: string, place: Place = { file }, hint?: string): never => {
    throw new ArchimageError(options.code ?? 'PROJECT_INVALID', why, { place, ...(hint === undefined ? {} : { hint }) })
  }
  if (bytes.byteLength > MAX_BYTES) return fail(`the file has ${bytes.byteLength} bytes; at most ${MAX_BYTES} are read`)
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    return fail('the file is not UTF-8 text')
  }
  const yaml = await import('yaml')
  const counter: LineCounter = new yaml.LineCounter()
  const lines = text.split(/\r?\n/)
  const at = (offset: number): Place => {
    const { line, col } = counter.linePos(offset)
    const first = Math.max(1, line - 1)
    return { file, line, column: col, excerpt: lines.slice(first - 1, line + 1), excerptLine: first }
  }
  let document: ReturnType<typeof yaml.parseDocument>
  try {
    document = yaml.parseDocument(text, { schema: 'failsafe', lineCounter: counter, prettyErrors: false, merge: false })
  } catch {
    return fail('it is nested too deeply to be read')
  }
  const problem = document.errors[0] ?? document.warnings[0]
  if (problem !== undefined) {
    if (problem.code === 'MULTIPLE_DOCS') return fail('it holds several documents ("---")', at(problem.pos[0]))
    return fail(
      `not valid YAML: ${problem.message.split('\n')[0]}`,
      at(problem.pos[0]),
      'look at the indentation, and for a bracket or a quote that is open here or above',
    )
  }

  const places = new Map<string, { key?: number; value: number }>()
  let nodes = 0
  const start = (node: Node | null | undefined): number => node?.range?.[0] ?? 0
  const walk = (node: Node | null, path: readonly PropertyKey[], depth: number, key?: number): unknown => {
    const offset = start(node)
    if (++nodes > MAX_NODES) return fail('it expands to too many values; are there aliases of aliases?', at(offset))
    if (depth > MAX_DEPTH) return fail('it is nested too deeply', at(offset))
    places.set(JSON.stringify(path), key === undefined ? { value: offset } : { key, value: offset })
    if (node === null) return undefined
    if (yaml.isAlias(node)) {
      const target = node.resolve(document)
      return target === undefined
        ? fail(`nothing is named &${node.source}`, at(offset))
        : walk(target as Node, path, depth + 1, key)
    }
    if (yaml.isMap(node)) {
      const out: Record<string, unknown> = Object.create(null)
      const under: Record<string, unknown> = Object.create(null)
      for (const pair of node.items) {
        const name = pair.key
        if (!yaml.isScalar(name) || typeof name.value !== 'string')
          return fail('a key must be a word', at(start(name as Node)))
        if (name.value === '<<' && options.merge === true) {
          const merged = walk(pair.value as Node | null, [...path, '<<'], depth + 1, start(name))
          for (const one of [merged].flat())
            if (typeof one === 'object' && one !== null) Object.assign(under, { ...one, ...under })
          continue
        }
        if (name.value === '<<')
          return fail('merge keys ("<<") are not read', at(start(name)), 'write the keys out where they are needed')
        out[name.value] = walk(pair.value as Node | null, [...path, name.value], depth + 1, start(name))
      }
      for (const [name, value] of Object.entries(under)) if (!(name in out)) out[name] = value
      return out
    }
    if (yaml.isSeq(node)) return node.items.map((item, i) => walk(item as Node | null, [...path, i], depth + 1))
    const scalar = yaml.isScalar(node) ? node : undefined
    return scalar?.value === '' && scalar.type === 'PLAIN' ? undefined : String(scalar?.value ?? '')
  }
  const value = walk(document.contents as Node | null, [], 0)
  return {
    value,
    place(path, onKey = false) {
      for (let n = path.length; n >= 0; n--) {
        const spot = places.get(JSON.stringify(path.slice(0, n)))
        if (spot !== undefined) return at((onKey || n < path.length ? spot.key : undefined) ?? spot.value)
      }
      return { file }
    },
  }
}
