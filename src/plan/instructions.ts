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
import { put, type StageState, setEnvironment, setVariable } from './stage-state.ts'

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
  readonly source: (instruction: CopyInstruction | AddInstruction) => CopySource | Promise<CopySource>
  /** The stage, image or named context that a mount of a RUN names. */
  readonly mountSource: (name: string, instruction: RunInstruction) => Promise<CopySource>
  /** What the command line says of RUN steps. */
  readonly steps: StepPolicy
}

/**
 * Applies an instruction to the state of its stage, config and history as BuildKit's frontend makes them; gives the operation
 * that makes a layer, if there is one. What takes files from elsewhere has to be waited for, the others not: a promise for each
 * is what most of the time went to. Throws, or rejects with, DOCKERFILE_INVALID.
 */
export function applyInstruction(
  instruction: Instruction,
  state: StageState,
  scope: Scope,
): Op | Promise<Op> | undefined {
  const { os } = state.platform
  const word = (text: string): string => expanded(text, state, scope)
  const { config } = state
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
      config.Labels ??= {}
      for (const [key, value] of pairs) put(config.Labels, key, value)
      return commit(`LABEL ${list(pairs)}`)
    }
    case 'workdir': {
      const path = joinWorkdir(config.WorkingDir ?? '/', word(instruction.path), os)
      config.WorkingDir = path
      const at = slashed(path, os)
      if (at === '/') return commit('WORKDIR /')
      const user = config.User ?? ''
      checkOwner(`WORKDIR after USER ${user}`, user, false)
      return write({ kind: 'workdir', path: clean(at), user, ...placed(instruction) }, `WORKDIR ${at}`)
    }
    case 'user': {
      const user = word(instruction.user)
      config.User = user
      return commit(`USER ${user}`)
    }
    case 'expose': {
      const ports = exposedPorts(
        instruction.ports.flatMap(port => expandWords(port, state.env, scope.dockerfile).words),
      )
      config.ExposedPorts ??= {}
      for (const port of ports) config.ExposedPorts[port] = {}
      return commit(`EXPOSE [${ports.join(' ')}]`)
    }
    case 'volume': {
      const paths = instruction.paths.map(word)
      if (paths.includes('')) throw failure(scope.dockerfile, instruction, 'VOLUME: a path is empty')
      config.Volumes ??= {}
      for (const path of paths) put(config.Volumes, path, {})
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
      config.StopSignal = signal
      return commit(`STOPSIGNAL ${signal}`)
    }
    case 'shell':
      config.Shell = instruction.args
      return commit(`SHELL [${instruction.args.join(' ')}]`)
    case 'cmd': {
      const args = commandArgs(instruction.command, state)
      state.cmdSet = true
      config.Cmd = args
      config.ArgsEscaped = true
      return commit(`CMD ${goQuoteList(args)}`)
    }
    case 'entrypoint': {
      const args = commandArgs(instruction.command, state)
      config.Entrypoint = args
      if (!state.cmdSet) delete config.Cmd
      return commit(`ENTRYPOINT ${goQuoteList(args)}`)
    }
    case 'healthcheck': {
      const health = healthcheck(instruction)
      config.Healthcheck = health
      return commit(`HEALTHCHECK ${healthText(health)}`)
    }
    case 'onbuild':
      config.OnBuild ??= []
      config.OnBuild.push(instruction.expression)
      return undefined
    case 'copy':
    case 'add':
      return copy(instruction)
    case 'run':
      return run(instruction)
  }

  function fail(message: string, hint?: string): ArchimageError {
    return failure(scope.dockerfile, instruction, message, hint)
  }

  function copy(instruction: CopyInstruction | AddInstruction): Op | Promise<Op> {
    return when(scope.source(instruction), from => {
      const dest = word(instruction.dest)
      const op = copyOp(instruction, state, { from, dest, word, fail, ...placed(instruction) })
      if (op.chown) checkOwner(`--chown=${op.chown}`, op.chown, op.link)
      return write(op, copyHistory(op, dest))
    })
  }

  function run(instruction: RunInstruction): Op | Promise<Op> {
    const { file } = scope.dockerfile
    return when(runOp(instruction, state, { ...scope, file, word, fail, ...placed(instruction) }), op =>
      write(op, `RUN ${[...seenArguments(state), ...op.args].join(' ')} # buildkit`),
    )
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

function when<T, R>(value: T | Promise<T>, then: (value: T) => R): R | Promise<R> {
  return value instanceof Promise ? value.then(then) : then(value)
}

export function failure(dockerfile: Dockerfile, at: Instruction, message: string, hint?: string): ArchimageError {
  return new ArchimageError('DOCKERFILE_INVALID', message, {
    place: placeIn(dockerfile, at),
    ...(hint ? { hint } : {}),
  })
}

function expanded(text: string, state: StageState, { dockerfile }: Scope): string {
  return expandWord(text, state.env, dockerfile).value
}

function addHistory(state: StageState, { created }: Scope, text: string, layer: boolean): undefined {
  const comment = HISTORY_COMMENT
  state.history.push(
    layer ? { created, created_by: text, comment } : { created, created_by: text, comment, empty_layer: true },
  )
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
