import type { Dockerfile } from '../dockerfile/ast.ts'
import { sanitize } from '../errors/render-text.ts'
import { description } from './description.ts'
import { columns } from './formats/columns.ts'
import { locationOf } from './formats/json.ts'

/** The stages of a Dockerfile, as docker buildx build --call=targets,format=json prints them. */
export interface TargetList {
  readonly targets: readonly {
    readonly name?: string
    readonly default?: true
    readonly description?: string
    /** As it is written, with its variables. */
    readonly base: string
    readonly platform?: string
    readonly location: ReturnType<typeof locationOf>
  }[]
  /** The Dockerfile, in base64. */
  readonly sources: readonly string[]
}

export function targetList(dockerfile: Dockerfile, bytes: Uint8Array): TargetList {
  const last = dockerfile.stages.length - 1
  return {
    targets: dockerfile.stages.map(({ name, index, from }) => {
      const about = description(from.comments, name)
      return {
        ...(name === undefined ? {} : { name }),
        ...(index === last ? { default: true as const } : {}),
        ...(about === undefined ? {} : { description: about }),
        base: from.image,
        ...(from.platform ? { platform: from.platform } : {}),
        location: locationOf(from.range),
      }
    }),
    sources: [Buffer.from(bytes).toString('base64')],
  }
}

export function targetsText({ targets }: TargetList): string {
  const rows = targets.map(target => {
    const name = target.default ? `${target.name ?? ''} (default)`.trimStart() : (target.name ?? '')
    return [sanitize(name), sanitize(target.description ?? '')]
  })
  return columns([['TARGET', 'DESCRIPTION'], ...rows], 1)
}
