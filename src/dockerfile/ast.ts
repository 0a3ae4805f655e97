/** Lines and columns start at 1; `end` is the last line and column that belongs to the node. */
export interface Range {
  readonly start: { readonly line: number; readonly column: number }
  readonly end: { readonly line: number; readonly column: number }
}

export interface Flag {
  readonly name: string
  /** Absent for a flag without "=". Quotes are removed, variables are not expanded. */
  readonly value?: string
  readonly range: Range
}

export interface Heredoc {
  readonly name: string
  readonly content: string
  /** False when the delimiter was quoted: nothing in it is expanded. */
  readonly expand: boolean
  /** `<<-`: leading tabs were removed from `content` already. */
  readonly chomp: boolean
  /** As it stands in the file, where `chomp` changed it (BuildKit hands this to a shell that gets `<<-` itself). */
  readonly raw?: string
  readonly fd: number
  readonly range: Range
}

export interface KeyValue {
  readonly key: string
  readonly value: string
}

interface Base {
  /** Upper case. */
  readonly keyword: string
  /** As it was written (`Copy`). */
  readonly written: string
  readonly range: Range
  /** The instruction as one logical line: continuations joined, comments gone (BuildKit's node.Original). */
  readonly original: string
  readonly flags: readonly Flag[]
  readonly heredocs: readonly Heredoc[]
  /** Comment lines above, without "#", which an indented one keeps as in BuildKit. */
  readonly comments: readonly string[]
  /** Numbers of the empty lines inside its continuations, if any (rule NoEmptyContinuation). */
  readonly emptyLines?: readonly number[]
}

/** Words of all kinds here are raw: quotes and variables as written; `expandWord` makes the value. */
export type FromInstruction = Base & {
  readonly kind: 'from'
  readonly image: string
  readonly platform?: string
  readonly name?: string
  /** `AS` and the name as they were written. */
  readonly alias?: { readonly as: string; readonly name: string }
}
export type ArgInstruction = Base & {
  readonly kind: 'arg'
  readonly args: readonly { readonly key: string; readonly value?: string }[]
}
export type EnvInstruction = Base & {
  readonly kind: 'env'
  readonly pairs: readonly KeyValue[]
  readonly legacy: boolean
}
export type LabelInstruction = Base & {
  readonly kind: 'label'
  readonly pairs: readonly KeyValue[]
  readonly legacy: boolean
}

interface CopyFields {
  readonly sources: readonly string[]
  readonly dest: string
  readonly chown?: string
  readonly chmod?: string
  readonly link: boolean
  readonly parents: boolean
  readonly excludes: readonly string[]
  /** Files written in place by heredocs, in the order of the sources. */
  readonly files: readonly Heredoc[]
}
export type CopyInstruction = Base & CopyFields & { readonly kind: 'copy'; readonly from?: string }
export type AddInstruction = Base &
  CopyFields & {
    readonly kind: 'add'
    readonly checksum?: string
    readonly keepGitDir?: boolean
    readonly unpack?: boolean
  }

/** `shell`: one string that the SHELL gets; `exec`: the words of the JSON form. */
export type Command =
  | { readonly form: 'shell'; readonly text: string }
  | { readonly form: 'exec'; readonly args: readonly string[] }

export type RunInstruction = Base & {
  readonly kind: 'run'
  readonly command: Command
  /** Raw values of --mount, in order. */
  readonly mounts: readonly string[]
  readonly network?: string
  readonly security?: string
  readonly devices: readonly string[]
}
export type CmdInstruction = Base & { readonly kind: 'cmd'; readonly command: Command }
export type EntrypointInstruction = Base & { readonly kind: 'entrypoint'; readonly command: Command }
export type WorkdirInstruction = Base & { readonly kind: 'workdir'; readonly path: string }
export type UserInstruction = Base & { readonly kind: 'user'; readonly user: string }
export type ExposeInstruction = Base & { readonly kind: 'expose'; readonly ports: readonly string[] }
export type VolumeInstruction = Base & { readonly kind: 'volume'; readonly paths: readonly string[] }
export type StopsignalInstruction = Base & { readonly kind: 'stopsignal'; readonly signal: string }
export type ShellInstruction = Base & { readonly kind: 'shell'; readonly args: readonly string[] }
export type MaintainerInstruction = Base & { readonly kind: 'maintainer'; readonly name: string }
export type OnbuildInstruction = Base & {
  readonly kind: 'onbuild'
  readonly expression: string
  readonly instruction: Instruction
}
/** Times in nanoseconds; absent means not given, 0 given as 0. */
export type HealthcheckInstruction = Base & {
  readonly kind: 'healthcheck'
  readonly none: boolean
  readonly command?: Command
  readonly interval?: number
  readonly timeout?: number
  readonly startPeriod?: number
  readonly startInterval?: number
  readonly retries?: number
}

export type Instruction =
  | FromInstruction
  | ArgInstruction
  | EnvInstruction
  | LabelInstruction
  | CopyInstruction
  | AddInstruction
  | RunInstruction
  | CmdInstruction
  | EntrypointInstruction
  | WorkdirInstruction
  | UserInstruction
  | ExposeInstruction
  | VolumeInstruction
  | StopsignalInstruction
  | ShellInstruction
  | MaintainerInstruction
  | OnbuildInstruction
  | HealthcheckInstruction

export interface Stage {
  readonly index: number
  /** Lower case, as FROM … AS names it; absent without AS. */
  readonly name?: string
  readonly from: FromInstruction
  readonly instructions: readonly Instruction[]
}

export interface Dockerfile {
  readonly file: string
  readonly lines: readonly string[]
  readonly escape: '\\' | '`'
  readonly directives: Readonly<Record<string, { readonly value: string; readonly line: number }>>
  /** ARG instructions before the first FROM. */
  readonly globalArgs: readonly ArgInstruction[]
  readonly stages: readonly Stage[]
}
