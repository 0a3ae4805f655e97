import {
  chmodSync,
  lchownSync,
  linkSync,
  lutimesSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import fc from 'fast-check'
import { makeNode, writeXattr } from '../../sys/ffi.ts'
import { fsPath } from '../../tar/path-bytes.ts'

type Path = string | Buffer

// vfs_cap_data of revision 2: cap_net_raw, permitted and effective
const CAPABILITY = Buffer.from('0100000200200000000000000000000000000000', 'hex')

/** What a step may do with a path, another path and a number from 0 to 3. */
const ACTS = {
  write: (at, _, n) => writeFileSync(at, `content ${n}`.repeat(n * 1000)),
  append: at => writeFileSync(at, 'more', { flag: 'a' }),
  mkdir: at => mkdirSync(at, { recursive: true }),
  remove: at => rmSync(at, { recursive: true }),
  recreate: at => {
    rmSync(at, { recursive: true })
    mkdirSync(at)
  },
  symlink: (at, to) => symlinkSync(to, at),
  link: (at, to) => linkSync(at, to),
  rename: (at, to) => renameSync(at, to),
  chmod: (at, _, n) => chmodSync(at, [0o644, 0o4755, 0o1777, 0o000][n]!),
  chown: (at, _, n) => lchownSync(at, n * 1000, n),
  touch: (at, _, n) => lutimesSync(at, 1_000_000 + n, 1_000_000 + n),
  attribute: (at, _, n) => writeXattr(at, 'user.a', Buffer.from([n, 255])),
  capability: at => writeXattr(at, 'security.capability', CAPABILITY),
  device: (at, _, n) => makeNode(at, n % 2 === 0 ? 'char' : 'block', 0o640, 1 + n, 300),
  fifo: at => makeNode(at, 'fifo', 0o600),
  sameOwner: at => {
    const { uid, gid } = statSync(at)
    lchownSync(at, uid, gid)
  },
  sameBytes: at => {
    const { atime, mtime } = statSync(at)
    writeFileSync(at, readFileSync(at))
    lutimesSync(at, atime, mtime)
  },
  samePlace: (at, to) => {
    renameSync(at, to)
    renameSync(to, at)
  },
  sameTime: at => {
    const { atime, mtime } = statSync(at)
    lutimesSync(at, 5, 5)
    lutimesSync(at, atime, mtime)
  },
} satisfies Record<string, (at: Path, to: Path, n: number) => void>

/** These would wait for somebody at the other end of a FIFO. */
const OPENING: readonly (keyof typeof ACTS)[] = ['write', 'append', 'sameBytes']

export interface Act {
  readonly what: keyof typeof ACTS
  readonly path: string
  readonly other: string
  readonly number: number
}

const OFTEN = ['write', 'write', 'mkdir', 'mkdir', 'mkdir', 'remove', 'link', 'rename'] as const
const path = fc
  .array(fc.constantFrom('a', 'b', 'c', 'd-e', 'ü', 'x\udcff'), { minLength: 1, maxLength: 3 })
  .map(names => names.join('/'))

export const act: fc.Arbitrary<Act> = fc.record({
  what: fc.constantFrom(...OFTEN, ...(Object.keys(ACTS) as (keyof typeof ACTS)[])),
  path,
  other: path,
  number: fc.nat({ max: 3 }),
})

/** Does it below `root`; what the system refuses is not done. */
export function perform(root: string, { what, path, other, number }: Act): void {
  try {
    const at = fsPath(`${root}/${path}`)
    if (OPENING.includes(what) && statSync(at, { throwIfNoEntry: false })?.isFile() === false) return
    ACTS[what](at, fsPath(what === 'symlink' ? other : `${root}/${other}`), number)
  } catch (error) {
    if (typeof (error as { code?: unknown }).code !== 'string') throw error
  }
}
