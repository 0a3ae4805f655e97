import type {
  AddInstruction,
  ArgInstruction,
  Command,
  CopyInstruction,
  Dockerfile,
  Instruction,
  RunInstruction,
} from '../dockerfile/ast.ts'
import { expandWord, expandWords } from '../dockerfile/expand.ts'
import { instructionLabel } from '../dockerfile/label.ts'
import { ArchimageError } from '../errors/error.ts'
import type { ContainerConfig } from '../oci/config.ts'
import { copyHistory, copyOp } from './copy-op.ts'
import { exposedPorts } from './expose.ts'
import { placeIn } from './from.ts'
import { goQuoteList } from './go-format.ts'
import { healthcheck, healthText } from './health.ts'
import type { CopySource, Op } from './lowered.ts'
import { needsNames } from './owner-number.ts'
import { joinWorkdir, slashed } from './paths.ts'
import { clean } from './posix.ts'
import { runOp, type StepPolicy, shellOf } from './run-op.ts'
import { isSignal } from './signals.ts'
import { type StageState, setEnvironment, setVariable } from './stage-state.ts'

const HISTORY_COMMENT = 'buildkit.dockerfile.v0'

/** What an instruction may know beside the state of its stage. */
export interface Scope {
  readonly dockerfile: Dockerfile
  /** --build-arg. */
  readonly args: Readonly<Record<string, string>>
  /** Automatic arguments and those before the first FROM. */
  readonly globals: ReadonlyMap<string, string>
  /** RFC 3339, for the history. */
  readonly created: string
  readonly warnings: string[]
  /** Where COPY and ADD take their files from. */
  readonly source: (instruction: CopyInstruction | AddInstruction) => Promise<CopySource>
  /** The stage, image or named context that a mount of a RUN names. */
  readonly mountSource: (name: string, instruction: RunInstruction) => Promise<CopySource>
  /** What the command line says of RUN steps. */
  readonly steps: StepPolicy
}

/**
 * Applies an instruction to the state of its stage, config and history as BuildKit's frontend makes them; gives the operation
 * that makes a layer, if there is one. Throws DOCKERFILE_INVALID.
 */
export async function applyInstruction(
  instruction: Instruction,
  state: StageState,
  scope: Scope,
): Promise<Op | undefined> {
  const { os } = state.platform
  const word = (text: string): string => expanded(text, state, scope)
  const set = (change: Partial<ContainerConfig>): void => {
    state.config = { ...state.config, ...change }
  }
  const commit = (text: string): undefined => addHistory(state, scope, text, false)
  const write = <T extends Op>(op: T, text: string): T => {
    state.empty = false
    addHistory(state, scope, text, true)
    return op
  }
  const list = (pairs: readonly (readonly [string, string])[]): string =>
    pairs.map(([key, value]) => `${key}=${value}`).join(' ')

  switch (instruction.kind) {
    case 'from':
      throw failure(scope.dockerfile, instruction, 'FROM cannot be used here')
    case 'maintainer':
      state.image = { ...state.image, author: instruction.name }
      return commit(`MAINTAINER ${instruction.name}`)
    case 'arg':
      return commit(`ARG ${declare(instruction, state, scope, word).join(' ')}`)
    case 'env': {
      // Values are those from before the instruction, also of names that it sets itself.
      const pairs = instruction.pairs.map(({ key, value }) => [word(key), word(value)] as const)
      for (const [key, value] of pairs) {
        if (key === '') throw failure(scope.dockerfile, instruction, 'ENV: a name is empty')
        setVariable(state, key, value)
      }
      return commit(`ENV ${list(pairs)}`)
    }
    case 'label': {
      const pairs = instruction.pairs.map(({ key, value }) => [word(key), word(value)] as const)
      set({ Labels: { ...state.config.Labels, ...Object.fromEntries(pairs) } })
      return commit(`LABEL ${list(pairs)}`)
    }
    case 'workdir': {
      const path = joinWorkdir(state.config.WorkingDir ?? '/', word(instruction.path), os)
      set({ WorkingDir: path })
      const at = slashed(path, os)
      if (at === '/') return commit('WORKDIR /')
      const user = state.config.User ?? ''
      checkOwner(`WORKDIR after USER ${user}`, user, false)
      return write({ kind: 'workdir', path: clean(at), user, ...placed(instruction) }, `WORKDIR ${at}`)
    }
    case 'user': {
      const user = word(instruction.user)
      set({ User: user })
      return commit(`USER ${user}`)
    }
    case 'expose': {
      const env = { get: (name: string) => state.env.get(name) }
      const ports = exposedPorts(
        instruction.ports.flatMap(port => expandWords(port, env, { escape: scope.dockerfile.escape }).words),
      )
      set({ ExposedPorts: { ...state.config.ExposedPorts, ...Object.fromEntries(ports.map(port => [port, {}])) } })
      return commit(`EXPOSE [${ports.join(' ')}]`)
    }
    case 'volume': {
      const paths = instruction.paths.map(word)
      if (paths.includes('')) throw failure(scope.dockerfile, instruction, 'VOLUME: a path is empty')
      set({ Volumes: { ...state.config.Volumes, ...Object.fromEntries(paths.map(path => [path, {}])) } })
      return commit(`VOLUME [${paths.join(' ')}]`)
    }
    case 'stopsignal': {
      const signal = word(instruction.signal)
      if (!isSignal(signal))
        throw failure(
          scope.dockerfile,
          instruction,
          `STOPSIGNAL: "${signal}" is not a signal`,
          'for instance SIGTERM, or 9',
        )
      set({ StopSignal: signal })
      return commit(`STOPSIGNAL ${signal}`)
    }
    case 'shell':
      set({ Shell: instruction.args })
      return commit(`SHELL [${instruction.args.join(' ')}]`)
    case 'cmd': {
      const args = commandArgs(instruction.command, state)
      state.cmdSet = true
      set({ Cmd: args, ArgsEscaped: true })
      return commit(`CMD ${goQuoteList(args)}`)
    }
    case 'entrypoint': {
      const args = commandArgs(instruction.command, state)
      set({ Entrypoint: args })
      if (!state.cmdSet) {
        const { Cmd: _, ...rest } = state.config
        state.config = rest
      }
      return commit(`ENTRYPOINT ${goQuoteList(args)}`)
    }
    case 'healthcheck': {
      const health = healthcheck(instruction)
      set({ Healthcheck: health })
      return commit(`HEALTHCHECK ${healthText(health)}`)
    }
    case 'onbuild':
      set({ OnBuild: [...(state.config.OnBuild ?? []), instruction.expression] })
      return undefined
    case 'copy':
    case 'add': {
      const fail = (message: string, hint?: string): ArchimageError =>
        failure(scope.dockerfile, instruction, message, hint)
      const from = await scope.source(instruction)
      const dest = word(instruction.dest)
      const op = copyOp(instruction, state, { from, dest, word, fail, ...placed(instruction) })
      if (op.chown) checkOwner(`--chown=${op.chown}`, op.chown, op.link)
      return write(op, copyHistory(op, dest))
    }
    case 'run': {
      const fail = (message: string, hint?: string): ArchimageError =>
        failure(scope.dockerfile, instruction, message, hint)
      const op = await runOp(instruction, state, {
        ...scope,
        file: scope.dockerfile.file,
        word,
        fail,
        ...placed(instruction),
      })
      return write(op, `RUN ${[...seenArguments(state), ...op.args].join(' ')} # buildkit`)
    }
  }

  /** BuildKit looks names up in what is there, and refuses where nothing is. */
  function checkOwner(what: string, owner: string, link: boolean): void {
    if (!(link || state.empty) || !needsNames(owner)) return
    throw failure(
      scope.dockerfile,
      instruction,
      link
        ? `${what}: with --link there is no /etc/passwd to look the name up in`
        : `${what}: the image is still empty, it has no /etc/passwd to look the name up in`,
      `write numbers${link ? ', or leave --link out' : ''}`,
    )
  }
}

export function failure(dockerfile: Dockerfile, at: Instruction, message: string, hint?: string): ArchimageError {
  return new ArchimageError('DOCKERFILE_INVALID', message, {
    place: placeIn(dockerfile, at),
    ...(hint ? { hint } : {}),
  })
}

function expanded(text: string, state: StageState, { dockerfile }: Scope): string {
  return expandWord(text, { get: name => state.env.get(name) }, { escape: dockerfile.escape }).value
}

function addHistory(state: StageState, { created }: Scope, text: string, layer: boolean): undefined {
  const entry = { created, created_by: text, comment: HISTORY_COMMENT }
  state.history.push(layer ? entry : { ...entry, empty_layer: true })
}

/** Arguments that speak to the builder only. */
const NO_VARIABLES = new Set(['BUILDKIT_SBOM_SCAN_CONTEXT', 'BUILDKIT_SBOM_SCAN_STAGE'])

/** ARG: --build-arg, else its own default, else the global value; gives the words of its history. */
function declare(
  instruction: ArgInstruction,
  state: StageState,
  { args, globals }: Scope,
  word: (text: string) => string,
): string[] {
  return instruction.args.map(({ key, value }) => {
    const result = Object.hasOwn(args, key) ? args[key] : value === undefined ? globals.get(key) : word(value)
    if (result !== undefined && !NO_VARIABLES.has(key)) setEnvironment(state, key, result)
    state.args.set(key, result)
    return result === undefined ? key : `${key}=${result}`
  })
}

/** `|2 A=1 B=2`: the arguments that a RUN sees, as its history has them. */
function seenArguments(state: StageState): string[] {
  const args = [...state.args].map(([key, value]) => `${key}=${state.env.get(key) ?? value ?? ''}`)
  return args.length === 0 ? [] : [`|${args.length}`, ...args]
}

function commandArgs(command: Command, state: StageState): readonly string[] {
  return command.form === 'exec' ? command.args : [...shellOf(state), command.text]
}

function placed(instruction: Instruction): Pick<Op, 'line' | 'range' | 'label'> {
  return { line: instruction.range.start.line, range: instruction.range, label: instructionLabel(instruction) }
}
