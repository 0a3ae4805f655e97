import { type Compiler, compilersIn } from '../../dockerfile/compilers.ts'
import { shellScript } from '../../dockerfile/shell.ts'
import type { Platform } from '../../oci/platform.ts'
import type { FileView, Rule } from '../rule.ts'
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
        const compiler =
          instruction.kind === 'run' ? compilersIn(shellScript(instruction) ?? '').find(counts) : undefined
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
