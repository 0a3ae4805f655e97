import { type Bytes, latin1, viewOf } from './bytes.ts'
import { type Elf, readElf } from './elf.ts'
import { type MachO, type Pe, readMachO, readPe } from './foreign.ts'

/** A text that begins with `#!`. */
export interface Script {
  readonly kind: 'script'
  /** As it stands there, with a carriage return if one stands there. */
  readonly interpreter: string
  /** All that follows the interpreter, as one argument. */
  readonly argument?: string
  /** The first line ends with CR LF: the carriage return is part of what the kernel looks for. */
  readonly carriageReturn: boolean
}

/** What a file is, for whoever wants to run it. */
export type Executable =
  | Elf
  | Pe
  | MachO
  | Script
  /** `bom`: a byte order mark stands before `#!`, which hides it from the kernel. */
  | { readonly kind: 'text'; readonly bom: boolean }
  /** A Git LFS pointer: the file that it stands for was never fetched. */
  | { readonly kind: 'lfs-pointer' }
  | { readonly kind: 'empty' }
  | { readonly kind: 'other'; readonly what: string }

/** The kernel reads this much to find out what a file is (BINPRM_BUF_SIZE). */
const HEAD = 256

const MAGICS: readonly (readonly [string, string])[] = [
  ['\0asm', 'WebAssembly'],
  ['PK\x03\x04', 'a zip archive (a jar, for instance)'],
  ['\xca\xfe\xba\xbe', 'a Java class'],
  ['!<arch>\n', 'a library archive (ar)'],
  ['\x1f\x8b', 'compressed with gzip'],
  ['\x28\xb5\x2f\xfd', 'compressed with zstd'],
  ['\xfd7zXZ\0', 'compressed with xz'],
  ['BZh', 'compressed with bzip2'],
  ['BC\xc0\xde', 'LLVM bitcode'],
]

/** Says what a file is by its bytes. Never throws, whatever they are. */
export function readExecutable(file: Bytes): Executable {
  if (file.size === 0) return { kind: 'empty' }
  const binary = readElf(file) ?? readPe(file) ?? readMachO(file)
  if (binary !== undefined) return binary
  const view = viewOf(file, 0, Math.min(HEAD, file.size))
  const head = view === undefined ? '' : latin1(new Uint8Array(view.buffer, view.byteOffset, view.byteLength))
  const script = readScript(head)
  if (script !== undefined) return script
  if (head.startsWith('version https://git-lfs.github.com/spec/')) return { kind: 'lfs-pointer' }
  const known = MAGICS.find(([magic]) => head.startsWith(magic))
  if (known !== undefined) return { kind: 'other', what: known[1] }
  if (head.startsWith('\xef\xbb\xbf#!')) return { kind: 'text', bom: true }
  return /[^\t\n\f\r\x1b\x20-\x7e\x80-\xff]/.test(head)
    ? { kind: 'other', what: 'of no format that is known here' }
    : { kind: 'text', bom: false }
}

/** `#!` as Linux reads it (fs/binfmt_script.c): blanks, a path, then one argument with all that follows. */
function readScript(head: string): Script | undefined {
  const [, line = ''] = /^#![ \t]*([^\n\0]*)/.exec(head) ?? []
  const [, interpreter, rest = ''] = /^([^ \t]+)[ \t]*(.*?)[ \t]*$/s.exec(line) ?? []
  if (interpreter === undefined) return undefined
  return {
    kind: 'script',
    interpreter,
    ...(rest !== '' && { argument: rest }),
    carriageReturn: line.endsWith('\r'),
  }
}
