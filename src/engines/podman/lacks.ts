import type { Instruction } from '../../dockerfile/ast.ts'
import type { LoweredStage } from '../../plan/lowered.ts'
import type { Cell, Problem } from '../engine.ts'
import { lacksProcessLimit } from '../flags.ts'
import { isFresh } from '../steps.ts'
import type { Podman } from './probe.ts'

type Version = readonly [number, number]

interface Feature {
  readonly what: string
  /** The buildah that has it. Absent: none does. */
  readonly since?: Version
  readonly uses: (instruction: Instruction) => boolean
}

const flag =
  (...names: string[]) =>
  ({ flags }: Instruction): boolean =>
    flags.some(({ name }) => names.includes(name))

/** What Dockerfiles may hold and not every podman understands, by buildah's releases. */
const FEATURES: readonly Feature[] = [
  { what: 'heredocs', since: [1, 33], uses: ({ heredocs }) => heredocs.length > 0 },
  { what: 'RUN --network', since: [1, 30], uses: flag('network') },
  { what: '--link', since: [1, 37], uses: flag('link') },
  { what: '--keep-git-dir', since: [1, 37], uses: flag('keep-git-dir') },
  { what: '--exclude', since: [1, 38], uses: flag('exclude') },
  { what: '--parents', since: [1, 40], uses: flag('parents') },
  {
    what: 'secrets in variables (--mount=type=secret,env=…)',
    since: [1, 43],
    uses: ({ flags }) =>
      flags.some(({ name, value = '' }) => name === 'mount' && /type=secret/i.test(value) && /\benv=/i.test(value)),
  },
  { what: 'RUN --security', uses: flag('security') },
  { what: 'RUN --device', uses: flag('device') },
  { what: '--unpack', uses: flag('unpack') },
]

/** What this podman cannot do that a cell needs. */
export function podmanLacks(cell: Cell, { buildah, version }: Podman): Problem | undefined {
  const { lowered, source, steps, platform } = cell
  const unlimited = lacksProcessLimit(cell)
  if (unlimited) return unlimited
  if (platform.os !== 'linux') return { message: `it builds images for linux only, not for ${platform.os}` }
  for (const stage of source.dockerfile.stages) {
    const needed = lowered.stages.get(stage.index)
    if (!needed || needed.replaced) continue
    if (steps.fresh !== true && isFresh(needed, steps))
      return { message: 'it has no --no-cache-filter', hint: 'use --no-cache, or build with another engine' }
    for (const instruction of stage.instructions) {
      const given = asGiven(instruction, needed)
      const feature = FEATURES.find(({ since, uses }) => uses(given) && (!since || isOlder(buildah, since)))
      if (!feature) continue
      const { what, since } = feature
      return {
        message: `podman ${version} does not understand ${what} (${lowered.file}:${instruction.range.start.line})`,
        ...(since ? { hint: `one with buildah ${since.join('.')} or newer does` } : {}),
      }
    }
  }
  return undefined
}

/** What is added from elsewhere is given as a COPY with few flags. */
function asGiven(instruction: Instruction, { ops }: LoweredStage): Instruction {
  const { line } = instruction.range.start
  const isElsewhere = ops.some(op => op.kind === 'copy' && op.remotes !== undefined && op.line === line)
  return isElsewhere ? { ...instruction, flags: instruction.flags.filter(({ name }) => name === 'link') } : instruction
}

function isOlder(version: Version, than: Version): boolean {
  return version[0] < than[0] || (version[0] === than[0] && version[1] < than[1])
}
