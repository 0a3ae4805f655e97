import type { Dockerfile, Stage } from '../dockerfile/ast.ts'
import { expandWord } from '../dockerfile/expand.ts'
import type { ArchimageError } from '../errors/error.ts'
import { failure } from './instructions.ts'
import { type RemoteSource, remoteSource } from './remote.ts'

/**
 * What a stage brings whose name is given as SOURCE_DATE_EPOCH: it begins with nothing and has one ADD of one URL or repository, and
 * arguments for it (BuildKit, dockerfile2llb/epoch.go). Throws DOCKERFILE_INVALID for any other stage.
 */
export function epochSource(
  dockerfile: Dockerfile,
  stage: Stage,
  globals: ReadonlyMap<string, string>,
  args: Readonly<Record<string, string>>,
): RemoteSource {
  const env = new Map(globals)
  env.delete('SOURCE_DATE_EPOCH')
  const word = (text: string): string =>
    expandWord(text, { get: name => env.get(name) }, { escape: dockerfile.escape }).value
  const wrong = (message: string): ArchimageError =>
    failure(
      dockerfile,
      stage.from,
      `SOURCE_DATE_EPOCH=${stage.name}: ${message}`,
      'such a stage is: FROM scratch, and one ADD of one URL or repository',
    )
  if (word(stage.from.image) !== 'scratch') throw wrong('the stage does not begin with FROM scratch')
  let source: RemoteSource | undefined
  for (const instruction of stage.instructions) {
    if (instruction.kind === 'arg')
      for (const { key, value } of instruction.args) {
        const given = Object.hasOwn(args, key) ? args[key] : value === undefined ? undefined : word(value)
        if (given !== undefined) env.set(key, given)
      }
    else if (instruction.kind !== 'add') throw wrong(`the stage has ${instruction.keyword}`)
    else {
      const [one, ...more] = instruction.sources
      if (source !== undefined || one === undefined || more.length > 0 || instruction.files.length > 0)
        throw wrong('the stage has more than one source')
      const checksum = instruction.checksum === undefined ? undefined : word(instruction.checksum)
      source = remoteSource(word(one), instruction, checksum, wrong)
      if (source === undefined) throw wrong(`"${one}" is neither a URL nor a repository`)
    }
  }
  if (source === undefined) throw wrong('the stage has no ADD')
  return source
}
