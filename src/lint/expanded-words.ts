import type { Instruction } from '../dockerfile/ast.ts'
import { type ExpandOptions, type Expansion, expandHeredoc, expandWord } from '../dockerfile/expand.ts'
import { parseMount } from '../dockerfile/mounts.ts'
import { ArchimageError, isArchimageError } from '../errors/error.ts'

/** A word of an instruction in which variables are replaced, and how that is done with it. */
export interface ExpandableWord {
  readonly text: string
  readonly expand: (word: string, env: { get(name: string): string | undefined }, options: ExpandOptions) => Expansion
}

const NONE: readonly never[] = []

/**
 * The words of an instruction in which the builder replaces variables, as far as there is something in them to replace. Those of
 * ARG, ENV and EXPOSE, which have rules of their own, are not among them; RUN's text belongs to the shell, `--from` and
 * `--exclude` take no variables.
 */
export function expandableWords(instruction: Instruction): readonly ExpandableWord[] {
  switch (instruction.kind) {
    case 'label':
      return words(instruction.pairs.flatMap(({ key, value }) => [key, value]))
    case 'copy':
    case 'add': {
      const { chown, chmod, sources, dest, files } = instruction
      const checksum = instruction.kind === 'add' ? instruction.checksum : undefined
      const own = words([chown, chmod, checksum, ...sources, dest])
      if (files.length === 0) return own
      const heredocs = files.flatMap(({ content, expand }) => (expand ? { text: content, expand: expandHeredoc } : []))
      return [...own, ...heredocs]
    }
    case 'run':
      return instruction.mounts.length === 0 ? NONE : words(instruction.mounts.flatMap(mountWords))
    case 'workdir':
      return words([instruction.path])
    case 'user':
      return words([instruction.user])
    case 'volume':
      return words(instruction.paths)
    case 'stopsignal':
      return words([instruction.signal])
    default:
      return NONE
  }
}

function words(texts: readonly (string | undefined)[]): readonly ExpandableWord[] {
  const found = texts.filter(text => text !== undefined && /[$\\'"`]/.test(text)) as string[]
  return found.map(text => ({ text, expand: expandWord }))
}

/** The values in a `--mount`, which are expanded one by one. */
function mountWords(raw: string): readonly string[] {
  if (!raw.includes('$')) return NONE
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
