import { readFileSync, type Stats, statSync } from 'node:fs'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { ArchimageError, isArchimageError, systemError } from '../errors/error.ts'
import { isDigest } from '../oci/digest.ts'
import { encodeJson, isRecord } from '../oci/json.ts'
import { type Descriptor, sorted } from '../oci/manifest.ts'
import { OCI } from '../oci/media-types.ts'
import type { Platform } from '../oci/platform.ts'
import { formatReference, parseReference, withDefaultTag } from '../oci/reference.ts'
import { writeFileAtomic } from '../sys/files.ts'
import { lockFile, sleepSync } from '../sys/locks.ts'
import { NAMES } from './home.ts'
import type { Origin, Ref } from './types.ts'

/** image-spec, annotations.md; containerd and nerdctl read the second one. */
const REF_NAME = 'org.opencontainers.image.ref.name'
const IMAGE_NAME = 'io.containerd.image.name'
const ORIGIN = 'dev.archimage.origin'
const STORED = 'dev.archimage.stored'
const OWN = [REF_NAME, IMAGE_NAME, ORIGIN, STORED]
const ORIGINS: readonly string[] = ['built', 'tagged', 'loaded', 'pulled', 'list'] satisfies Origin[]

type Json = Readonly<Record<string, unknown>>

interface IndexFile {
  readonly rest: Json
  readonly entries: readonly Json[]
}

const EMPTY: IndexFile = { rest: { schemaVersion: 2, mediaType: OCI.index }, entries: [] }

/** What `tag` takes. */
export interface Naming {
  readonly name: string
  readonly descriptor: Descriptor
  readonly origin: Origin
}

/** The whole reference with its tag: `nginx` is `docker.io/library/nginx:latest`. Throws REFERENCE_INVALID. */
export function fullName(name: string): string {
  return formatReference(withDefaultTag(parseReference(name)))
}

/** The names of a store: its index.json, read again when it changed, written under a lock and by rename. */
export class Refs {
  readonly #root: string
  readonly #path: string
  #seen: { readonly stat: Stats; readonly index: IndexFile; readonly refs: ReadonlyMap<string, Ref> } | undefined

  constructor(root: string) {
    this.#root = root
    this.#path = join(root, NAMES.index)
  }

  all(): Ref[] {
    return [...this.#read().refs.values()]
  }

  /** By the name as it stands there, else by the whole reference that it means. */
  get(name: string): Ref | undefined {
    const { refs } = this.#read()
    const exact = refs.get(name)
    if (exact !== undefined) return exact
    try {
      return refs.get(fullName(name))
    } catch (error) {
      if (isArchimageError(error)) return undefined
      throw error
    }
  }

  /** Digests of all entries, also of those that other tools wrote without a name. */
  roots(): { readonly digest: Descriptor['digest']; readonly pulled: boolean }[] {
    return this.#read().index.entries.flatMap(entry => {
      const { digest } = entry
      return isDigest(digest) ? [{ digest, pulled: annotation(entry, ORIGIN) === 'pulled' }] : []
    })
  }

  /** Names all at once, in one write; what has the name and digest already stays untouched. */
  set(list: readonly Naming[]): void {
    const names = list.map(item => ({ ...item, name: fullName(item.name) }))
    if (names.every(item => agrees(this.#read().refs.get(item.name), item))) return
    const stored = new Date().toISOString()
    this.#change(entries => {
      const out = [...entries]
      for (const item of names) {
        const places = out.flatMap((entry, i) => (entryName(entry) === item.name ? [i] : []))
        const found = places.length === 0 ? undefined : toRef(out[places.at(-1)!]!)[0]
        if (agrees(found, item)) continue
        const at = places[0] ?? out.length
        for (const place of places.slice(1).reverse()) out.splice(place, 1)
        out.splice(at, places.length === 0 ? 0 : 1, toEntry(item, stored))
      }
      return out
    })
  }

  /** Takes the names away; returns those that were there. */
  unset(names: readonly string[]): Ref[] {
    const gone = names.flatMap(name => this.get(name) ?? [])
    if (gone.length === 0) return []
    const doomed = new Set(gone.map(ref => ref.name))
    this.#change(entries => entries.filter(entry => !doomed.has(entryName(entry) ?? '')))
    return gone
  }

  #change(change: (entries: readonly Json[]) => readonly Json[]): void {
    const lock = lockFile(join(this.#root, NAMES.indexLock), 'exclusive', 30_000)
    if (lock === undefined)
      throw new ArchimageError('STORE_BUSY', `another process holds ${join(this.#root, NAMES.indexLock)}`, {
        hint: 'find it with: fuser -v on that file; it seems to hang',
      })
    try {
      this.#seen = undefined
      const { index } = this.#read()
      const manifests = change(index.entries)
      const { schemaVersion, mediaType, manifests: _, ...more } = index.rest
      const bytes = encodeJson({ schemaVersion, mediaType: mediaType ?? OCI.index, manifests, ...more })
      writeFileAtomic(this.#path, bytes, 0o644, join(this.#root, NAMES.tmp))
    } finally {
      this.#seen = undefined
      lock.release()
    }
  }

  #read() {
    const stat = statSync(this.#path, { throwIfNoEntry: false })
    const seen = this.#seen
    const unchanged =
      seen !== undefined &&
      stat?.ino === seen.stat.ino &&
      stat.mtimeMs === seen.stat.mtimeMs &&
      stat.size === seen.stat.size
    if (unchanged) return seen
    const index = stat === undefined ? EMPTY : this.#parse()
    const refs = new Map(index.entries.flatMap(toRef).map(ref => [ref.name, ref]))
    const read = { index, refs }
    // Within the grain of file times two writes look like one.
    if (stat !== undefined && Math.abs(Date.now() - stat.mtimeMs) > 50) this.#seen = { stat, ...read }
    return read
  }

  /** Other tools write the file in place: what looks torn is read again before it counts as damaged. */
  #parse(): IndexFile {
    for (let attempt = 1; ; attempt++) {
      let text: string
      try {
        text = readFileSync(this.#path, 'utf8')
      } catch (error) {
        throw systemError(error, `reading ${this.#path}`)
      }
      const index = parseIndex(text)
      if (index !== undefined) return index
      if (attempt === 5)
        throw new ArchimageError('STORE_BROKEN', `${this.#path} is damaged`, {
          hint: `restore it, or remove it: the images then lose their names, and are built or pulled again`,
        })
      sleepSync(10)
    }
  }
}

function parseIndex(text: string): IndexFile | undefined {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    return undefined
  }
  if (!isRecord(json) || json['schemaVersion'] !== 2) return undefined
  const manifests = json['manifests'] ?? []
  if (!Array.isArray(manifests) || !manifests.every(isRecord)) return undefined
  return { rest: json, entries: manifests }
}

function annotation(entry: Json, key: string): string | undefined {
  const map = entry['annotations']
  const value = isRecord(map) ? map[key] : undefined
  return typeof value === 'string' && value !== '' ? value : undefined
}

/** containerd has the tag alone in ref.name and the whole reference in its own annotation. */
function entryName(entry: Json): string | undefined {
  return annotation(entry, IMAGE_NAME) ?? annotation(entry, REF_NAME)
}

function toRef(entry: Json): Ref[] {
  const { mediaType, digest, size, platform, artifactType } = entry
  const name = entryName(entry)
  if (name === undefined || typeof mediaType !== 'string' || !isDigest(digest)) return []
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) return []
  const origin = annotation(entry, ORIGIN) ?? 'loaded'
  const stored = annotation(entry, STORED)
  const others = Object.entries(isRecord(entry['annotations']) ? entry['annotations'] : {}).filter(
    ([key, value]) => !OWN.includes(key) && typeof value === 'string',
  )
  const descriptor: Descriptor = {
    mediaType,
    digest,
    size,
    ...(isRecord(platform) && typeof platform['os'] === 'string' && typeof platform['architecture'] === 'string'
      ? { platform: platform as unknown as Platform }
      : {}),
    ...(others.length === 0 ? {} : { annotations: Object.fromEntries(others) as Record<string, string> }),
    ...(typeof artifactType === 'string' ? { artifactType } : {}),
  }
  return [
    {
      name,
      descriptor,
      origin: ORIGINS.includes(origin) ? (origin as Origin) : 'loaded',
      ...(stored === undefined ? {} : { stored }),
    },
  ]
}

function toEntry({ name, descriptor, origin }: Naming, stored: string): Json {
  const { mediaType, digest, size, platform, artifactType } = descriptor
  return {
    mediaType,
    digest,
    size,
    annotations: sorted({
      ...descriptor.annotations,
      [REF_NAME]: name,
      [IMAGE_NAME]: name,
      [ORIGIN]: origin,
      [STORED]: stored,
    }),
    ...(platform === undefined ? {} : { platform }),
    ...(artifactType === undefined ? {} : { artifactType }),
  }
}

/** Pulling what was built here does not take away that it was built here. */
function agrees(ref: Ref | undefined, item: Naming): boolean {
  return (
    ref?.descriptor.digest === item.descriptor.digest &&
    ref.descriptor.mediaType === item.descriptor.mediaType &&
    (item.origin !== 'list' || isDeepStrictEqual(ref.descriptor.annotations, item.descriptor.annotations)) &&
    (ref.origin === item.origin || item.origin === 'pulled')
  )
}
