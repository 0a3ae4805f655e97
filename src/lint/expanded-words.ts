import type { Instruction } from '../dockerfile/ast.ts'
import { type ExpandOptions, type Expansion, expandHeredoc, expandWord } from '../dockerfile/expand.ts'
import { parseMount } from '../dockerfile/mounts.ts'
import { ArchimageError, isArchimageError } from '../errors/error.ts'

/** A word of an instruction in which variables are replaced, and how that is done with it. */
export interface ExpandableWord {
  readonly text: string
  readonly expand: (word: string, env: { get(name: string): string | undefined }, options: ExpandOptions) => Expansion
}

/**
 * The words of an instruction in which the builder replaces variables; those of ARG and EXPOSE, which have rules of their
 * own, are not among them. RUN's text belongs to the shell, `--from` and `--exclude` take no variables.
 */
export function expandableWords(instruction: Instruction): readonly ExpandableWord[] {
  return wordsOf(instruction).filter(({ text }) => text.includes('$') || text.includes('\\') || /['"`]/.test(text))
}

function wordsOf(instruction: Instruction): readonly ExpandableWord[] {
  const words = (...texts: readonly (string | undefined)[]): readonly ExpandableWord[] =>
    texts.flatMap(text => (text === undefined ? [] : { text, expand: expandWord }))
  switch (instruction.kind) {
    case 'env':
    case 'label':
      return words(...instruction.pairs.flatMap(({ key, value }) => [key, value]))
    case 'copy':
    case 'add': {
      const checksum = instruction.kind === 'add' ? instruction.checksum : undefined
      const heredocs = instruction.files.flatMap(({ content, expand }) =>
        expand ? { text: content, expand: expandHeredoc } : [],
      )
      return [
        ...words(instruction.chown, instruction.chmod, checksum, ...instruction.sources, instruction.dest),
        ...heredocs,
      ]
    }
    case 'run':
      return words(...instruction.mounts.flatMap(mountWords))
    case 'workdir':
      return words(instruction.path)
    case 'user':
      return words(instruction.user)
    case 'volume':
      return words(...instruction.paths)
    case 'stopsignal':
      return words(instruction.signal)
    default:
      return []
  }
}

/** The values in a `--mount`, which are expanded one by one. */
function mountWords(raw: string): readonly string[] {
  const values: string[] = []
  const keep = (word: string): string => {
    values.push(word)
    return word
  }
  try {
    parseMount(raw, keep, message => new ArchimageError('DOCKERFILE_INVALID', message))
  } catch (error) {
    // What is wrong with a mount is said where it is used.
    if (!isArchimageError(error)) throw error
  }
  return values
}
