import { closeSync, openSync, readFileSync, readSync } from 'node:fs'
import { type Digest, isDigest } from '../oci/digest.ts'
import { isRecord, MAX_JSON } from '../oci/json.ts'
import { blobPath, blobSize } from './blobs.ts'

/** Finds which blobs hang together; remembers what it has read. */
export class Reach {
  readonly #root: string
  readonly #children = new Map<Digest, readonly Digest[]>()

  constructor(root: string) {
    this.#root = root
  }

  /** All digests to which `from` leads, itself included, added to `into`. */
  follow(from: Digest, into: Set<Digest> = new Set()): Set<Digest> {
    const todo = [from]
    for (let digest = todo.pop(); digest !== undefined; digest = todo.pop()) {
      if (into.has(digest)) continue
      into.add(digest)
      todo.push(...this.#childrenOf(digest))
    }
    return into
  }

  #childrenOf(digest: Digest): readonly Digest[] {
    let children = this.#children.get(digest)
    if (children === undefined) {
      children = childrenIn(this.#json(digest))
      this.#children.set(digest, children)
    }
    return children
  }

  #json(digest: Digest): unknown {
    const size = blobSize(this.#root, digest)
    if (size === undefined || size === 0 || size > MAX_JSON) return undefined
    try {
      const path = blobPath(this.#root, digest)
      return startsAsObject(path) ? JSON.parse(readFileSync(path, 'utf8')) : undefined
    } catch {
      return undefined
    }
  }
}

/** Most blobs are layers: one look at their beginning tells. */
function startsAsObject(path: string): boolean {
  const fd = openSync(path, 'r')
  try {
    const head = new Uint8Array(64)
    const text = new TextDecoder().decode(head.subarray(0, readSync(fd, head)))
    return text.trimStart().startsWith('{')
  } finally {
    closeSync(fd)
  }
}

/** What a manifest, index or artifact names. Lenient: something odd must not lead to something being removed. */
function childrenIn(json: unknown): Digest[] {
  if (!isRecord(json)) return []
  const lists = [json['manifests'], json['layers'], json['blobs']].flatMap(list => (Array.isArray(list) ? list : []))
  return [json['config'], json['subject'], ...lists].flatMap(item =>
    isRecord(item) && isDigest(item['digest']) ? [item['digest']] : [],
  )
}

/** Every digest that a record mentions. */
export function digestsIn(text: string): Digest[] {
  return (text.match(/sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}/g) ?? []) as Digest[]
}
