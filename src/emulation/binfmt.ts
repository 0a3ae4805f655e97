import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** Where binfmt_misc is mounted by convention (Documentation/admin-guide/binfmt-misc.rst of Linux). */
export const BINFMT_MISC = '/proc/sys/fs/binfmt_misc'

/** One registered handler, as its file says. */
export interface Handler {
  readonly name: string
  readonly enabled: boolean
  readonly interpreter: string
  /**
   * Letters: F the interpreter was opened at registration and works in every root, P argv[0] is kept, O the kernel opens
   * the program, C setuid programs get their rights.
   */
  readonly flags: string
  /** Absent for handlers that go by the file's extension. */
  readonly match?: { readonly offset: number; readonly magic: Uint8Array; readonly mask?: Uint8Array }
}

/** All that binfmt_misc says of itself. */
export interface Binfmt {
  readonly mountPoint: string
  /** False where nothing is mounted there; handlers of the machine may then work nevertheless, unseen. */
  readonly mounted: boolean
  /** The switch for all handlers together. */
  readonly enabled: boolean
  /** The newest first: the kernel takes the first that fits. */
  readonly handlers: readonly Handler[]
}

/** The kernel compares within the first bytes of a file (BINPRM_BUF_SIZE). */
const HEAD = 256

/** Reads what is registered; never throws. */
export function readBinfmt(mountPoint: string = BINFMT_MISC): Binfmt {
  const texts = readTexts(mountPoint)
  const status = texts.find(([name]) => name === 'status')?.[1]
  const handlers = texts.flatMap(([name, text]) => (name === 'status' ? [] : (parseHandler(name, text) ?? [])))
  return { mountPoint, mounted: status !== undefined, enabled: status?.startsWith('enabled') ?? false, handlers }
}

/** Every file that binfmt_misc lets be read, with its name: what `readBinfmt` understands, before it is understood. */
export function readTexts(mountPoint: string = BINFMT_MISC): (readonly [name: string, text: string])[] {
  try {
    return readdirSync(mountPoint).flatMap(name =>
      name === 'register' ? [] : [[name, readFileSync(join(mountPoint, name), 'latin1')] as const],
    )
  } catch {
    return []
  }
}

/** The file of a handler (`bm_entry_read` of Linux); undefined when it is not understood. */
export function parseHandler(name: string, text: string): Handler | undefined {
  const [, state, interpreter, flags, rest = ''] =
    /^(enabled|disabled)\ninterpreter (.*)\nflags: (\w*)[^\n]*\n(.*)$/s.exec(text) ?? []
  if (state === undefined || interpreter === undefined || flags === undefined) return undefined
  const handler = { name, enabled: state === 'enabled', interpreter, flags }
  const [, offset, magic, mask] = /^offset (\d+)\nmagic ([0-9a-f]+)(?:\nmask ([0-9a-f]+))?/.exec(rest) ?? []
  if (magic === undefined) return handler
  const bytes = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex, 'hex'))
  return {
    ...handler,
    match: { offset: Number(offset), magic: bytes(magic), ...(mask !== undefined && { mask: bytes(mask) }) },
  }
}

/** Whether the kernel would give a file that begins so to this handler, were it enabled. */
export function takes({ match }: Handler, head: Uint8Array): boolean {
  if (match === undefined || match.offset + match.magic.length > HEAD) return false
  return match.magic.every((byte, i) => (((head[match.offset + i] ?? 0) ^ byte) & (match.mask?.[i] ?? 0xff)) === 0)
}

/** The handlers that fit, the one that the kernel takes first. */
export function handlersFor({ handlers }: Pick<Binfmt, 'handlers'>, head: Uint8Array): readonly Handler[] {
  return handlers.filter(handler => takes(handler, head))
}
