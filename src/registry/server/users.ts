import { createHmac, randomBytes } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { ArchimageError, systemError } from '../../errors/error.ts'
import { verifyBcrypt } from '../../sys/password.ts'

/** A bcrypt hash as `htpasswd -B` writes it. More rounds than 2^17 would be seconds of work for every stranger's guess. */
const BCRYPT = /^\$2[aby]\$(0[4-9]|1[0-7])\$[./A-Za-z0-9]{53}$/
/** Guesses that are computed or wait at one time: each costs a core tens of milliseconds. */
const MAX_GUESSES = 64
/** Remembered passwords that were right. */
const MAX_KNOWN = 10_000

/**
 * The users of a file that `htpasswd -B` made: `name:hash` lines, empty ones and those that begin with `#` apart. Throws
 * CONFIG_INVALID with the line for anything else; hashes other than bcrypt can be guessed too fast.
 */
export function parseHtpasswd(text: string, file: string): ReadonlyMap<string, string> {
  const users = new Map<string, string>()
  for (const [i, line] of text.split(/\r?\n/).entries()) {
    if (line.trim() === '' || line.startsWith('#')) continue
    const colon = line.indexOf(':')
    const [user, hash] = [line.slice(0, colon), line.slice(colon + 1).trim()]
    const problem = (what: string) =>
      new ArchimageError('CONFIG_INVALID', `${file}:${i + 1}: ${what}`, {
        hint: 'lines are made with: htpasswd -nB USER',
      })
    if (colon < 1) throw problem('this is not USER:HASH')
    if (!BCRYPT.test(hash)) throw problem(`the hash of user "${user}" is ${kindOf(hash)}; only bcrypt is taken`)
    if (users.has(user)) throw problem(`user "${user}" is there twice`)
    users.set(user, hash)
  }
  return users
}

function kindOf(hash: string): string {
  if (/^\$2[aby]\$(?:1[89]|[23]\d)/.test(hash)) return 'bcrypt with too many rounds (most: 17)'
  if (hash.startsWith('$2')) return 'bcrypt, but damaged'
  if (hash.startsWith('$apr1$') || hash.startsWith('$1$')) return 'MD5'
  if (hash.startsWith('{SHA}')) return 'SHA-1'
  if (hash.startsWith('$5$')) return 'SHA-256'
  if (hash.startsWith('$6$')) return 'SHA-512'
  return 'neither bcrypt nor known (crypt, or no hash at all)'
}

export type Verdict = 'right' | 'wrong' | 'busy'

/** The users of a file, which is read again when it changed. */
export class Users {
  readonly #file: string
  readonly #log: ((line: string) => void) | undefined
  #users: ReadonlyMap<string, string>
  #seen: string
  /** For remembering passwords without keeping them. */
  readonly #key = randomBytes(32)
  /** What was found right, or is being computed; the hash is part of the key, so a changed password is another entry. */
  readonly #known = new Map<string, Promise<boolean>>()
  #guesses = 0

  /** Throws CONFIG_INVALID, NOT_FOUND, PERMISSION. */
  constructor(file: string, log?: (line: string) => void) {
    this.#file = file
    this.#log = log
    this.#seen = stamp(file)
    this.#users = read(file)
  }

  /** Whether others than the owner may read the file. */
  get exposed(): boolean {
    return process.platform !== 'win32' && (statSync(this.#file).mode & 0o044) !== 0
  }

  get size(): number {
    return this.#users.size
  }

  /** An unknown user takes as long as a wrong password. */
  async verify(user: string, password: string): Promise<Verdict> {
    this.#refresh()
    const hash = this.#users.get(user)
    const key = createHmac('sha256', this.#key)
      .update(`${hash ?? ''}\0${user}\0${password}`)
      .digest('base64')
    const known = hash === undefined ? undefined : this.#known.get(key)
    if (known !== undefined) return (await known) ? 'right' : 'wrong'
    if (this.#guesses >= MAX_GUESSES) return 'busy'
    this.#guesses++
    const other = this.#users.values().next().value ?? `$2b$10$${'.'.repeat(53)}`
    const work = verifyBcrypt(password, hash ?? other).finally(() => this.#guesses--)
    if (hash === undefined) {
      await work
      return 'wrong'
    }
    if (this.#known.size >= MAX_KNOWN) this.#known.clear()
    this.#known.set(key, work)
    if (await work) return 'right'
    this.#known.delete(key)
    return 'wrong'
  }

  /** A file that cannot be read any more changes nothing: who could come in still can. */
  #refresh(): void {
    try {
      const seen = stamp(this.#file)
      if (seen === this.#seen) return
      this.#seen = seen
      this.#users = read(this.#file)
      this.#known.clear()
    } catch (error) {
      this.#log?.(`the users stay as they were: ${(error as Error).message}`)
    }
  }
}

function stamp(file: string): string {
  const stat = statSync(file, { bigint: true, throwIfNoEntry: false })
  return stat === undefined ? '' : `${stat.ino} ${stat.size} ${stat.mtimeNs}`
}

function read(file: string): ReadonlyMap<string, string> {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    if ((error as { code?: string }).code === 'ENOENT')
      throw new ArchimageError('NOT_FOUND', `there is no ${file} with the users`, {
        hint: `htpasswd -Bc ${file} USER makes it`,
      })
    throw systemError(error, `reading the users of ${file}`)
  }
  return parseHtpasswd(text, file)
}
