import { commandsOf, type ShellCommand } from './shell.ts'

/** A command that compiles, so that it could run on the platform of the machine for another one. */
export interface Compiler {
  /** `go build`. */
  readonly label: string
  /** What comes out runs on every platform. */
  readonly portable: boolean
  /** What it needs in order to compile for the target, in words; nothing for what is portable. */
  readonly cross: string
}

const C = new Set(['gcc', 'g++', 'cc', 'c++', 'clang', 'clang++', 'make', 'gmake', 'ninja'])
const SCRIPTS = new Set(['npm', 'yarn', 'pnpm', 'bun'])
const BUNDLERS = new Set([
  ...['tsc', 'webpack', 'vite', 'rollup', 'esbuild', 'parcel', 'ng', 'next', 'nuxt', 'vue-cli-service'],
])
const XX = "a compiler for $TARGETPLATFORM, for instance tonistiigi/xx's xx-clang"

/** The compilers that a shell script starts, in its order. */
export function compilersIn(script: string): readonly Compiler[] {
  return commandsOf(script).flatMap(command => compiler(command) ?? [])
}

/**
 * What would let an emulated step run natively: by its command, as Docker runs it (`/bin/sh -c TEXT`, or a program with its
 * arguments). Undefined where nothing in it compiles: installing packages for a platform is done on that platform.
 */
export function nativeAdvice(command: readonly string[]): string | undefined {
  const [program = '', flag = ''] = command
  const shell = /(?:^|\/)(?:ba|da|a|z|k)?sh$/.test(program) && /^-[a-z]*c$/.test(command.at(-2) ?? flag)
  const found = shell ? compilersIn(command.at(-1)!)[0] : compiler(direct(command))
  if (found === undefined) return undefined
  const { label, portable, cross } = found
  const stage = 'in a stage FROM --platform=$BUILDPLATFORM'
  return portable
    ? `${label} gives the same for every platform: run it ${stage}`
    : `run ${label} ${stage}, with ${cross}`
}

function direct([program = '', ...args]: readonly string[]): ShellCommand {
  return { name: program.slice(program.lastIndexOf('/') + 1), args, assignments: [] }
}

function compiler({ name, args }: ShellCommand): Compiler | undefined {
  const words = args.filter(arg => !arg.startsWith('-') && !arg.startsWith('+'))
  const [first = '', second = ''] = words
  const native = (label: string, cross: string): Compiler => ({ label, portable: false, cross })
  const portable = (label: string): Compiler => ({ label, portable: true, cross: '' })
  if (name === 'go' && (first === 'build' || first === 'install'))
    return native(`go ${first}`, 'CGO_ENABLED=0 GOARCH=$TARGETARCH')
  if (name === 'cargo' && (first === 'build' || first === 'install' || first === 'rustc'))
    return native(`cargo ${first}`, '--target')
  if (name === 'cargo' && first === 'chef' && second === 'cook') return native('cargo chef cook', '--target')
  if (name === 'rustc') return native(name, '--target')
  if (name === 'dotnet' && (first === 'publish' || first === 'build'))
    return native(`dotnet ${first}`, '-a $TARGETARCH')
  if (name === 'cmake' && args.includes('--build')) return native('cmake --build', XX)
  if (C.has(name)) return args.some(arg => arg === '--version' || arg === '-v') ? undefined : native(name, XX)
  if (SCRIPTS.has(name)) {
    const task = first === 'run' ? second : first
    return /^build(?:$|[:_-])/.test(task) ? portable(`${name}${first === 'run' ? ' run' : ''} ${task}`) : undefined
  }
  if (name === 'npx' && BUNDLERS.has(first)) return portable(`npx ${first}`)
  if (BUNDLERS.has(name))
    return name === 'ng' || name === 'next' || name === 'nuxt'
      ? first === 'build'
        ? portable(`${name} build`)
        : undefined
      : portable(name)
  if (name === 'mvn' || name === 'mvnw')
    return words.some(word => /^(?:package|install|verify|compile|deploy)$/.test(word)) ? portable(name) : undefined
  if (name === 'gradle' || name === 'gradlew')
    return words.some(word => /(?:^|:)(?:build|assemble|jar|bootJar|shadowJar|installDist|distTar)$/.test(word))
      ? portable(name)
      : undefined
  return undefined
}
