import type { Command, Dockerfile, Instruction } from '../../src/dockerfile/ast.ts'
import type { Answer } from './oracle.ts'

/**
 * A parsed Dockerfile in which our result and that of BuildKit can be compared, one line an instruction: its lines in the file,
 * its name as written, its flags, what it says (without what is not said), its heredocs. With `whole` also the joined line
 * and the comments above.
 */
export function outline(dockerfile: Dockerfile, whole = false): string[] {
  const { globalArgs, stages } = dockerfile
  const all = [...globalArgs, ...stages.flatMap(({ from, instructions }) => [from, ...instructions])]
  const lines = all.map(one =>
    line(
      {
        start: one.range.start.line,
        end: one.range.end.line,
        name: one.written,
        flags: one.flags.map(({ name, value }) => `--${name}${value === undefined ? '' : `=${value}`}`),
        heredocs: one.heredocs.map(({ name, fd, expand, chomp, raw, content }) => [
          name,
          fd,
          expand,
          chomp,
          raw ?? content,
        ]),
        original: one.original,
        comments: one.comments,
      },
      fieldsOf(one),
      whole,
    ),
  )
  return whole ? [`escape ${dockerfile.escape}`, ...lines] : lines
}

/** The same of BuildKit's answer to `parse`. */
export function outlineOfAnswer(answer: Answer, whole = false): string[] {
  const file = answer as unknown as GoFile
  const typed: unknown[] = [
    ...(file.globals ?? []).map(one => ({ args: argsOf(one.Args ?? []) })),
    ...file.stages.flatMap(stage => [
      said({ image: stage.BaseName, as: stage.Name, platform: stage.Platform }),
      ...stage.Commands.map(fieldsOfAnswer),
    ]),
  ]
  const lines = file.nodes.map((node, i) =>
    line(
      {
        ...node,
        flags: node.flags ?? [],
        heredocs: (node.heredocs ?? []).map(doc => [doc.Name, doc.FileDescriptor, doc.Expand, doc.Chomp, doc.Content]),
        comments: node.comments ?? [],
      },
      typed[i],
      whole,
    ),
  )
  return whole ? [`escape ${file.escape}`, ...lines] : lines
}

/** What Go makes of its structures, where this file looks at them; nothing is null there. */
interface GoFile {
  readonly escape: string
  readonly nodes: readonly (Pick<Node, 'start' | 'end' | 'name' | 'original'> & {
    readonly flags: readonly string[] | null
    readonly comments: readonly string[] | null
    readonly heredocs:
      | readonly { Name: string; FileDescriptor: number; Expand: boolean; Chomp: boolean; Content: string }[]
      | null
  })[]
  readonly globals: readonly GoFields[] | null
  readonly stages: readonly {
    readonly Name: string
    readonly BaseName: string
    readonly Platform: string
    readonly Commands: readonly { readonly Name: string; readonly Fields: GoFields }[]
  }[]
}

type GoPair = { readonly Key: string; readonly Value: string | null; readonly NoDelim?: boolean }

interface GoFields {
  readonly Args?: readonly GoPair[]
  readonly Env?: readonly GoPair[]
  readonly Labels?: readonly GoPair[]
  readonly SourceContents?: readonly { readonly Path: string; readonly Data: string; readonly Expand: boolean }[] | null
  readonly KeepGitDir?: boolean | null
  readonly Unpack?: boolean | null
  readonly CmdLine?: readonly string[] | null
  readonly PrependShell?: boolean
  readonly Health?: Readonly<Record<string, unknown>>
  readonly [field: string]: unknown
}

interface Node {
  readonly start: number
  readonly end: number
  readonly name: string
  readonly flags: readonly string[]
  readonly heredocs: readonly (readonly unknown[])[]
  readonly original: string
  readonly comments: readonly string[]
}

function line(node: Node, fields: unknown, whole: boolean): string {
  const { start, end, name, flags, heredocs, original, comments } = node
  return [
    start === end ? `${start}` : `${start}-${end}`,
    name,
    ...flags,
    JSON.stringify(fields),
    ...heredocs.map(
      ([tag, fd, expand, chomp, content]) =>
        `${fd || ''}<<${chomp ? '-' : ''}${expand ? tag : `'${tag}'`} ${JSON.stringify(content)}`,
    ),
    ...(whole ? [JSON.stringify(original), ...comments.map(comment => `# ${comment}`)] : []),
  ].join(' ')
}

/** Without empty strings, lists and false. */
function said(fields: Readonly<Record<string, unknown>>): unknown {
  return Object.fromEntries(
    Object.entries(fields).filter(
      ([, value]) => value != null && value !== '' && value !== false && !(Array.isArray(value) && value.length === 0),
    ),
  )
}

const yesOrNo = (value: boolean | null | undefined): string | undefined => (value == null ? undefined : `${value}`)

function fieldsOf(one: Instruction): unknown {
  switch (one.kind) {
    case 'from':
      return said({ image: one.image, as: one.name, platform: one.platform })
    case 'arg':
      return { args: one.args.map(({ key, value }) => (value === undefined ? key : `${key}=${value}`)) }
    case 'env':
    case 'label':
      return { pairs: one.pairs.map(({ key, value }) => [key, value]), ...(one.legacy ? { legacy: true } : {}) }
    case 'copy':
    case 'add':
      return said({
        sources: one.sources,
        files: one.files.map(({ name, content, expand }) => [name, content, expand]),
        dest: one.dest,
        ...(one.kind === 'copy' ? { from: one.from, parents: one.parents } : {}),
        ...{ chown: one.chown, chmod: one.chmod, link: one.link, exclude: one.excludes },
        ...(one.kind === 'add'
          ? { checksum: one.checksum, keepGitDir: yesOrNo(one.keepGitDir), unpack: yesOrNo(one.unpack) }
          : {}),
      })
    case 'run':
    case 'cmd':
    case 'entrypoint':
      return commandOf(one.command)
    case 'healthcheck':
      return said({
        ...(one.none ? { test: ['NONE'] } : {}),
        ...(one.command ? { test: [one.command.form === 'exec' ? 'CMD' : 'CMD-SHELL', ...wordsOf(one.command)] } : {}),
        interval: one.interval || null,
        timeout: one.timeout || null,
        startPeriod: one.startPeriod || null,
        startInterval: one.startInterval || null,
        retries: one.retries || null,
      })
    case 'expose':
      return { ports: one.ports }
    case 'user':
      return { user: one.user }
    case 'volume':
      return { paths: one.paths }
    case 'stopsignal':
      return { signal: one.signal }
    case 'workdir':
      return { path: one.path }
    case 'maintainer':
      return { name: one.name }
    case 'shell':
      return { shell: one.args }
    case 'onbuild':
      return { trigger: one.expression }
  }
}

const wordsOf = (one: Command): readonly string[] => (one.form === 'exec' ? one.args : [one.text])
const commandOf = (one: Command): unknown => (one.form === 'exec' ? { exec: one.args } : { shell: one.text })
const argsOf = (list: readonly GoPair[]): string[] =>
  list.map(({ Key, Value }) => (Value === null ? Key : `${Key}=${Value}`))

function fieldsOfAnswer({ Name, Fields: f }: GoFile['stages'][number]['Commands'][number]): unknown {
  switch (Name.toLowerCase()) {
    case 'arg':
      return { args: argsOf(f.Args ?? []) }
    case 'env':
    case 'label': {
      const pairs = f.Env ?? f.Labels ?? []
      return { pairs: pairs.map(({ Key, Value }) => [Key, Value]), ...(pairs[0]?.NoDelim ? { legacy: true } : {}) }
    }
    case 'copy':
    case 'add':
      return said({
        sources: f['SourcePaths'],
        files: (f.SourceContents ?? []).map(({ Path, Data, Expand }) => [Path, Data, Expand]),
        dest: f['DestPath'],
        ...('From' in f ? { from: f['From'], parents: f['Parents'] } : {}),
        ...{ chown: f['Chown'], chmod: f['Chmod'], link: f['Link'], exclude: f['ExcludePatterns'] },
        ...('From' in f
          ? {}
          : { checksum: f['Checksum'], keepGitDir: yesOrNo(f.KeepGitDir), unpack: yesOrNo(f.Unpack) }),
      })
    case 'run':
    case 'cmd':
    case 'entrypoint':
      return f.PrependShell ? { shell: f.CmdLine?.[0] ?? '' } : { exec: f.CmdLine ?? [] }
    case 'healthcheck': {
      const health = f.Health ?? {}
      return said({
        test: health['Test'],
        interval: health['Interval'],
        timeout: health['Timeout'],
        startPeriod: health['StartPeriod'],
        startInterval: health['StartInterval'],
        retries: health['Retries'],
      })
    }
    case 'expose':
      return { ports: f['Ports'] }
    case 'user':
      return { user: f['User'] }
    case 'volume':
      return { paths: f['Volumes'] }
    case 'stopsignal':
      return { signal: f['Signal'] }
    case 'workdir':
      return { path: f['Path'] }
    case 'maintainer':
      return { name: f['Maintainer'] }
    case 'shell':
      return { shell: f['Shell'] }
    case 'onbuild':
      return { trigger: f['Expression'] }
  }
  throw new Error(`an instruction ${Name}`)
}
