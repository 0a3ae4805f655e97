import type { RunInstruction } from '../../dockerfile/ast.ts'
import type { Platform } from '../../oci/platform.ts'
import type { FileView, Rule } from '../rule.ts'
import { commandsOf, type ShellCommand, shellScript } from '../shell.ts'
import type { StageView } from '../stage-views.ts'
import { variesWithTarget } from './cache-mounts.ts'

export const EmulatedCompile: Rule = {
  name: 'EmulatedCompile',
  description: 'A compiler runs under emulation in a stage of which only the results are taken',
  from: 'archimage',
  level: 'warning',
  remedy:
    'begin the stage with FROM --platform=$BUILDPLATFORM and compile for the target: GOARCH=$TARGETARCH, cargo build --target, tonistiigi/xx',
  about:
    'Under QEMU compilers are some ten times slower, and some fail. Where a later stage copies only what came out, the stage can run on the platform of the machine and compile for the target; what comes out for every platform alike (JavaScript, Java) needs no more than that. Said for the platforms that this machine would emulate.',
  bad: {
    dockerfile:
      'FROM golang:1.23 AS build\nCOPY . .\nRUN CGO_ENABLED=0 go build -o /app .\n\nFROM scratch\nCOPY --from=build /app /app\n',
  },
  good: {
    dockerfile:
      'FROM --platform=$BUILDPLATFORM golang:1.23 AS build\nARG TARGETARCH\nCOPY . .\nRUN CGO_ENABLED=0 GOARCH=$TARGETARCH go build -o /app .\n\nFROM scratch\nCOPY --from=build /app /app\n',
  },
  check: {
    stage: (stage, report, file) => {
      if (!stage.needed || !variesWithTarget(stage)) return
      if (!isEmulated(stage.platform, file.host) || isInImage(stage, file)) return
      const taken = sourcesTaken(stage, file)
      if (taken.length === 0) return
      // Modules with code of their platform go into the image together with what was built.
      const counts = ({ portable }: Compiler): boolean => !portable || taken.every(isPortable)
      // The first one is told: what is to be changed is the FROM.
      for (const instruction of stage.stage.instructions) {
        const compiler = instruction.kind === 'run' ? compilersIn(instruction).find(counts) : undefined
        if (compiler !== undefined) return report(`${compiler.label} runs under emulation`, instruction)
      }
    },
  },
}

/** Whether programs of a platform need an emulator on the host. */
function isEmulated(platform: Platform, host: Platform): boolean {
  if (platform.os !== 'linux' || platform.architecture === host.architecture) return false
  return !(host.architecture === 'amd64' && platform.architecture === '386')
}

/** Whether the target stands on the stage. */
function isInImage(stage: StageView, { stages, target }: FileView): boolean {
  for (let view = stages[target.index]!; ; view = view.base.stage) {
    if (view === stage) return true
    if (view.base.kind !== 'stage') return false
  }
}

/** What later stages copy from the stage, or from one that stands on it. */
function sourcesTaken(stage: StageView, { stages }: FileView): readonly string[] {
  const upon = new Set([stage])
  for (const view of stages) if (view.base.kind === 'stage' && upon.has(view.base.stage)) upon.add(view)
  return stages
    .filter(view => view.needed && !upon.has(view))
    .flatMap(({ uses }) => uses)
    .filter(({ stage: from }) => upon.has(stages[from.index]!))
    .flatMap(({ by }) => (by.kind === 'copy' ? by.sources : ['/']))
}

/** A folder of results, and not of everything: `/app/dist`, not `/app` and not its node_modules. */
function isPortable(source: string): boolean {
  return /(?:^|\/)(?:dist|build|out|public|static|www|target|\.next|\.output|_site|html|[^/]*\.(?:js|mjs|css|html|jar|war))(?:\/|$|\*)/.test(
    source,
  )
}

interface Compiler {
  readonly label: string
  /** What comes out runs on every platform. */
  readonly portable: boolean
}

const C = new Set(['gcc', 'g++', 'cc', 'c++', 'clang', 'clang++', 'make', 'gmake', 'ninja'])
const SCRIPTS = new Set(['npm', 'yarn', 'pnpm', 'bun'])
const BUNDLERS = new Set([
  'tsc',
  'webpack',
  'vite',
  'rollup',
  'esbuild',
  'parcel',
  'ng',
  'next',
  'nuxt',
  'vue-cli-service',
])

function compilersIn(instruction: RunInstruction): readonly Compiler[] {
  return commandsOf(shellScript(instruction) ?? '').flatMap(command => compiler(command) ?? [])
}

function compiler({ name, args }: ShellCommand): Compiler | undefined {
  const words = args.filter(arg => !arg.startsWith('-') && !arg.startsWith('+'))
  const [first = '', second = ''] = words
  const native = (label: string): Compiler => ({ label, portable: false })
  const portable = (label: string): Compiler => ({ label, portable: true })
  if (name === 'go' && (first === 'build' || first === 'install')) return native(`go ${first}`)
  if (name === 'cargo' && (first === 'build' || first === 'install' || first === 'rustc'))
    return native(`cargo ${first}`)
  if (name === 'cargo' && first === 'chef' && second === 'cook') return native('cargo chef cook')
  if (name === 'rustc') return native(name)
  if (name === 'dotnet' && (first === 'publish' || first === 'build')) return native(`dotnet ${first}`)
  if (name === 'cmake' && args.includes('--build')) return native('cmake --build')
  if (C.has(name)) return args.some(arg => arg === '--version' || arg === '-v') ? undefined : native(name)
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
