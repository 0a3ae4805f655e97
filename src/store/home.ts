import { linkSync, mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { ArchimageError, systemError } from '../errors/error.ts'
import { OCI } from '../oci/media-types.ts'
import { makeDir, removeFile, temporaryName, writeFileAtomic } from '../sys/files.ts'
import { lockFile } from '../sys/locks.ts'

export type Environment = Readonly<Record<string, string | undefined>>

/** Everything that we put into the store's directory. */
export const NAMES = {
  layout: 'oci-layout',
  index: 'index.json',
  blobs: 'blobs',
  tmp: 'tmp',
  tars: 'tars',
  snapshots: 'snapshots',
  mounts: 'mounts',
  binaries: 'cache',
  knownHosts: 'known_hosts',
  emulators: 'emulators',
  tls: 'tls',
  database: 'archimage.db',
  lease: 'lock',
  indexLock: 'index.lock',
} as const

/** Where the store is (DESIGN §5): ARCHIMAGE_HOME, /var/lib/archimage for root, else the user's data directory. */
export function storeHome(env: Environment = process.env): string {
  if (env['ARCHIMAGE_HOME']) return resolve(env['ARCHIMAGE_HOME'])
  if (process.geteuid?.() === 0) return '/var/lib/archimage'
  const home = env['HOME'] || homedir()
  // The XDG base directory specification: a value that is not absolute is ignored.
  const data = env['XDG_DATA_HOME']?.startsWith('/') ? env['XDG_DATA_HOME'] : join(home, '.local', 'share')
  return join(data, 'archimage')
}

/**
 * Makes sure that `root` is a store of ours: makes it (mode 0700) or fills an empty directory. Throws STORE_OWNER,
 * STORE_BROKEN for a directory with other things in it, PERMISSION, NO_SPACE.
 */
export function prepareHome(root: string): void {
  let stat = statSync(root, { throwIfNoEntry: false })
  if (stat === undefined) {
    try {
      mkdirSync(join(root, '..'), { recursive: true })
      makeDir(root, 0o700)
    } catch (error) {
      throw systemError(error, `making the store ${root}`)
    }
    stat = statSync(root)
  }
  if (!stat.isDirectory()) throw new ArchimageError('STORE_BROKEN', `${root} is not a directory`, { hint: REMEDY })
  const user = process.geteuid?.()
  if (user !== undefined && stat.uid !== user)
    throw new ArchimageError('STORE_OWNER', `the store ${root} belongs to user ${stat.uid}, and this is user ${user}`, {
      hint: `run archimage as its owner, or set ARCHIMAGE_HOME to a directory of your own`,
    })
  const layout = readLayout(root)
  if (layout !== undefined) {
    checkLayout(root, layout)
    makeDir(join(root, NAMES.tmp), 0o700)
    return
  }
  const names: readonly string[] = Object.values(NAMES)
  const other = readdirSync(root).find(
    name =>
      name !== 'lost+found' && !names.some(own => name === own || name.startsWith(`${own}-`) || name === `${own}.d`),
  )
  if (other !== undefined)
    throw new ArchimageError('STORE_BROKEN', `${root} is no store: it holds "${other}" and no ${NAMES.layout}`, {
      hint: REMEDY,
    })
  // The lease keeps others from tidying up tmp meanwhile; several processes may do this at once.
  const lease = lockFile(join(root, NAMES.lease), 'shared', 60_000)
  try {
    for (const dir of [NAMES.blobs, `${NAMES.blobs}/sha256`, NAMES.tmp]) makeDir(join(root, dir), 0o700)
    startIndex(root)
    writeFileAtomic(join(root, NAMES.layout), '{"imageLayoutVersion":"1.0.0"}', 0o644, join(root, NAMES.tmp))
  } finally {
    lease?.release()
  }
}

/** By link, which never replaces what another process may have written meanwhile. */
function startIndex(root: string): void {
  const temporary = join(root, NAMES.tmp, temporaryName())
  writeFileAtomic(temporary, `{"schemaVersion":2,"mediaType":"${OCI.index}","manifests":[]}`)
  try {
    linkSync(temporary, join(root, NAMES.index))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw systemError(error, `making the store ${root}`)
  } finally {
    removeFile(temporary)
  }
}

const REMEDY = 'set ARCHIMAGE_HOME to an empty directory, or to one that does not exist yet'

function readLayout(root: string): string | undefined {
  try {
    return readFileSync(join(root, NAMES.layout), 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw systemError(error, `reading the store ${root}`)
  }
}

function checkLayout(root: string, text: string): void {
  let version: unknown
  try {
    version = (JSON.parse(text) as { imageLayoutVersion?: unknown }).imageLayoutVersion
  } catch {}
  if (typeof version !== 'string' || !version.startsWith('1.'))
    throw new ArchimageError('STORE_BROKEN', `${join(root, NAMES.layout)} is not that of an OCI layout of version 1`, {
      hint: REMEDY,
    })
}
