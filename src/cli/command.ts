import { statSync } from 'node:fs'
import { resolve } from 'node:path'
import { Command, CommanderError, Option } from 'commander'
import { ArchimageError } from '../errors/error.ts'
import { sanitizeText } from '../errors/render-text.ts'
import { didYouMean } from '../errors/suggest.ts'
import { openRegistry, type Registry, type RegistryOptions } from '../registry/registry.ts'
import { openStore, type Store } from '../store/store.ts'
import { terminal } from '../sys/terminal.ts'

export interface Invocation {
  readonly name: string
  readonly args: readonly string[]
  /** Of `-C`. */
  readonly directory: string | undefined
  readonly signal: AbortSignal
}

export interface CommandModule {
  run(invocation: Invocation): Promise<number>
}

/** A command whose mistakes are ArchimageErrors with suggestions. `-C` may stand behind it as well. */
export function command(invocation: Invocation, usage: string, about: string): Command {
  const out = terminal(1)
  return new Command(`archimage ${invocation.name}`)
    .usage(usage)
    .description(about.replaceAll('\n', ' '))
    .option('-C <dir>', 'work as if started in DIR')
    .exitOverride()
    .allowExcessArguments(true)
    .showSuggestionAfterError(false)
    .configureOutput({
      writeOut: text => out.write(text),
      writeErr: () => {},
      getOutHelpWidth: () => Math.min(out.columns ?? 100, 120),
    })
}

/** Parses; undefined after --help. Throws USAGE. */
export function parse(
  program: Command,
  invocation: Invocation,
): { readonly args: string[]; readonly options: Record<string, unknown> } | undefined {
  try {
    program.parse(switches(program, invocation), { from: 'user' })
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error
    if (error.code === 'commander.helpDisplayed') return undefined
    throw usageError(error, program, invocation)
  }
  return { args: program.args, options: program.opts() }
}

/** Stands for the value of an option that was given none. */
const ALONE = '\0'

/**
 * Go programs take `--push=true` and `--push=false`; scripts that were written for docker have them. Options with an
 * optional value take it with "=" only: the next word is never theirs (`--insecure api`).
 */
function switches(program: Command, { name, args }: Invocation): string[] {
  const end = args.indexOf('--')
  return args.flatMap((arg, i) => {
    const [, flag, value] = /^(--[a-z][a-z-]*)=(.*)$/s.exec(arg) ?? []
    if (program.options.some(candidate => candidate.optional && candidate.long === arg) && (end < 0 || i < end))
      return [`${arg}=${ALONE}`]
    const option = program.options.find(candidate => candidate.long === flag)
    if (flag === undefined || (end >= 0 && i > end) || !option || option.required || option.optional) return [arg]
    if (/^(?:1|t|true)$/i.test(value!)) return [flag]
    if (/^(?:0|f|false)$/i.test(value!)) return []
    throw new ArchimageError('USAGE', `archimage ${name}: ${flag} is a switch, "${value}" is no value for it`, {
      hint: `write ${flag}, or leave it out`,
    })
  })
}

function usageError(error: CommanderError, program: Command, invocation: Invocation): ArchimageError {
  const message = error.message.replace(/^error: /, '').replaceAll("'", '"')
  const option = /^unknown option "(-[^"]*)"/.exec(message)?.[1]
  if (option !== undefined) {
    const known = program.options.flatMap(candidate => [candidate.long, candidate.short]).filter(name => name != null)
    return new ArchimageError('USAGE', `archimage ${invocation.name} has no option ${option.split('=')[0]}`, {
      hint: didYouMean(option.split('=')[0]!, known) ?? `archimage ${invocation.name} --help lists them`,
    })
  }
  return new ArchimageError('USAGE', message, { hint: `archimage ${invocation.name} --help tells more` })
}

/** A value that may be given many times. */
export function list(flags: string, about: string): Option {
  // Commander starts options that begin with "no-" at true.
  return new Option(flags, about).argParser((value: string, previous: unknown) => [
    ...(Array.isArray(previous) ? previous : []),
    value,
  ])
}

/** The folder that the command works in. */
export function workingDirectory(invocation: Invocation, options: Readonly<Record<string, unknown>>): string {
  const given = (options['C'] as string | undefined) ?? invocation.directory
  if (given === undefined) return process.cwd()
  const directory = resolve(given)
  if (!statSync(directory, { throwIfNoEntry: false })?.isDirectory())
    throw new ArchimageError('USAGE', `-C ${given}: there is no such folder`, {
      hint: 'name the folder of the project',
    })
  return directory
}

export interface Opened {
  readonly store: Store
  readonly registry: Registry
}

/** An option that is a switch, and takes a value as `--name=VALUE`; many values with `many`. */
export function switchOrValue(flags: string, about: string, many = false): Option {
  return new Option(flags, about).argParser((value: string, previous: true | string | string[] | undefined) => {
    if (value === ALONE) return many && Array.isArray(previous) ? previous : true
    if (value === '') throw new ArchimageError('USAGE', `${flags.split(/[ [=]/)[0]}= needs a value behind the "="`)
    return many ? [...(Array.isArray(previous) ? previous : []), value] : value
  })
}

/** `--insecure` alone is for every registry, `--insecure=HOST` for those named. */
export function insecureOption(): Option {
  return switchOrValue(
    '--insecure [host]',
    'do not check certificates, and take plain HTTP; --insecure=HOST: of that registry only',
    true,
  )
}

/** `flags`: those of registry-flags.ts. Each request has its own signal: after an interruption tags still are to be put back. */
export function open(
  options: Readonly<Record<string, unknown>>,
  warn: (message: string) => void,
  flags: RegistryOptions = {},
): Opened {
  const insecure = options['insecure']
  return {
    store: openStore({ warn }),
    registry: openRegistry({
      warn,
      offline: options['offline'] === true,
      ...(insecure === true ? { insecure: true } : Array.isArray(insecure) ? { insecure: insecure as string[] } : {}),
      ...flags,
    }),
  }
}

/** Text that people read, on stderr; what of it comes from images and registries moves no cursor. */
export function say(text: string): void {
  terminal(2).write(`${sanitizeText(text)}\n`)
}

/** Results, on stdout. */
export function print(text: string): void {
  terminal(1).write(`${text}\n`)
}
