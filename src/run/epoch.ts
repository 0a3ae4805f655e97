import { parseSourceDateEpoch } from '../context/epoch.ts'
import { parseLocation } from '../context/location.ts'
import type { Dockerfile } from '../dockerfile/ast.ts'
import { findStage } from '../dockerfile/stages.ts'
import { ArchimageError } from '../errors/error.ts'
import { didYouMean } from '../errors/suggest.ts'
import type { Platform } from '../oci/platform.ts'
import { contextNames, namedContext } from '../plan/context-names.ts'
import { epochSource } from '../plan/epoch-stage.ts'
import { globalArguments } from '../plan/from.ts'
import type { Contexts, Opened } from './contexts.ts'

const NAME = 'SOURCE_DATE_EPOCH'

export interface EpochInput {
  readonly dockerfile: Dockerfile
  readonly platform: Platform
  readonly args: Readonly<Record<string, string>>
  readonly buildContexts: Readonly<Record<string, string>>
  /** What relative paths of named contexts are relative to. */
  readonly root: string
  /** The context, where it is no folder. */
  readonly main: Opened | undefined
  readonly contexts: Contexts
}

/**
 * SOURCE_DATE_EPOCH of a build, in seconds: a number, or where it comes from: `context`, a named context, or a stage that is
 * one ADD from elsewhere. Of a repository it is the time of the commit, of a URL Last-Modified, or, of an archive without one, that
 * of its newest file; folders and images have none. With the arguments as they are then. Throws USAGE for a name of nothing.
 */
export async function resolveEpoch(
  input: EpochInput,
): Promise<{ readonly epoch?: number; readonly args: Readonly<Record<string, string>> }> {
  const { args, dockerfile } = input
  const isGiven = Object.hasOwn(args, NAME)
  if (!isGiven && !dockerfile.globalArgs.some(one => one.args.some(({ key }) => key === NAME))) return { args }
  const globals = globalArguments(input, input.platform, '')
  const text = isGiven ? args[NAME]! : globals.get(NAME)
  if (text === undefined || text.trim() === '') return { args }
  if (/^\s*\d+\s*$/.test(text)) return { epoch: parseSourceDateEpoch(text)!, args }
  const epoch = await named(text.trim(), globals, input)
  const { [NAME]: _, ...others } = args
  return epoch === undefined ? { args: others } : { epoch, args: { ...others, [NAME]: String(epoch) } }
}

async function named(
  name: string,
  globals: ReadonlyMap<string, string>,
  { dockerfile, platform, args, buildContexts, root, main, contexts }: EpochInput,
): Promise<number | undefined> {
  if (name === 'context') return main?.time
  for (const one of contextNames(name)) {
    const value = namedContext(buildContexts, one, platform)
    if (value === undefined) continue
    const location = parseLocation(value, root)
    const dated = location.kind === 'git' || location.kind === 'http'
    return dated ? contexts.time(await contexts.open(location, { modes: 'context' })) : undefined
  }
  const stage = findStage(dockerfile, name)
  if (stage !== undefined) return contexts.time(await contexts.source(epochSource(dockerfile, stage, globals, args)))
  const names = ['context', ...Object.keys(buildContexts), ...dockerfile.stages.flatMap(one => one.name ?? [])]
  throw new ArchimageError(
    'USAGE',
    `${NAME} is "${name.slice(0, 80)}", which is neither a number of seconds nor a name`,
    {
      hint:
        didYouMean(name, names) ??
        'a number, "context", a named context, or a stage; SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)',
    },
  )
}
