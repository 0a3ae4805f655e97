import type { AddInstruction, CopyInstruction } from '../dockerfile/ast.ts'
import { expandHeredoc } from '../dockerfile/expand.ts'
import { ArchimageError } from '../errors/error.ts'
import type { CopyOp, CopySource } from './lowered.ts'
import { joinPath } from './paths.ts'
import type { StageState } from './stage-state.ts'

interface CopyInput extends Pick<CopyOp, 'line' | 'range' | 'label'> {
  readonly from: CopySource
  /** The destination, expanded. */
  readonly dest: string
  /** Expands a word. */
  readonly word: (text: string) => string
  readonly fail: (message: string, hint?: string) => ArchimageError
}

/** COPY or ADD with every word expanded, seen from the working directory. Throws DOCKERFILE_INVALID, UNSUPPORTED for URLs. */
export function copyOp(instruction: CopyInstruction | AddInstruction, state: StageState, input: CopyInput): CopyOp {
  const { from, dest, word, fail, ...place } = input
  const sources = instruction.sources.map(word)
  const remote = sources.find(source => /^(https?|git|ssh):\/\//i.test(source) || /^git@[^/]+:/.test(source))
  if (remote !== undefined) {
    if (instruction.kind === 'copy') throw fail(`COPY cannot take "${remote}"`, 'use ADD for URLs')
    throw new ArchimageError('UNSUPPORTED', `ADD from a URL is not supported yet: ${remote}`, {
      hint: 'download the file before the build (prebuild in archimage.yaml can do it) and ADD it from the context',
    })
  }
  if (instruction.kind === 'add' && instruction.checksum !== undefined)
    throw fail(
      'ADD --checksum needs one http(s) or git source',
      'remove --checksum, the files of the context are hashed anyway',
    )
  const chown = instruction.chown && word(instruction.chown)
  const chmod = instruction.chmod && word(instruction.chmod)
  const env = { get: (name: string) => state.env.get(name) }
  const relative = dest === '.' || dest === '' ? './' : dest
  return {
    kind: 'copy',
    add: instruction.kind === 'add',
    from,
    sources,
    files: instruction.files.map(({ name, content, expand }) => ({
      name,
      content: expand ? expandHeredoc(content, env, { escape: '\\' }).value : content,
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
  const words = [
    op.add ? 'ADD' : 'COPY',
    ...(op.parents ? ['--parents'] : []),
    ...(op.chown ? [`--chown=${op.chown}`] : []),
    ...(op.chmod ? [`--chmod=${op.chmod}`] : []),
    ...op.sources,
    ...op.files.map(file => `<<${file.name}`),
    dest,
  ]
  return `${words.join(' ')} # buildkit`
}
