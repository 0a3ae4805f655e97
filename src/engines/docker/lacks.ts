import type { Cell, Problem } from '../engine.ts'
import { lacksProcessLimit, limitNames } from '../flags.ts'
import type { Buildx } from './builder.ts'

export type Version = readonly [major: number, minor: number]

/** What flags ask for and not every BuildKit does, by its releases; an older one leaves it out without a word. */
const FEATURES: readonly (readonly [what: string, since: Version, uses: (cell: Cell) => boolean])[] = [
  ['--shm-size', [0, 10], ({ steps }) => steps.shmSize !== undefined],
  ['--ulimit', [0, 10], ({ steps }) => steps.ulimits.length > 0],
  ['--resource', [0, 31], cell => limitNames(cell).length > 0],
]
/** Image layouts from the client. */
const LAYOUTS: Version = [0, 11]
/** The buildx that hands limits on. */
const RESOURCES: Version = [0, 35]

const NEWER = 'choose a newer builder: docker buildx create --use'

/** What this builder cannot do that a cell needs. `classic`: images go in and out by `docker load` and `docker save`. */
export function buildxLacks(cell: Cell, { builder, version }: Buildx, classic: boolean): Problem | undefined {
  if (cell.platform.os === 'windows' && losesFiles(cell))
    return {
      message: 'BuildKit writes layers that Windows cannot use, upon scratch and with --link',
      hint: 'the native engine writes them right: leave --engine out',
    }
  for (const node of builder.nodes) {
    const buildkit = versionIn(node.version)
    if (!buildkit) continue
    if (!classic && isOlder(buildkit, LAYOUTS))
      return { message: `its BuildKit ${node.version} does not take image layouts`, hint: NEWER }
    const lacking = FEATURES.find(([, since, uses]) => isOlder(buildkit, since) && uses(cell))
    if (lacking) return { message: `its BuildKit ${node.version} does not know ${lacking[0]}`, hint: NEWER }
  }
  if (version && isOlder(version, RESOURCES) && limitNames(cell).length > 0)
    return {
      message: `buildx ${version.join('.')} has no --resource`,
      hint: `install buildx ${RESOURCES.join('.')} or newer`,
    }
  return lacksProcessLimit(cell)
}

/** Layers of windows have their files below Files/; BuildKit on Linux knows a windows layer by the one that it stands on. */
function losesFiles({ lowered }: Cell): boolean {
  for (let stage = lowered.target; ; stage = lowered.stages.get(stage.base.stage)!) {
    if (stage.ops.some(op => op.kind === 'copy' && op.link)) return true
    if (stage.base.kind !== 'stage') return stage.base.kind === 'scratch'
  }
}

/** `[0, 33]`; undefined for builds that do not say (`v0.0.0+unknown`). */
export function versionIn(text: string): Version | undefined {
  const [, major, minor] = /\bv?(\d+)\.(\d+)(?:\.\d+|\+)/.exec(text) ?? []
  return major === undefined || (major === '0' && minor === '0') ? undefined : [Number(major), Number(minor)]
}

export function isOlder(version: Version, than: Version): boolean {
  return version[0] < than[0] || (version[0] === than[0] && version[1] < than[1])
}
