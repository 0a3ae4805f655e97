import { clean } from '../context/clean.ts'
import { type GitSource, parseGitSource } from '../context/git-source.ts'
import type { AddInstruction, CopyInstruction } from '../dockerfile/ast.ts'
import { type ArchimageError, isArchimageError } from '../errors/error.ts'
import { type Digest, isDigest } from '../oci/digest.ts'
import { nameOf } from './posix.ts'

/** A source of ADD that is on no disk of ours: a URL, or a git repository. */
export type RemoteSource =
  | {
      readonly kind: 'http'
      readonly url: string
      /** What the file is called in a directory that it is copied into. */
      readonly name: string
      readonly checksum?: Digest
      /** Whether it is unpacked when it is an archive. */
      readonly unpack: boolean
    }
  | { readonly kind: 'git'; readonly git: GitSource }

/** The same text for the same content: by it the files that were fetched are found. */
export function remoteId(source: RemoteSource): string {
  if (source.kind === 'git') return JSON.stringify(source.git)
  return JSON.stringify([source.url, source.name, source.checksum ?? ''])
}

type Fail = (message: string, hint?: string) => ArchimageError

/**
 * What a source word of COPY or ADD stands for when it is remote; undefined for a path. Throws DOCKERFILE_INVALID where
 * COPY gets one, and for flags that do not go with it.
 */
export function remoteSource(
  word: string,
  instruction: CopyInstruction | AddInstruction,
  checksum: string | undefined,
  fail: Fail,
): RemoteSource | undefined {
  // Both have a colon, which paths seldom have.
  if (!word.includes(':')) return undefined
  const git = gitSource(word, fail)
  const http = git === undefined && /^https?:\/\//.test(word)
  if (git === undefined && !http) return undefined
  if (instruction.kind === 'copy')
    throw fail(`COPY cannot take "${word}"`, `ADD takes ${http ? 'URLs' : 'git repositories'}`)
  if (git !== undefined) return { kind: 'git', git: withFlags(git, instruction, checksum, fail) }
  if (checksum !== undefined && !isDigest(checksum))
    throw fail(`--checksum=${checksum} is no digest`, 'write it as sha256:… with 64 hexadecimal digits')
  if (checksum?.startsWith('sha512:'))
    throw fail('--checksum of a URL is a sha256 digest', `sha256sum prints that of a file`)
  return {
    kind: 'http',
    url: word,
    name: fileName(word, fail),
    ...(checksum === undefined ? {} : { checksum: checksum as Digest }),
    unpack: instruction.unpack ?? false,
  }
}

function gitSource(word: string, fail: Fail): GitSource | undefined {
  try {
    return parseGitSource(word)
  } catch (error) {
    if (isArchimageError(error)) throw fail(error.message, error.hint)
    throw error
  }
}

/** --keep-git-dir and --checksum say the same as the query; both may be there when they agree. */
function withFlags(git: GitSource, add: AddInstruction, checksum: string | undefined, fail: Fail): GitSource {
  const { keepGitDir } = add
  if (keepGitDir !== undefined && git.keepGitDir !== undefined && keepGitDir !== git.keepGitDir)
    throw fail('--keep-git-dir and keep-git-dir in the URL do not agree')
  if (checksum !== undefined && git.checksum !== undefined && checksum !== git.checksum)
    throw fail(`--checksum=${checksum} and the checksum ${git.checksum} in the URL do not agree`)
  if (checksum !== undefined && !/^[0-9a-fA-F]+$/.test(checksum))
    throw fail(`--checksum=${checksum} is no commit`, 'for git it is the commit in hexadecimal, or its beginning')
  return {
    ...git,
    ...(keepGitDir === undefined ? {} : { keepGitDir }),
    ...(checksum === undefined ? {} : { checksum }),
  }
}

/** The last part of the URL's path; BuildKit looks at nothing else, not at Content-Disposition either. */
function fileName(url: string, fail: Fail): string {
  const path = /^https?:\/\/[^/?#]*([^?#]*)/.exec(url)?.[1] ?? ''
  let decoded: string
  try {
    decoded = decodeURIComponent(path)
  } catch {
    throw fail(`"${url}" is not a URL: a "%" needs two hexadecimal digits behind it`)
  }
  const name = nameOf(decoded)
  if (name === '' || name === '.') return '__unnamed__'
  if (name === '..' || /\p{Cc}/u.test(name) || clean(name) !== name)
    throw fail(`"${url}" names no file: its last part is ${JSON.stringify(name)}`)
  return name
}
