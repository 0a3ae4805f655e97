import type { ArgInstruction, Dockerfile, Range } from '../dockerfile/ast.ts'
import { expandWord } from '../dockerfile/expand.ts'
import { parseMount } from '../dockerfile/mounts.ts'
import { targetStage } from '../dockerfile/stages.ts'
import { ArchimageError } from '../errors/error.ts'
import { sanitize } from '../errors/render-text.ts'
import { buildPlatform, type Platform } from '../oci/platform.ts'
import { globalArguments } from '../plan/from.ts'
import { nameOf } from '../plan/posix.ts'
import { description } from './description.ts'
import { columns } from './formats/columns.ts'
import { locationOf } from './formats/json.ts'
import { type StageView, stageViews } from './stage-views.ts'
import { type Step, walk } from './walk.ts'

interface Listed {
  readonly name: string
  readonly location: ReturnType<typeof locationOf>
}

/** What can be given to the build of a target, as docker buildx build --call=outline,format=json prints it. */
export interface Outline {
  readonly name?: string
  readonly description?: string
  readonly args?: readonly (Listed & { readonly description?: string; readonly value?: string })[]
  readonly secrets?: readonly (Listed & { readonly required?: true })[]
  readonly ssh?: readonly (Listed & { readonly required?: true })[]
  /** The Dockerfile, in base64. */
  readonly sources: readonly string[]
}

export interface OutlineOptions {
  readonly platform?: Platform
  readonly target?: string
  readonly args?: Readonly<Record<string, string>>
  /** Names of further contexts, which stand for stages and images. */
  readonly contexts?: (name: string) => boolean
}

interface Argument {
  readonly value: string
  readonly range: Range
  readonly description: string | undefined
  /** Names that its default is made of. */
  readonly from: readonly string[]
}

interface Parameters {
  readonly args: Map<string, Argument>
  readonly used: Set<string>
  readonly secrets: Map<string, { readonly required: boolean; readonly range: Range }>
  readonly ssh: Map<string, { readonly required: boolean; readonly range: Range }>
}

/** Arguments, secrets and SSH agents that the target and the stages that it needs ask for. Throws DOCKERFILE_INVALID. */
export function outlineOf(dockerfile: Dockerfile, bytes: Uint8Array, options: OutlineOptions = {}): Outline {
  const target = targetStage(dockerfile, options.target)
  const platform = options.platform ?? buildPlatform()
  const args = options.args ?? {}
  const globals = globalArguments({ dockerfile, args }, platform, options.target)
  const input = {
    ...{ dockerfile, platform, args, target, globals, all: false },
    image: () => undefined,
    replaced: options.contexts ?? (() => false),
    fault: (error: ArchimageError) => {
      throw error
    },
  }
  const views = stageViews(input)
  const global = globalParameters(dockerfile, args, globals)
  const parameters = new Map<StageView, Parameters>()
  for (const view of views) {
    const used = new Set([...view.image.matched, ...(view.platformFlag?.matched ?? [])])
    parameters.set(view, { args: new Map(global), used, secrets: new Map(), ssh: new Map() })
  }
  walk(views, input, step => note(step, parameters.get(step.stage)!, args, globals))
  const order = inOrder(views[target.index]!, views).map(view => parameters.get(view)!)
  const about = description(target.from.comments, target.name)
  return {
    ...(target.name === undefined ? {} : { name: target.name }),
    ...(about === undefined ? {} : { description: about }),
    ...some('args', argsOf(order)),
    ...some('secrets', mountsOf(order.map(one => one.secrets))),
    ...some('ssh', mountsOf(order.map(one => one.ssh))),
    sources: [Buffer.from(bytes).toString('base64')],
  }
}

/** ARGs before the first FROM. */
function globalParameters(
  dockerfile: Dockerfile,
  args: Readonly<Record<string, string>>,
  globals: ReadonlyMap<string, string>,
): Map<string, Argument> {
  const all = new Map<string, Argument>()
  const env = { get: (name: string) => globals.get(name) }
  for (const instruction of dockerfile.globalArgs)
    for (const { key, value } of instruction.args) {
      const made =
        value === undefined || Object.hasOwn(args, key)
          ? []
          : expandWord(value, env, { escape: dockerfile.escape }).matched
      const before = made.includes(key) ? (all.get(key)?.from ?? []) : []
      const from = [...made.filter(name => name !== key), ...before]
      all.set(key, { ...aboutArgument(instruction, key), value: globals.get(key) ?? '', from })
    }
  return all
}

function aboutArgument(instruction: ArgInstruction, key: string): Pick<Argument, 'range' | 'description'> {
  return { range: instruction.range, description: description(instruction.comments, key) }
}

/** Notes what an instruction asks for. */
function note(
  { instruction, range, state, word }: Step,
  parameters: Parameters,
  args: Readonly<Record<string, string>>,
  globals: ReadonlyMap<string, string>,
): void {
  if (instruction.kind === 'arg')
    for (const { key, value } of instruction.args) {
      parameters.used.add(key)
      // One that takes the value from before the first FROM is described there.
      if (value === undefined && !Object.hasOwn(args, key) && globals.has(key)) continue
      const own = state.env.get(key) ?? ''
      parameters.args.set(key, { ...aboutArgument(instruction, key), value: own, from: [] })
    }
  else if (instruction.kind === 'run')
    for (const raw of instruction.mounts) {
      const mount = parseMount(raw, word, message => new ArchimageError('DOCKERFILE_INVALID', message))
      if (mount.type !== 'secret' && mount.type !== 'ssh') continue
      const known = mount.type === 'secret' ? parameters.secrets : parameters.ssh
      const id =
        mount.type === 'ssh' ? (mount.id ?? 'default') : (mount.source ?? mount.id ?? nameOf(mount.target ?? ''))
      if (!known.has(id)) known.set(id, { required: mount.required, range })
    }
}

/** The target, then what it stands on, then what it copies from; each once. */
function inOrder(target: StageView, views: readonly StageView[]): readonly StageView[] {
  const order = new Set<StageView>()
  const left = [target]
  for (let view = left.shift(); view !== undefined; view = left.shift()) {
    if (order.has(view)) continue
    order.add(view)
    const uses = view.uses.map(({ stage }) => views[stage.index]!)
    left.unshift(...(view.base.kind === 'stage' ? [view.base.stage] : []), ...uses)
  }
  return [...order]
}

function argsOf(order: readonly Parameters[]): NonNullable<Outline['args']> {
  const seen = new Map<string, Argument>()
  for (const { args, used } of order) {
    for (const name of used) for (const other of args.get(name)?.from ?? []) used.add(other)
    for (const name of used) {
      const argument = args.get(name)
      if (argument !== undefined && !seen.has(name)) seen.set(name, argument)
    }
  }
  const listed = [...seen].sort(([, a], [, b]) => a.range.start.line - b.range.start.line)
  return listed.map(([name, { value, range, description: about }]) => ({
    name,
    ...(about === undefined ? {} : { description: about }),
    ...(value === '' ? {} : { value }),
    location: locationOf(range),
  }))
}

function mountsOf(order: readonly Parameters['secrets'][]): NonNullable<Outline['secrets']> {
  const seen = new Map<string, { readonly required: boolean; readonly range: Range }>()
  for (const one of order) for (const [name, about] of one) if (!seen.has(name)) seen.set(name, about)
  const listed = [...seen].sort(([, a], [, b]) => a.range.start.line - b.range.start.line)
  return listed.map(([name, { required, range }]) => ({
    name,
    ...(required ? { required: true as const } : {}),
    location: locationOf(range),
  }))
}

function some<K extends string, T>(key: K, list: readonly T[]): { readonly [P in K]?: readonly T[] } {
  return list.length === 0 ? {} : ({ [key]: list } as { readonly [P in K]: readonly T[] })
}

/** The same for people. */
export function outlineText(outline: Outline): string {
  const { name, description: about, args = [], secrets = [], ssh = [] } = outline
  const head = [['TARGET:', name ?? '(default)'], ...(about === undefined ? [] : [['DESCRIPTION:', about]])]
  const required = (list: NonNullable<Outline['secrets']>): string[][] =>
    list.map(one => [one.name, one.required ? 'true' : ''])
  const tables: readonly (readonly [readonly (readonly string[])[], number])[] = [
    ...(name === undefined && about === undefined ? [] : [[head, 1] as const]),
    ...(args.length === 0
      ? []
      : [
          [
            [
              ['BUILD ARG', 'VALUE', 'DESCRIPTION'],
              ...args.map(arg => [arg.name, arg.value ?? '', arg.description ?? '']),
            ],
            3,
          ] as const,
        ]),
    ...(secrets.length === 0 ? [] : [[[['SECRET', 'REQUIRED'], ...required(secrets)], 3] as const]),
    ...(ssh.length === 0 ? [] : [[[['SSH', 'REQUIRED'], ...required(ssh)], 3] as const]),
  ]
  return tables
    .map(
      ([rows, gap]) =>
        `${columns(
          rows.map(row => row.map(sanitize)),
          gap,
        )}\n`,
    )
    .join('')
}
