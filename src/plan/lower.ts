import type {
  AddInstruction,
  ArgInstruction,
  Command,
  CopyInstruction,
  Dockerfile,
  HealthcheckInstruction,
  Instruction,
  RunInstruction,
  Stage,
} from '../dockerfile/ast.ts'
import { expandHeredoc, expandWord, expandWords } from '../dockerfile/expand.ts'
import { instructionLabel } from '../dockerfile/label.ts'
import { parseDockerfile } from '../dockerfile/parse.ts'
import { ArchimageError, isArchimageError, type Place } from '../errors/error.ts'
import { didYouMean } from '../errors/suggest.ts'
import type { ContainerConfig, Healthcheck, HistoryEntry, ImageConfig } from '../oci/config.ts'
import { configPlatform } from '../oci/config.ts'
import {
  buildPlatform,
  formatPlatform,
  normalizePlatform,
  type Platform,
  parsePlatform,
  samePlatform,
} from '../oci/platform.ts'
import { contextNames } from './context-names.ts'
import { exposedPorts } from './expose.ts'
import { goDuration, goQuoteList } from './go-format.ts'
import type { BaseImage, CopyOp, CopySource, Lowered, LoweredStage, Op } from './lowered.ts'
import { ownerNumber } from './owner-number.ts'
import { joinPath, joinWorkdir } from './paths.ts'
import { clean } from './posix.ts'
import { isSignal } from './signals.ts'

/** Times that stand for no time: `created` and history (DESIGN §4). */
export const CREATED = '1980-02-01T00:00:00Z'
const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
const HISTORY_COMMENT = 'buildkit.dockerfile.v0'

/** A named context (`--build-context`): an image, or a directory. */
export type NamedContext =
  | { readonly kind: 'image'; readonly image: BaseImage }
  | { readonly kind: 'directory'; readonly path: string }

export interface LowerInput {
  readonly dockerfile: Dockerfile
  readonly platform: Platform
  readonly target?: string
  readonly args: Readonly<Record<string, string>>
  readonly labels: Readonly<Record<string, string>>
  /** SOURCE_DATE_EPOCH in seconds. */
  readonly epoch?: number
  /** Why the last stage may be of another platform. */
  readonly platformException?: string
  /** The image that a reference names, for a platform. Throws when there is none. */
  readonly image: (reference: string, platform: Platform) => Promise<BaseImage>
  readonly named?: (name: string, platform: Platform) => Promise<NamedContext | undefined>
}

interface StageState {
  /** Nothing has been written yet: a filesystem without so much as a root, where no names can be looked up. */
  empty: boolean
  readonly env: Map<string, string>
  readonly args: Map<string, string | undefined>
  config: ContainerConfig
  history: HistoryEntry[]
  image: Omit<ImageConfig, 'config' | 'history' | 'rootfs'>
  platform: Platform
  cmdSet: boolean
}

interface Done {
  readonly lowered: LoweredStage
  readonly state: StageState
  /** ONBUILD instructions that the stage itself wrote. */
  readonly triggers: readonly string[]
}

/**
 * Turns a Dockerfile into operations for one platform: arguments and variables expanded, stages and images resolved, config
 * and history as BuildKit's frontend makes them. Stages that the target does not need are not looked at.
 * Throws DOCKERFILE_INVALID with the place, and what `image` throws.
 */
export async function lower(input: LowerInput): Promise<Lowered> {
  const { dockerfile } = input
  const platform = normalizePlatform(input.platform)
  const warnings: string[] = []
  const bases: BaseImage[] = []
  const done = new Map<number, Promise<Done>>()
  const created = input.epoch === undefined ? CREATED : new Date(input.epoch * 1000).toISOString().replace('.000Z', 'Z')

  const targetStage = findTarget(dockerfile, input.target)
  const globals = globalArguments(input, platform, targetStage.name ?? 'default')
  const froms = dockerfile.stages.map(stage => expandFrom(stage, globals, dockerfile))

  const target = await stageAt(targetStage.index)
  await checkTargetPlatform(target)
  const finished = finish(target.lowered, platform, input, created)
  const stages = new Map<number, LoweredStage>()
  for (const [index, promise] of done) stages.set(index, index === finished.index ? finished : (await promise).lowered)
  return { file: dockerfile.file, target: finished, stages, bases, warnings }

  function stageAt(index: number): Promise<Done> {
    const known = done.get(index)
    if (known) return known
    const promise = lowerStage(dockerfile.stages[index]!)
    done.set(index, promise)
    return promise
  }

  /** The stage that FROM means: by its name as it is kept, which is lower case. */
  function findStage(name: string, before: number): Stage | undefined {
    for (let i = before - 1; i >= 0; i--) if (dockerfile.stages[i]?.name === name) return dockerfile.stages[i]
    return undefined
  }

  async function namedContext(name: string, wanted: Platform): Promise<NamedContext | undefined> {
    for (const one of contextNames(name)) {
      const found = await input.named?.(one, wanted)
      if (found) return found
    }
    return undefined
  }

  /** A named context of a stage's name stands in for the whole stage. */
  function replacement(stage: Stage): Promise<NamedContext | undefined> {
    return stage.name === undefined
      ? Promise.resolve(undefined)
      : namedContext(stage.name, froms[stage.index]!.platform ?? platform)
  }

  async function baseOf(
    stage: Stage,
  ): Promise<{ base: LoweredStage['base']; state: StageState; triggers: readonly string[] }> {
    const from = froms[stage.index]!
    const wanted = from.platform ?? platform
    const replaced = await replacement(stage)
    const earlier = replaced ? undefined : findStage(from.image, stage.index)
    if (earlier) {
      if ((await replacement(earlier))?.kind === 'directory') throw notAnImage(stage.from, earlier.name!)
      const { lowered, state, triggers } = await stageAt(earlier.index)
      const { OnBuild: _, ...config } = state.config
      return {
        base: { kind: 'stage', stage: lowered.index },
        state: {
          ...state,
          env: new Map(state.env),
          args: new Map(state.args),
          config,
          history: [...state.history],
          cmdSet: false,
        },
        triggers,
      }
    }
    const context = replaced ?? (await namedContext(from.image, wanted))
    if (context?.kind === 'directory') throw notAnImage(stage.from, replaced ? stage.name! : from.image)
    if (from.image === 'scratch' && !context)
      return { base: { kind: 'scratch' }, state: scratch(platform), triggers: [] }
    const image = context?.image ?? (await imageFor(from.image, wanted, stage.from, stage.index))
    bases.push(image)
    const { config, history, rootfs: _rootfs, created: _created, ...rest } = image.config
    const { OnBuild, ...inner } = config ?? {}
    const state: StageState = {
      env: new Map(),
      args: new Map(),
      config: inner,
      history: [...(history ?? [])],
      image: rest as StageState['image'],
      platform: wanted,
      cmdSet: false,
      empty: image.manifest.layers.length === 0 && (history ?? []).every(entry => entry.empty_layer),
    }
    return { base: { kind: 'image', image }, state, triggers: OnBuild ?? [] }
  }

  function notAnImage(at: Instruction, name: string): ArchimageError {
    return fail(at, `the named context "${name}" is a directory; it can be copied from, but not built upon`)
  }

  /** What every stage begins with: PATH, the base's variables over arguments of a stage below, an absolute folder. */
  function begin(state: StageState): void {
    const { os } = state.platform
    const env = state.config.Env ?? []
    if (os !== 'windows' && !env.some(pair => splitPair(pair)[0] === 'PATH'))
      state.config = { ...state.config, Env: [...env, `PATH=${DEFAULT_PATH}`] }
    for (const pair of state.config.Env ?? []) state.env.set(...splitPair(pair))
    const folder = state.config.WorkingDir
    if (folder) state.config = { ...state.config, WorkingDir: joinWorkdir(folder, folder, os) }
  }

  async function imageFor(reference: string, wanted: Platform, at: Instruction, before: number): Promise<BaseImage> {
    try {
      return await input.image(reference, wanted)
    } catch (error) {
      if (!isArchimageError(error) || error.place) throw error
      const names = dockerfile.stages.slice(0, before).flatMap(stage => stage.name ?? [])
      const meant = error.code === 'CANCELLED' ? undefined : didYouMean(reference, names)
      throw new ArchimageError(error.code, error.message, {
        ...(error.hint || meant
          ? { hint: [meant && `${meant} (a stage of this Dockerfile)`, error.hint].filter(Boolean).join('\n') }
          : {}),
        place: placeOf(at),
        details: error.details,
        cause: error.cause,
        parts: error.parts,
      })
    }
  }

  async function lowerStage(stage: Stage): Promise<Done> {
    const { base, state, triggers } = await baseOf(stage)
    const ops: Op[] = []
    const own: string[] = []
    if (!(await replacement(stage))) {
      begin(state)
      for (const trigger of triggers) await dispatch(parseTrigger(trigger, stage), true)
      for (const instruction of stage.instructions) await dispatch(instruction, false)
    }
    const lowered: LoweredStage = {
      index: stage.index,
      name: stage.name ?? `stage-${stage.index}`,
      base,
      ops,
      config: {
        ...state.image,
        created,
        config: state.config,
        rootfs: { type: 'layers', diff_ids: [] },
        history: state.history,
      } as unknown as ImageConfig,
      platform: state.platform,
    }
    return { lowered, state, triggers: own }

    async function dispatch(instruction: Instruction, trigger: boolean): Promise<void> {
      try {
        await step(instruction)
      } catch (error) {
        if (isArchimageError(error) && !error.place)
          throw Object.assign(error, { place: placeOf(trigger ? stage.from : instruction) })
        throw error
      }
    }

    function word(text: string, instruction: Instruction): string {
      const { value, unmatched } = expandWord(text, { get: name => state.env.get(name) }, { escape: dockerfile.escape })
      for (const name of unmatched)
        warnings.push(`${dockerfile.file}:${instruction.range.start.line}: ${name} has no value here`)
      return value
    }

    function commit(text: string, layer = false): void {
      state.history.push({
        created,
        created_by: text,
        comment: HISTORY_COMMENT,
        ...(layer ? {} : { empty_layer: true }),
      })
    }

    function set(change: Partial<ContainerConfig>): void {
      state.config = { ...state.config, ...change }
    }

    async function step(instruction: Instruction): Promise<void> {
      const os = state.platform.os
      switch (instruction.kind) {
        case 'from':
          throw fail(instruction, 'FROM cannot be used here')
        case 'maintainer':
          state.image = { ...state.image, author: instruction.name }
          return commit(`MAINTAINER ${instruction.name}`)
        case 'arg':
          return argument(instruction)
        case 'env': {
          const pairs = instruction.pairs.map(
            ({ key, value }) => [word(key, instruction), word(value, instruction)] as const,
          )
          for (const [key, value] of pairs) {
            if (key === '') throw fail(instruction, 'ENV: a name is empty')
            state.env.set(key, value)
            set({ Env: withVariable(state.config.Env ?? [], key, value) })
          }
          return commit(`ENV ${pairs.map(([key, value]) => `${key}=${value}`).join(' ')}`)
        }
        case 'label': {
          const pairs = instruction.pairs.map(
            ({ key, value }) => [word(key, instruction), word(value, instruction)] as const,
          )
          set({ Labels: { ...state.config.Labels, ...Object.fromEntries(pairs) } })
          return commit(`LABEL ${pairs.map(([key, value]) => `${key}=${value}`).join(' ')}`)
        }
        case 'workdir': {
          const path = joinWorkdir(state.config.WorkingDir ?? '/', word(instruction.path, instruction), os)
          set({ WorkingDir: path })
          const slashed = os === 'windows' ? path.replaceAll('\\', '/') : path
          const user = state.config.User ?? ''
          if (slashed !== '/') {
            checkOwner(instruction, `WORKDIR after USER ${user}`, user, false)
            write({ kind: 'workdir', path: clean(slashed), user, ...placed(instruction) })
          }
          return commit(`WORKDIR ${slashed}`, slashed !== '/')
        }
        case 'user': {
          const user = word(instruction.user, instruction)
          set({ User: user })
          return commit(`USER ${user}`)
        }
        case 'expose': {
          const words = instruction.ports.flatMap(
            port => expandWords(port, { get: name => state.env.get(name) }, { escape: dockerfile.escape }).words,
          )
          const ports = exposedPorts(words)
          set({ ExposedPorts: { ...state.config.ExposedPorts, ...Object.fromEntries(ports.map(port => [port, {}])) } })
          return commit(`EXPOSE [${ports.join(' ')}]`)
        }
        case 'volume': {
          const paths = instruction.paths.map(path => word(path, instruction))
          if (paths.some(path => path === '')) throw fail(instruction, 'VOLUME: a path is empty')
          set({ Volumes: { ...state.config.Volumes, ...Object.fromEntries(paths.map(path => [path, {}])) } })
          return commit(`VOLUME [${paths.join(' ')}]`)
        }
        case 'stopsignal': {
          const signal = word(instruction.signal, instruction)
          if (!isSignal(signal))
            throw fail(instruction, `STOPSIGNAL: "${signal}" is not a signal`, 'for instance SIGTERM, or 9')
          set({ StopSignal: signal })
          return commit(`STOPSIGNAL ${signal}`)
        }
        case 'shell':
          set({ Shell: instruction.args })
          return commit(`SHELL [${instruction.args.join(' ')}]`)
        case 'cmd': {
          const args = commandArgs(instruction.command)
          state.cmdSet = true
          set({ Cmd: args, ArgsEscaped: true })
          return commit(`CMD ${goQuoteList(args)}`)
        }
        case 'entrypoint': {
          const args = commandArgs(instruction.command)
          set({ Entrypoint: args })
          if (!state.cmdSet) {
            const { Cmd: _, ...rest } = state.config
            state.config = rest
          }
          return commit(`ENTRYPOINT ${goQuoteList(args)}`)
        }
        case 'healthcheck': {
          const health = healthcheck(instruction, commandArgsOf)
          set({ Healthcheck: health })
          return commit(`HEALTHCHECK ${healthText(health)}`)
        }
        case 'onbuild':
          own.push(instruction.expression)
          return set({ OnBuild: [...(state.config.OnBuild ?? []), instruction.expression] })
        case 'copy':
        case 'add': {
          const op = await copy(instruction)
          write(op)
          return commit(copyHistory(op, instruction), true)
        }
        case 'run':
          write(run(instruction))
          return commit(`RUN ${runHistory(instruction)} # buildkit`, true)
      }
    }

    function write(op: Op): void {
      ops.push(op)
      state.empty = false
    }

    /** BuildKit looks names up in what is there, and refuses where nothing is. */
    function checkOwner(instruction: Instruction, what: string, owner: string, link: boolean): void {
      if (!(link || state.empty) || !needsNames(owner)) return
      throw fail(
        instruction,
        link
          ? `${what}: with --link there is no /etc/passwd to look the name up in`
          : `${what}: the image is still empty, it has no /etc/passwd to look the name up in`,
        `write numbers${link ? ', or leave --link out' : ''}`,
      )
    }

    function commandArgsOf(command: Command): readonly string[] {
      return command.form === 'exec' ? command.args : [command.text]
    }

    function commandArgs(command: Command): readonly string[] {
      if (command.form === 'exec') return command.args
      const shell = state.config.Shell?.length
        ? state.config.Shell
        : state.platform.os === 'windows'
          ? ['cmd', '/S', '/C']
          : ['/bin/sh', '-c']
      return [...shell, command.text]
    }

    function argument(instruction: ArgInstruction): void {
      const texts: string[] = []
      for (const { key, value } of instruction.args) {
        let result: string | undefined
        if (Object.hasOwn(input.args, key)) result = input.args[key]
        else if (value !== undefined) result = word(value, instruction)
        else result = globals.get(key)
        if (result !== undefined) state.env.set(key, result)
        state.args.set(key, result)
        texts.push(result === undefined ? key : `${key}=${result}`)
      }
      commit(`ARG ${texts.join(' ')}`)
    }

    async function copySource(instruction: CopyInstruction | AddInstruction): Promise<CopySource> {
      if (instruction.kind === 'add' || instruction.from === undefined) return { kind: 'context' }
      const name = instruction.from
      if (name.includes('$'))
        throw fail(
          instruction,
          'variables are not expanded in --from',
          'write a stage of its own: FROM $NAME AS files, and COPY --from=files',
        )
      // BuildKit takes the target's platform here, whatever the stage's own is.
      const wanted = platform
      if (/^\d+$/.test(name)) {
        const index = Number(name)
        if (index >= dockerfile.stages.length) throw fail(instruction, `there is no stage ${index}`)
        if (index >= stage.index) throw fail(instruction, `stage ${index} must stand before this one to be copied from`)
        return stageSource(dockerfile.stages[index]!)
      }
      // Of several stages with one name the last of all is meant, also for a stage between them.
      const found = dockerfile.stages.findLast(other => other.name === name.toLowerCase())
      if (found) {
        if (found.index >= stage.index)
          throw fail(instruction, `stage "${name}" must stand before this one to be copied from`)
        return stageSource(found)
      }
      const context = await namedContext(name, wanted)
      if (context)
        return context.kind === 'image'
          ? { kind: 'image', image: context.image }
          : { kind: 'directory', path: context.path }
      if (name === 'scratch') return { kind: 'scratch' }
      const image = await imageFor(name, wanted, instruction, stage.index)
      bases.push(image)
      return { kind: 'image', image }
    }

    async function stageSource(earlier: Stage): Promise<CopySource> {
      const replaced = await replacement(earlier)
      if (replaced?.kind === 'directory') return { kind: 'directory', path: replaced.path }
      return { kind: 'stage', stage: (await stageAt(earlier.index)).lowered.index }
    }

    async function copy(instruction: CopyInstruction | AddInstruction): Promise<CopyOp> {
      const os = state.platform.os
      const from = await copySource(instruction)
      const sources = instruction.sources.map(source => word(source, instruction))
      const dest = word(instruction.dest, instruction)
      const remote = sources.find(source => /^(https?|git|ssh):\/\//i.test(source) || /^git@[^/]+:/.test(source))
      if (remote !== undefined) {
        if (instruction.kind === 'copy') throw fail(instruction, `COPY cannot take "${remote}"`, 'use ADD for URLs')
        throw new ArchimageError('UNSUPPORTED', `ADD from a URL is not supported yet: ${remote}`, {
          hint: 'download the file before the build (prebuild in archimage.yaml can do it) and ADD it from the context',
          place: placeOf(instruction),
        })
      }
      if (instruction.kind === 'add' && instruction.checksum !== undefined)
        throw fail(
          instruction,
          'ADD --checksum needs one http(s) or git source',
          'remove --checksum, the files of the context are hashed anyway',
        )
      const chown = instruction.chown === undefined ? undefined : word(instruction.chown, instruction)
      const chmod = instruction.chmod === undefined ? undefined : word(instruction.chmod, instruction)
      // BuildKit ignores --link where --chmod is given; the result must be the same (DESIGN §4, fidelity).
      const link = instruction.link && !chmod
      if (chown) checkOwner(instruction, `--chown=${chown}`, chown, link)
      const files = instruction.files.map(file => ({
        name: file.name,
        content: file.expand
          ? expandHeredoc(file.content, { get: name => state.env.get(name) }, { escape: '\\' }).value
          : file.content,
      }))
      const relative = dest === '.' || dest === '' ? './' : dest
      return {
        kind: 'copy',
        add: instruction.kind === 'add',
        from,
        sources,
        files,
        dest: joinPath(state.config.WorkingDir ?? '/', relative, os, true),
        ...(chown ? { chown } : {}),
        ...(chmod ? { chmod } : {}),
        link,
        parents: instruction.parents,
        excludes: instruction.excludes,
        unpack: instruction.kind === 'add' ? (instruction.unpack ?? true) : false,
        ...placed(instruction),
      }
    }

    function copyHistory(op: CopyOp, instruction: CopyInstruction | AddInstruction): string {
      const words = [
        op.add ? 'ADD' : 'COPY',
        ...(op.parents ? ['--parents'] : []),
        ...(op.chown ? [`--chown=${op.chown}`] : []),
        ...(op.chmod ? [`--chmod=${op.chmod}`] : []),
        ...op.sources,
        ...op.files.map(file => `<<${file.name}`),
        word(instruction.dest, instruction),
      ]
      return `${words.join(' ')} # buildkit`
    }

    function run(instruction: RunInstruction): Op {
      return {
        kind: 'run',
        instruction,
        args: commandArgs(instruction.command),
        env: [...state.env].map(([key, value]) => `${key}=${value}`),
        workdir: state.config.WorkingDir ?? '/',
        user: state.config.User ?? '',
        ...placed(instruction),
      }
    }

    function runHistory(instruction: RunInstruction): string {
      const args = [...state.args].map(([key, value]) => `${key}=${state.env.get(key) ?? value ?? ''}`)
      return [...(args.length > 0 ? [`|${args.length}`, ...args] : []), ...commandArgs(instruction.command)].join(' ')
    }
  }

  function placed(instruction: Instruction): { line: number; range: Instruction['range']; label: string } {
    return { line: instruction.range.start.line, range: instruction.range, label: instructionLabel(instruction) }
  }

  function placeOf(instruction: Instruction): Place {
    return placeIn(dockerfile, instruction)
  }

  function fail(instruction: Instruction, message: string, hint?: string): ArchimageError {
    return new ArchimageError('DOCKERFILE_INVALID', message, { place: placeOf(instruction), ...(hint ? { hint } : {}) })
  }

  function parseTrigger(trigger: string, stage: Stage): Instruction {
    const parsed = parseDockerfile(`FROM scratch\n${trigger}\n`, dockerfile.file).stages[0]?.instructions[0]
    if (!parsed) throw fail(stage.from, `the base has an ONBUILD trigger that is no instruction: ${trigger}`)
    return { ...parsed, range: stage.from.range }
  }

  async function checkTargetPlatform({ lowered, state }: Done): Promise<void> {
    let stage = lowered
    while (stage.base.kind === 'stage') stage = (await stageAt(stage.base.stage)).lowered
    if (stage.base.kind !== 'image' || input.platformException !== undefined) return
    const have = configPlatform(stage.base.image.config)
    if (samePlatform(have, platform)) return
    if (!stage.base.image.exact && have.os === platform.os && have.architecture === platform.architecture) return
    throw new ArchimageError(
      'PLATFORM_MISMATCH',
      `the image for ${formatPlatform(platform)} would stand on ${stage.base.image.name} for ${formatPlatform(have)}: its programs would be of the wrong architecture`,
      {
        place: placeOf(dockerfile.stages[lowered.index]!.from),
        hint: `take --platform (here ${formatPlatform(state.platform)}) away from the last stage, or give the reason in archimage.yaml: platform-exception`,
      },
    )
  }
}

/** Where an instruction stands, with the lines around it. */
export function placeIn(dockerfile: Dockerfile, instruction: Pick<Instruction, 'range'>): Place {
  const { start, end } = instruction.range
  const first = Math.max(1, start.line - 2)
  return {
    file: dockerfile.file,
    line: start.line,
    column: start.column,
    endLine: end.line,
    excerpt: dockerfile.lines.slice(first - 1, Math.min(end.line, start.line + 8) + 1),
    excerptLine: first,
  }
}

export function findTarget(dockerfile: Dockerfile, target: string | undefined): Stage {
  const { stages } = dockerfile
  if (target === undefined || target === '') return stages.at(-1)!
  const wanted = target.toLowerCase()
  const named = stages.findLast(stage => stage.name === wanted)
  if (named) return named
  if (/^\d+$/.test(target) && stages[Number(target)]) return stages[Number(target)]!
  const names = stages.flatMap(stage => stage.name ?? [])
  throw new ArchimageError('DOCKERFILE_INVALID', `${dockerfile.file} has no stage "${target}"`, {
    hint:
      didYouMean(target, names) ??
      (names.length > 0 ? `its stages are: ${names.join(', ')}` : 'none of its stages has a name'),
    place: { file: dockerfile.file },
  })
}

/** The automatic platform arguments, then the ARGs before the first FROM (DESIGN §4; BuildKit's defaultArgs). */
export function globalArguments(
  input: Pick<LowerInput, 'dockerfile' | 'args'>,
  platform: Platform,
  stage: string,
): Map<string, string> {
  const host = buildPlatform()
  const automatic: readonly (readonly [string, string])[] = [
    ['BUILDPLATFORM', formatPlatform(host)],
    ['BUILDOS', host.os],
    ['BUILDOSVERSION', ''],
    ['BUILDARCH', host.architecture],
    ['BUILDVARIANT', host.variant ?? ''],
    ['TARGETPLATFORM', formatPlatform(platform)],
    ['TARGETOS', platform.os],
    ['TARGETOSVERSION', platform['os.version'] ?? ''],
    ['TARGETARCH', platform.architecture],
    ['TARGETVARIANT', platform.variant ?? ''],
    ['TARGETSTAGE', stage],
  ]
  const given = (key: string): string | undefined => (Object.hasOwn(input.args, key) ? input.args[key] : undefined)
  const values = new Map(automatic.map(([key, value]) => [key, given(key) ?? value]))
  for (const instruction of input.dockerfile.globalArgs)
    for (const { key, value } of instruction.args) {
      const result =
        given(key) ??
        (value === undefined
          ? undefined
          : expandWord(value, { get: name => values.get(name) }, { escape: input.dockerfile.escape }).value)
      if (result !== undefined) values.set(key, result)
    }
  return values
}

export function expandFrom(
  stage: Stage,
  globals: ReadonlyMap<string, string>,
  dockerfile: Dockerfile,
): { image: string; platform?: Platform } {
  const word = (text: string): { value: string; unmatched: readonly string[] } =>
    expandWord(text, { get: name => globals.get(name) }, { escape: dockerfile.escape })
  const place = placeIn(dockerfile, stage.from)
  const image = word(stage.from.image)
  const missing = image.unmatched[0] === undefined ? undefined : didYouMean(image.unmatched[0], globals.keys())
  if (image.value === '')
    throw new ArchimageError('DOCKERFILE_INVALID', `FROM ${stage.from.image}: the name of the base is empty`, {
      place,
      hint: missing ?? 'give the argument a default before the first FROM, or a value with --build-arg',
    })
  if (stage.from.platform === undefined) return { image: image.value }
  const platform = word(stage.from.platform)
  if (platform.value === '')
    throw new ArchimageError('DOCKERFILE_INVALID', `FROM --platform=${stage.from.platform}: the platform is empty`, {
      place,
      hint:
        (platform.unmatched[0] && didYouMean(platform.unmatched[0], globals.keys())) ||
        'for instance --platform=$BUILDPLATFORM',
    })
  try {
    return { image: image.value, platform: parsePlatform(platform.value) }
  } catch (error) {
    if (!isArchimageError(error)) throw error
    throw new ArchimageError('DOCKERFILE_INVALID', `FROM: ${error.message}`, {
      place,
      ...(error.hint ? { hint: error.hint } : {}),
    })
  }
}

function scratch(platform: Platform): StageState {
  const { architecture, os, variant } = platform
  const path = os === 'windows' ? [] : [`PATH=${DEFAULT_PATH}`]
  return {
    empty: true,
    env: new Map(),
    args: new Map(),
    config: { WorkingDir: '/', ...(path.length > 0 ? { Env: path } : {}) },
    history: [],
    image: {
      architecture,
      os,
      ...(platform['os.version'] ? { 'os.version': platform['os.version'] } : {}),
      ...(platform['os.features'] ? { 'os.features': platform['os.features'] } : {}),
      ...(variant ? { variant } : {}),
    },
    platform,
    cmdSet: false,
  }
}

/** The target's config: labels of the command line, and the platform that was asked for. */
function finish(stage: LoweredStage, platform: Platform, input: LowerInput, created: string): LoweredStage {
  const same = stage.config.os === platform.os && stage.config.architecture === platform.architecture
  const { variant, 'os.version': version, 'os.features': features, ...rest } = stage.config
  const pick = <T>(wanted: T | undefined, have: T | undefined): T | undefined => wanted ?? (same ? have : undefined)
  const [v, ver, feat] = [
    pick(platform.variant, variant),
    // A windows base keeps its own version: the one that was asked for only has to begin it.
    same && version ? version : platform['os.version'],
    pick(platform['os.features'], features),
  ]
  const labels =
    Object.keys(input.labels).length > 0 ? { Labels: { ...stage.config.config?.Labels, ...input.labels } } : {}
  return {
    ...stage,
    config: withoutNothing({
      ...rest,
      ...normalizePlatform({
        os: platform.os,
        architecture: platform.architecture,
        ...(v ? { variant: v } : {}),
        ...(ver ? { 'os.version': ver } : {}),
        ...(feat ? { 'os.features': feat } : {}),
      }),
      created,
      config: withoutNothing({ ...stage.config.config, ...labels }),
      history: (stage.config.history ?? []).map(withoutNothing),
    }) as unknown as ImageConfig,
  }
}

const OMITTED = new Set(
  (
    'User ExposedPorts Env Entrypoint Cmd ArgsEscaped Volumes WorkingDir Labels StopSignal OnBuild Shell ' +
    'created_by author comment empty_layer'
  ).split(' '),
)

/** Without known fields that say nothing: `CMD []`, `"User": ""`. BuildKit writes none of them. */
function withoutNothing<T extends object>(value: T): T {
  const nothing = (inner: unknown): boolean => !inner || (typeof inner === 'object' && Object.keys(inner).length === 0)
  return Object.fromEntries(Object.entries(value).filter(([key, inner]) => !(OMITTED.has(key) && nothing(inner)))) as T
}

/** Whether an owner has names that only /etc/passwd or /etc/group can tell; `root`, numbers and nothing do without. */
function needsNames(owner: string): boolean {
  const colon = owner.indexOf(':')
  const parts = colon < 0 ? [owner] : [owner.slice(0, colon), owner.slice(colon + 1)]
  return parts.some(part => part !== '' && ownerNumber(part) === undefined)
}

function splitPair(pair: string): [string, string] {
  const equals = pair.indexOf('=')
  return equals < 0 ? [pair, ''] : [pair.slice(0, equals), pair.slice(equals + 1)]
}

function withVariable(env: readonly string[], key: string, value: string): string[] {
  const index = env.findIndex(pair => splitPair(pair)[0] === key)
  return index < 0 ? [...env, `${key}=${value}`] : env.with(index, `${key}=${value}`)
}

function healthcheck(instruction: HealthcheckInstruction, args: (command: Command) => readonly string[]): Healthcheck {
  if (instruction.none) return { Test: ['NONE'] }
  const { command, interval, timeout, startPeriod, startInterval, retries } = instruction
  return {
    Test: command ? [command.form === 'exec' ? 'CMD' : 'CMD-SHELL', ...args(command)] : [],
    ...(interval ? { Interval: interval } : {}),
    ...(timeout ? { Timeout: timeout } : {}),
    ...(startPeriod ? { StartPeriod: startPeriod } : {}),
    ...(startInterval ? { StartInterval: startInterval } : {}),
    ...(retries ? { Retries: retries } : {}),
  }
}

function healthText(health: Healthcheck): string {
  const time = (value: number | undefined): string => goDuration(value ?? 0)
  return `{Test:[${health.Test?.join(' ')}] Interval:${time(health.Interval)} Timeout:${time(health.Timeout)} StartPeriod:${time(health.StartPeriod)} StartInterval:${time(health.StartInterval)} Retries:${health.Retries ?? 0}}`
}
