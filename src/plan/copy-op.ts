import type { AddInstruction, CopyInstruction } from '../dockerfile/ast.ts'
import { parseChmod } from '../dockerfile/chmod.ts'
import { expandHeredoc } from '../dockerfile/expand.ts'
import type { ArchimageError } from '../errors/error.ts'
import type { CopyOp, CopySource } from './lowered.ts'
import { joinPath } from './paths.ts'
import { type RemoteSource, remoteSource } from './remote.ts'
import type { StageState } from './stage-state.ts'

interface CopyInput extends Pick<CopyOp, 'line' | 'range' | 'label'> {
  readonly from: CopySource
  /** The destination, expanded. */
  readonly dest: string
  /** Expands a word. */
  readonly word: (text: string) => string
  readonly fail: (message: string, hint?: string) => ArchimageError
}

/** COPY or ADD with every word expanded, seen from the working directory. Throws DOCKERFILE_INVALID. */
export function copyOp(instruction: CopyInstruction | AddInstruction, state: StageState, input: CopyInput): CopyOp {
  const { from, dest, word, fail, ...place } = input
  const sources = instruction.sources.map(word)
  const checksum = (instruction.kind === 'add' && instruction.checksum && word(instruction.checksum)) || undefined
  if (checksum !== undefined && sources.length !== 1) throw fail('--checksum is for one source')
  const remotes: { readonly word: string; readonly from: RemoteSource }[] = []
  for (const source of sources) {
    const from = remoteSource(source, instruction, checksum, fail)
    if (from !== undefined) remotes.push({ word: source, from })
  }
  if (checksum !== undefined && remotes.length === 0)
    throw fail(
      'ADD --checksum needs one http(s) or git source',
      'remove --checksum, the files of the context are hashed anyway',
    )
  const chown = instruction.chown && word(instruction.chown)
  const chmod = instruction.chmod && word(instruction.chmod)
  if (chmod && !parseChmod(chmod))
    throw fail(`--chmod=${chmod} is not a mode`, 'write an octal mode up to 7777, or a symbolic one like u=rwX,go=rX')
  const relative = dest === '.' || dest === '' ? './' : dest
  return {
    kind: 'copy',
    add: instruction.kind === 'add',
    from,
    sources,
    ...(remotes.length === 0 ? {} : { remotes }),
    files: instruction.files.map(({ name, content, expand }) => ({
      name,
      content: expand ? expandHeredoc(content, state.env, { escape: '\\' }).value : content,
    })),
    dest: joinPath(state.config.WorkingDir ?? '/', relative, state.platform.os, true),
    ...(chown ? { chown } : {}),
    ...(chmod ? { chmod } : {}),
    // BuildKit ignores --link where --chmod is given; the result must be the same (DESIGN §4, fidelity).
    link: instruction.link && !chmod,
    parents: instruction.parents,
    excludes: instruction.excludes,
    unpack: instruction.kind === 'add' ? (instruction.unpack ?? true) : false,
    ...place,
  }
}

/** The line of history; `dest` as it is written, but expanded. */
export function copyHistory(op: CopyOp, dest: string): string {
  let text = op.add ? 'ADD' : 'COPY'
  if (op.parents) text += ' --parents'
  if (op.chown) text += ` --chown=${op.chown}`
  if (op.chmod) text += ` --chmod=${op.chmod}`
  for (const source of op.sources) text += ` ${source}`
  for (const { name } of op.files) text += ` <<${name}`
  return `${text} ${dest} # buildkit`
}
