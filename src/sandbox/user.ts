import { ArchimageError } from '../errors/error.ts'
import { didYouMean } from '../errors/suggest.ts'
import { readRegularFile } from '../sys/files.ts'
import { resolveInRoot } from './paths.ts'

export interface StepUser {
  readonly uid: number
  readonly gid: number
  /** Supplementary groups, as BuildKit gives them. */
  readonly groups: readonly number[]
  /** Of the user's entry in /etc/passwd, `/` where it has none. */
  readonly home: string
}

interface Entry {
  readonly name: string
  readonly fields: readonly string[]
}

const MOST_BYTES = 10 << 20
/** To the kernel the next one means: leave it as it is. */
const [MAX_UID, MAX_ID] = [2 ** 32 - 2, 2 ** 31 - 1]

/**
 * Looks `USER` up in the step's own /etc/passwd and /etc/group as BuildKit does: numbers are ids and need no entry, both ids as
 * numbers give no supplementary groups, the first entry wins. Throws STEP_FAILED for a name that is not there.
 */
export function lookUpUser(root: string, user: string): StepUser {
  return findUser(user, read(root, '/etc/passwd'), read(root, '/etc/group'))
}

function read(root: string, path: string): string {
  const found = readRegularFile(resolveInRoot(root, path), MOST_BYTES)
  if (typeof found === 'string')
    throw new ArchimageError('STEP_FAILED', `the image's ${path} ${found}`, { hint: 'users are looked up in it' })
  return found?.toString('utf8') ?? ''
}

/** The same with the contents of both files. */
export function findUser(user: string, passwd: string, group: string): StepUser {
  const found = find(user, passwd, group)
  if ([found.uid, found.gid, ...found.groups].some(id => id < 0 || id > MAX_UID)) throw outOfRange(`USER ${user}`)
  return found
}

function find(user: string, passwd: string, group: string): StepUser {
  const users = entries(passwd)
  const colon = user.indexOf(':')
  const [name, groupName] = colon < 0 ? [user, ''] : [user.slice(0, colon), user.slice(colon + 1)]
  const [uid, gid] = [plainId(name), plainId(groupName)]
  if (colon >= 0 && uid !== undefined && gid !== undefined) return { uid, gid, groups: [gid], home: homeOf(users, uid) }

  const number = numeric(name || '0', user)
  const entry = users.find(one => (number === undefined ? one.name === name : idOf(one, 2) === number))
  if (entry === undefined && number === undefined) throw missing('user', name, '/etc/passwd', users)
  const found = entry === undefined ? { uid: number!, gid: 0 } : { uid: idOf(entry, 2), gid: idOf(entry, 3) }
  const groups = entries(group).filter(one => !one.name.startsWith('#'))
  const home = homeOf(users, found.uid)
  if (groupName === '') {
    const member = groups.filter(one => entry !== undefined && one.fields[3]?.split(',').includes(entry.name))
    return {
      ...found,
      groups: withOwn(
        found.gid,
        member.map(one => idOf(one, 2)),
      ),
      home,
    }
  }
  const groupNumber = numeric(groupName, user)
  const own = groups.find(one => (groupNumber === undefined ? one.name === groupName : idOf(one, 2) === groupNumber))
  if (own === undefined && groupNumber === undefined) throw missing('group', groupName, '/etc/group', groups)
  const chosen = own === undefined ? groupNumber! : idOf(own, 2)
  return { uid: found.uid, gid: chosen, groups: [chosen], home }
}

const withOwn = (gid: number, groups: readonly number[]): number[] =>
  groups.includes(gid) ? [...groups] : [gid, ...groups]

function entries(text: string): Entry[] {
  return text
    .split('\n')
    .map(line => line.trim())
    .filter(line => line !== '')
    .map(line => {
      const fields = line.split(':')
      return { name: fields[0]!, fields }
    })
}

/** Entries with a damaged number count as 0, as in docker. */
function idOf(entry: Entry, field: number): number {
  const text = entry.fields[field] ?? ''
  return /^[+-]?\d+$/.test(text) ? Number(text) : 0
}

function outOfRange(what: string): ArchimageError {
  return new ArchimageError('STEP_FAILED', `${what}: ids are from 0 to ${MAX_ID}`, { hint: 'choose a smaller number' })
}

function homeOf(users: readonly Entry[], uid: number): string {
  return users.find(one => idOf(one, 2) === uid)?.fields[5] || '/'
}

function plainId(text: string): number | undefined {
  if (text === 'root') return 0
  return /^\d+$/.test(text) && Number(text) <= MAX_UID ? Number(text) : undefined
}

function numeric(text: string, user: string): number | undefined {
  if (!/^[+-]?\d+$/.test(text)) return undefined
  const id = Number(text)
  if (id < 0 || id > MAX_ID) throw outOfRange(`USER ${user}`)
  return id
}

function missing(what: string, name: string, file: string, among: readonly Entry[]): ArchimageError {
  return new ArchimageError('STEP_FAILED', `${what} "${name}" is not in the image's ${file}`, {
    hint:
      didYouMean(
        name,
        among.map(one => one.name),
      ) ?? `create the ${what} in an earlier step (RUN adduser …), or use its number`,
  })
}
