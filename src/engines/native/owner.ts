import type { Entry } from '../../layer/entry.ts'
import { ownerNumber } from '../../plan/owner-number.ts'
import { resolveLinks } from '../../plan/source-tree.ts'

export interface Owner {
  readonly uid: number
  readonly gid: number
}

/** The tree whose own files say who is who. */
export interface Users {
  readonly lookup: (path: string) => Entry | undefined
  readonly read: (entry: Entry) => Promise<Buffer>
  /** Told of a name that does not exist. */
  readonly unknown: (name: string) => void
}

/**
 * `user[:group]` by the tree's own /etc/passwd and /etc/group (Dockerfile reference, COPY --chown): a number without group
 * is its own group, a name has the group of its passwd line; an empty half is 0. A name that does not exist is root, as in
 * BuildKit.
 */
export async function resolveOwner(text: string, users: Users): Promise<Owner> {
  const colon = text.indexOf(':')
  const user = colon < 0 ? text : text.slice(0, colon)
  const group = colon < 0 ? undefined : text.slice(colon + 1)
  let [uid, gid] = [0, 0]
  const number = numeric(user)
  if (number !== undefined) [uid, gid] = [number, number]
  else {
    const line = await find(users, 'etc/passwd', user)
    if (line) [uid, gid] = [Number(line[2]) || 0, Number(line[3]) || 0]
    else users.unknown(user)
  }
  if (group !== undefined) {
    const id = numeric(group)
    const line = id === undefined ? await find(users, 'etc/group', group) : undefined
    if (id !== undefined) gid = id
    else if (line) gid = Number(line[2]) || 0
    else users.unknown(group)
  }
  return { uid, gid }
}

function numeric(text: string): number | undefined {
  const value = text === '' ? 0 : ownerNumber(text)
  // chown(2) takes -1 for "leave it", which is 0 for what BuildKit makes; others are 32 bits without sign.
  return value === undefined ? undefined : value === -1 ? 0 : value >>> 0
}

async function find(users: Users, file: string, name: string): Promise<readonly string[] | undefined> {
  const { entry } = resolveLinks(users, file)
  if (entry?.type !== 'file') return undefined
  for (const line of (await users.read(entry)).toString('utf8').split('\n')) {
    const fields = line.trim().split(':')
    if (fields[0] === name && fields.length >= 3) return fields
  }
  return undefined
}
