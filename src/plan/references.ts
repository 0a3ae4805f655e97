import type { Dockerfile, Instruction, Stage } from '../dockerfile/ast.ts'
import { invalid } from '../dockerfile/fault.ts'
import { mountFrom } from '../dockerfile/mounts.ts'
import { baseStage, findStage, stageNamed } from '../dockerfile/stages.ts'
import { normalizePlatform, type Platform } from '../oci/platform.ts'
import { contextNames, namedContext } from './context-names.ts'
import { expandFrom, findTarget, globalArguments } from './from.ts'

/** An image that a Dockerfile names, where its target needs it. */
export interface ImageUse {
  /** As it stands after expansion: `alpine:3.20`. */
  readonly reference: string
  /** The platform that is wanted of it. */
  readonly platform: Platform
  readonly instruction: Instruction
  readonly how: 'from' | 'copy' | 'mount'
}

/**
 * The images, not stages, that the target of a Dockerfile builds upon, copies from or mounts, for one platform. Looks at nothing
 * outside the Dockerfile; triggers of bases (ONBUILD) are not known here.
 */
export function imageUses(
  dockerfile: Dockerfile,
  options: {
    readonly platform: Platform
    readonly args: Readonly<Record<string, string>>
    readonly target?: string
    /** Named contexts; those for other platforms do not count. */
    readonly named: Readonly<Record<string, string>>
  },
): ImageUse[] {
  const platform = normalizePlatform(options.platform)
  const target = findTarget(dockerfile, options.target)
  const globals = globalArguments({ dockerfile, args: options.args }, platform, target.name ?? 'default')
  const uses: ImageUse[] = []
  const seen = new Set<number>()
  visit(target.index)
  return uses

  function replaced(name: string, wanted: Platform): boolean {
    return contextNames(name).some(one => namedContext(options.named, one, wanted) !== undefined)
  }

  function visit(index: number): void {
    if (seen.has(index)) return
    seen.add(index)
    const stage = dockerfile.stages[index]!
    const from = expandFrom(stage, globals, dockerfile)
    const wanted = from.platform ?? platform
    if (stage.name !== undefined && replaced(stage.name, wanted)) return
    const base = baseStage(dockerfile, stage, from.image)
    if (base) visit(base.index)
    else if (from.image !== 'scratch' && !replaced(from.image, wanted))
      uses.push({ reference: from.image, platform: wanted, instruction: stage.from, how: 'from' })
    for (const instruction of stage.instructions) {
      if (instruction.kind === 'copy' && instruction.from !== undefined) {
        const { from } = instruction
        const index = /^\d+$/.test(from) ? Number(from) : findStage(dockerfile, from)?.index
        use(from, index, instruction, 'copy', stage)
      }
      if (instruction.kind === 'run')
        for (const raw of instruction.mounts) {
          const from = mountFrom(raw, (message, hint) => invalid(dockerfile, instruction.range, message, hint))
          if (from !== undefined) use(from, stageNamed(dockerfile, from)?.index, instruction, 'mount', stage)
        }
    }
  }

  function use(
    name: string,
    earlier: number | undefined,
    instruction: Instruction,
    how: 'copy' | 'mount',
    stage: Stage,
  ): void {
    if (earlier !== undefined) {
      if (earlier < stage.index) visit(earlier)
    } else if (!replaced(name, platform) && name !== 'scratch' && !name.includes('$'))
      uses.push({ reference: name, platform, instruction, how })
  }
}
