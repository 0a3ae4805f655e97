import { ArchimageError } from '../errors/error.ts'
import { clean, join } from './posix.ts'

/** Cleans a Windows path: forward slashes, no drive letter; only drive C: exists in an image. */
export function withoutDrive(path: string): string {
  const slashed = path.replaceAll('\\', '/')
  if (slashed.startsWith('//')) throw new ArchimageError('DOCKERFILE_INVALID', `"${path}": UNC paths are not supported`)
  const colon = slashed.indexOf(':')
  if (colon < 0) return slashed
  if (slashed.slice(0, colon).toLowerCase() !== 'c')
    throw new ArchimageError('DOCKERFILE_INVALID', `"${path}" is not on the system drive`, {
      hint: 'in an image there is only C:',
    })
  if (slashed.length === 2) throw new ArchimageError('DOCKERFILE_INVALID', `"${path}" has no path after the drive`)
  return slashed.slice(colon + 1)
}

/** `path` seen from `parent`, absolute, with forward slashes; a trailing `/` or `/.` is kept with `keepSlash`. */
export function joinPath(parent: string, path: string, os: string, keepSlash: boolean): string {
  const windows = os === 'windows'
  const given = windows ? withoutDrive(path) : path
  const base = join('/', windows ? withoutDrive(parent || '/') : parent)
  const out = given.startsWith('/') ? clean(given) : join(base, given)
  if (!keepSlash) return out
  if (given.endsWith('/') && !out.endsWith('/')) return `${out}/`
  // On windows the path was cleaned once more before, and the dot is gone.
  if (!windows && (given.endsWith('/.') || given === '.')) return out === '/' ? '/.' : `${out}/.`
  return out
}

/** A path with forward slashes, whatever the system. */
export function slashed(path: string, os: string): string {
  return os === 'windows' ? path.replaceAll('\\', '/') : path
}

/** WORKDIR as the config has it: backslashes on windows; on linux an absolute path stays as it is written. */
export function joinWorkdir(current: string, path: string, os: string): string {
  const given = path === '' ? current : path
  if (os !== 'windows' && given.startsWith('/')) return given
  const joined = joinPath(current || '/', given, os, false)
  return os === 'windows' ? joined.replaceAll('/', '\\') : joined
}
