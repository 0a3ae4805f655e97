import { didYouMean } from '../errors/suggest.ts'
import type { Command, Flag, Heredoc, Instruction, Range } from './ast.ts'
import { parseDevice } from './devices.ts'
import { parseDuration } from './duration.ts'
import { type Fail, invalid, quoted, type Source } from './fault.ts'
import { type FlagValues, readFlagValues } from './flags.ts'
import { chompTabs, parseHeredoc } from './heredoc.ts'
import { mountFrom } from './mounts.ts'
import { type LogicalLine, rangeIn } from './reader.ts'
import { SHAPES, type Statement } from './statement.ts'
import { trimSpace } from './white-space.ts'

/** A statement with where it stands and the heredocs that follow it. */
export interface Node {
  readonly statement: Statement
  readonly line: LogicalLine
  readonly range: Range
  readonly heredocs: readonly Heredoc[]
}

const STAGE_NAME = /^[a-z][a-z0-9\-_.]*$/

/** The typed instruction of a node; throws DOCKERFILE_INVALID at its place. The rules are BuildKit's. */
export function readInstruction(source: Source, node: Node): Instruction {
  const { statement, range, heredocs } = node
  const { name, written, words, original, flags } = statement
  const keyword = name.toUpperCase()
  const fail: Fail = (message, hint) => invalid(source, range, message, hint)
  // The first line stays the instruction's, where BuildKit reports it; the column is the flag's if it stands there.
  const failAt =
    ({ range: { start } }: Flag): Fail =>
    (message, hint) =>
      invalid(source, { start: start.line === range.start.line ? start : range.start, end: range.end }, message, hint)
  const values = (): FlagValues => readFlagValues(name, flags, failAt)
  const { comments, emptyLines } = node.line
  const common = { keyword, written, range, original, flags, heredocs, comments }
  const base = emptyLines.length > 0 ? { ...common, emptyLines } : common
  const atLeastOne = (): void => {
    if (words.length === 0) throw fail(`${keyword} requires at least one argument`)
  }
  const exactlyOne = (): string => {
    if (words.length !== 1) throw fail(`${keyword} requires exactly one argument`)
    return words[0]!
  }

  switch (name) {
    case 'from':
      return { ...base, kind: 'from', ...stageOf(words, fail), ...optional('platform', values().strings['platform']) }
    case 'arg':
      // BuildKit does not look at flags of ARG, STOPSIGNAL and HEALTHCHECK NONE.
      atLeastOne()
      return { ...base, kind: 'arg', args: words.map(word => argOf(word, fail)) }
    case 'env':
    case 'label':
      values()
      if (statement.pairs.length === 0) throw fail(`${keyword} requires at least one argument`, `${keyword} name=value`)
      if (statement.pairs.some(({ key }) => key === ''))
        throw fail(`${keyword} names can not be blank`, 'a name must stand before "="')
      return { ...base, kind: name, pairs: statement.pairs, legacy: statement.legacy }
    case 'copy':
    case 'add': {
      if (words.length < 2)
        throw fail(`${keyword} requires at least two arguments: sources and destination`, `${keyword} file /path/`)
      const { bools, strings, lists } = values()
      const fields = {
        ...filesOf(keyword, words, heredocs, range, fail),
        ...optional('chown', strings['chown']),
        ...optional('chmod', strings['chmod']),
        link: bools['link'] ?? false,
        parents: bools['parents'] ?? false,
        excludes: lists['exclude'] ?? [],
      }
      if (name === 'copy') return { ...base, kind: 'copy', ...fields, ...optional('from', strings['from']) }
      return {
        ...base,
        kind: 'add',
        ...fields,
        ...optional('checksum', strings['checksum']),
        ...optional('keepGitDir', bools['keep-git-dir']),
        ...optional('unpack', bools['unpack']),
      }
    }
    case 'run': {
      const { strings, lists } = values()
      const mounts = lists['mount'] ?? []
      const devices = lists['device'] ?? []
      const of = (flag: string, value: string): Fail =>
        failAt(flags.find(known => known.name === flag && known.value === value)!)
      for (const device of devices) parseDevice(device, of('device', device))
      for (const mount of mounts) mountFrom(mount, of('mount', mount))
      oneOf('network', strings['network'], ['default', 'none', 'host'], of)
      oneOf('security', strings['security'], ['sandbox', 'insecure'], of)
      return {
        ...base,
        kind: 'run',
        command: commandOf(statement),
        mounts,
        devices,
        ...optional('network', strings['network']),
        ...optional('security', strings['security']),
      }
    }
    case 'cmd':
    case 'entrypoint':
      values()
      return { ...base, kind: name, command: commandOf(statement) }
    case 'shell':
      values()
      atLeastOne()
      if (!statement.json)
        throw fail('SHELL requires the arguments to be in JSON form', 'for instance: SHELL ["/bin/bash", "-c"]')
      return { ...base, kind: 'shell', args: words }
    case 'workdir':
      exactlyOne()
      values()
      return { ...base, kind: 'workdir', path: words[0]! }
    case 'user':
      exactlyOne()
      values()
      return { ...base, kind: 'user', user: words[0]! }
    case 'maintainer':
      exactlyOne()
      values()
      return { ...base, kind: 'maintainer', name: words[0]! }
    case 'stopsignal':
      return { ...base, kind: 'stopsignal', signal: exactlyOne() }
    case 'expose':
      atLeastOne()
      values()
      return { ...base, kind: 'expose', ports: words.toSorted() }
    case 'volume': {
      atLeastOne()
      values()
      const paths = words.map(trimSpace)
      if (paths.includes('')) throw fail('VOLUME specified can not be an empty string', 'name a path: VOLUME /data')
      return { ...base, kind: 'volume', paths }
    }
    case 'healthcheck': {
      atLeastOne()
      return { ...base, kind: 'healthcheck', ...healthOf(statement, values, failAt, fail) }
    }
    case 'onbuild': {
      atLeastOne()
      values()
      const child = statement.child!
      const trigger = child.name.toUpperCase()
      if (trigger === 'ONBUILD')
        throw fail("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed", 'write ONBUILD once')
      if (trigger === 'MAINTAINER' || trigger === 'FROM') throw fail(`${trigger} isn't allowed as an ONBUILD trigger`)
      const start = rangeIn(node.line, child.offset, child.offset + 1).start
      return {
        ...base,
        kind: 'onbuild',
        expression: expressionOf(original, heredocs),
        instruction: readInstruction(source, { ...node, statement: child, range: { start, end: range.end } }),
      }
    }
    default:
      throw fail(`unknown instruction: ${quoted(written)}`, meant(written))
  }
}

function meant(written: string): string {
  const near = didYouMean(
    written,
    Object.keys(SHAPES).map(known => known.toUpperCase()),
  )
  return near ?? 'if this line belongs to the instruction above, end the line before it with a continuation character'
}

function optional<K extends string, V>(key: K, value: V | undefined): { readonly [P in K]?: V } {
  return value === undefined ? {} : ({ [key]: value } as { readonly [P in K]: V })
}

function oneOf(
  flag: string,
  value: string | undefined,
  known: readonly string[],
  failAt: (flag: string, value: string) => Fail,
): void {
  if (value === undefined || known.includes(value)) return
  throw failAt(flag, value)(
    `--${flag}=${value} is not known`,
    didYouMean(value, known) ?? `known are ${known.join(', ')}`,
  )
}

function commandOf({ words, json }: Statement): Command {
  return json ? { form: 'exec', args: words } : { form: 'shell', text: words.join(' ') }
}

function stageOf(
  words: readonly string[],
  fail: Fail,
): {
  readonly image: string
  readonly name?: string
  readonly alias?: { readonly as: string; readonly name: string }
} {
  const [image, as, alias] = words
  if (image === undefined) throw fail('FROM requires an image', 'FROM image, or FROM scratch to begin with nothing')
  if (words.length === 1) return { image }
  if (words.length !== 3 || as!.toLowerCase() !== 'as') {
    const late = words.find((word, i) => i > 0 && word.startsWith('--'))
    throw fail(
      'FROM requires either one or three arguments',
      late === undefined ? 'write FROM image, or FROM image AS name' : `flags stand before the image: FROM ${late} …`,
    )
  }
  const name = alias!.toLowerCase()
  if (!STAGE_NAME.test(name))
    throw fail(
      `invalid name for build stage: ${quoted(alias!)}`,
      'it must begin with a letter and hold only letters, digits and - _ .',
    )
  return { image, name, alias: { as: as!, name: alias! } }
}

function argOf(word: string, fail: Fail): { readonly key: string; readonly value?: string } {
  const equals = word.indexOf('=')
  if (equals < 0) return { key: word }
  if (equals === 0) throw fail('ARG names can not be blank', 'a name must stand before "="')
  return { key: word.slice(0, equals), value: word.slice(equals + 1) }
}

/** Sources that are heredocs become files; the destination can not be one. */
function filesOf(
  keyword: string,
  words: readonly string[],
  heredocs: readonly Heredoc[],
  range: Range,
  fail: Fail,
): { readonly sources: readonly string[]; readonly dest: string; readonly files: readonly Heredoc[] } {
  const dest = words.at(-1)!
  const mark = (word: string): ReturnType<typeof parseHeredoc> => {
    if (!word.includes('<<')) return undefined
    try {
      return parseHeredoc(word)
    } catch {
      // Half of a quoted delimiter: BuildKit takes it for a path.
      return undefined
    }
  }
  if (mark(dest) !== undefined)
    throw fail(`${keyword} cannot accept a heredoc as a destination`, `name the destination: ${keyword} <<EOF /path`)
  const sources: string[] = []
  const files: Heredoc[] = []
  for (const word of words.slice(0, -1)) {
    const file = mark(word)
    if (file === undefined) sources.push(word)
    else {
      // Of several with one name BuildKit takes the last; in the JSON form there is no body, and the file is empty.
      const body = heredocs.findLast(({ name }) => name === file.name)
      const raw = body?.raw ?? body?.content ?? ''
      const content = file.chomp ? chompTabs(raw) : raw
      files.push({ ...file, content, ...(content === raw ? {} : { raw }), range: body?.range ?? range })
    }
  }
  return { sources, dest, files }
}

function healthOf(
  { words, flags, json }: Statement,
  values: () => FlagValues,
  failAt: (flag: Flag) => Fail,
  fail: Fail,
): {
  readonly none: boolean
  readonly command?: Command
  readonly interval?: number
  readonly timeout?: number
  readonly startPeriod?: number
  readonly startInterval?: number
  readonly retries?: number
} {
  const type = words[0]!.toUpperCase()
  const args = words.slice(1)
  if (type === 'NONE') {
    if (args.length > 0) throw fail('HEALTHCHECK NONE takes no arguments')
    return { none: true }
  }
  const { strings } = values()
  if (type !== 'CMD')
    throw fail(`unknown type ${quoted(words[0]!)} in HEALTHCHECK`, 'write HEALTHCHECK CMD command, or HEALTHCHECK NONE')
  if (args.length === 0) throw fail('missing command after HEALTHCHECK CMD')
  const time = (name: string): number | undefined => {
    const text = strings[name]
    if (text === undefined || text === '') return text === undefined ? undefined : 0
    const wrong = failAt(flags.find(flag => flag.name === name)!)
    const duration = parseDuration(text)
    if (duration === undefined)
      throw wrong(`--${name}: ${quoted(text)} is no duration`, 'for instance 30s, 1m30s, 500ms')
    if (duration !== 0 && duration < 1e6) throw wrong(`--${name} cannot be less than 1ms`)
    return duration
  }
  const count = (): number | undefined => {
    const text = strings['retries']
    if (text === undefined || text === '') return text === undefined ? undefined : 0
    const wrong = failAt(flags.find(flag => flag.name === 'retries')!)
    const retries = Number(text)
    if (!/^[+-]?\d+$/.test(text) || retries > 0x7fffffff) throw wrong(`--retries: ${quoted(text)} is no number`)
    if (retries < 0) throw wrong(`--retries cannot be negative (${text})`)
    return retries
  }
  return {
    none: false,
    command: json ? { form: 'exec', args } : { form: 'shell', text: args.join(' ') },
    ...optional('interval', time('interval')),
    ...optional('timeout', time('timeout')),
    ...optional('startPeriod', time('start-period')),
    ...optional('startInterval', time('start-interval')),
    ...optional('retries', count()),
  }
}

/** What an image remembers of ONBUILD: the rest of the line, with its heredocs. */
function expressionOf(original: string, heredocs: readonly Heredoc[]): string {
  let text = original.replace(/^[\t\n\f\r ]*onbuild[\t\n\f\r ]*/i, '')
  for (const { raw, content, name } of heredocs) text += `\n${raw ?? content}${name}`
  return text
}
