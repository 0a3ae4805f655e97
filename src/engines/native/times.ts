import { createHash } from 'node:crypto'
import type { Entry } from '../../layer/entry.ts'
import type { Timestamps } from '../../project/project.ts'

/** 1980-02-01T00:00:00Z, in seconds. */
export const EPOCH = 318_211_200

export interface TimePolicy {
  readonly mode: Timestamps
  /** Seconds: SOURCE_DATE_EPOCH, or the commit's time with `commit`. */
  readonly fixed?: number
}

/** What one entry contributes to keys of layers: everything that its header and bytes hold. */
export function entryText(path: string, entry: Entry, withTime: boolean): string {
  return JSON.stringify([
    path,
    entry.type,
    entry.mode,
    entry.uid,
    entry.gid,
    entry.size,
    entry.digest ??
      (entry.content?.kind === 'bytes' ? createHash('sha256').update(entry.content.bytes).digest('hex') : ''),
    entry.link ?? '',
    entry.inode ?? '',
    entry.major ?? '',
    entry.minor ?? '',
    entry.xattrs ? Object.entries(entry.xattrs).sort() : '',
    entry.pax ? Object.entries(entry.pax).sort() : '',
    withTime ? entry.mtime : '',
  ])
}

/**
 * The time that all entries of one instruction get (DESIGN §4, times): 1980-02-01 plus 28 bits of the digest of what it
 * writes, so that same content has the same time everywhere and changed content another one.
 */
export function contentTime(entries: Iterable<{ readonly path: string; readonly entry: Entry }>): number {
  const hash = createHash('sha256')
  for (const { path, entry } of entries) hash.update(entryText(path, entry, false)).update('\n')
  return EPOCH + (hash.digest().readUInt32BE(0) & 0x0fffffff)
}
