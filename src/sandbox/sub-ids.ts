import { readFileSync } from 'node:fs'

/** Whether ids are not those of the machine: any user namespace but the first. */
export function isUserNamespace(): boolean {
  return !/^\s*0\s+0\s+4294967295$/m.test(readFileSync('/proc/self/uid_map', 'utf8'))
}

/** What is to be done where a step needs other users. */
export const SUB_ID_REMEDY =
  'give your user ranges in /etc/subuid and /etc/subgid (sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER), and install newuidmap (package uidmap or shadow-utils)'

/** Ids that a user may use in a user namespace, see subuid(5). */
export interface IdRange {
  readonly start: number
  readonly count: number
}

/** The ranges of a user in the text of /etc/subuid or /etc/subgid, by name or number. */
export function idRanges(text: string, uid: number, name: string | undefined): IdRange[] {
  return text.split('\n').flatMap(line => {
    const [owner, start, count] = line.trim().split(':')
    if (owner !== String(uid) && (name === undefined || owner !== name)) return []
    if (!/^\d+$/.test(start ?? '') || !/^[1-9]\d*$/.test(count ?? '')) return []
    return [{ start: Number(start), count: Number(count) }]
  })
}

/** Lines of /proc/PID/uid_map: the user is root, the ranges follow from 1 on (user_namespaces(7)). */
export function idMap(
  own: number,
  ranges: readonly IdRange[],
): (readonly [inside: number, outside: number, count: number])[] {
  let next = 1
  return [
    [0, own, 1],
    ...ranges.map(({ start, count }) => {
      const inside = next
      next += count
      return [inside, start, count] as const
    }),
  ]
}

/** A user's name in the text of /etc/passwd. */
export function userName(passwd: string, uid: number): string | undefined {
  return passwd
    .split('\n')
    .map(line => line.split(':'))
    .find(fields => fields[2] === String(uid))?.[0]
}
