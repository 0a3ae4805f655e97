import { parseDockerfile } from '../../dockerfile/parse.ts'
import { sha256 } from '../../oci/digest.ts'
import { encodeImageManifest } from '../../oci/manifest.ts'
import { OCI } from '../../oci/media-types.ts'
import { type Platform, parsePlatform } from '../../oci/platform.ts'
import { lower, type NamedContext } from '../../plan/lower.ts'
import type { BaseImage } from '../../plan/lowered.ts'
import type { RunEvent } from '../../run/events.ts'
import type { Cell } from '../engine.ts'
import { NO_SETTINGS } from '../steps.ts'

/** An image without layers that exists for every platform. */
export function emptyImage(name: string, platform: Platform): BaseImage {
  return {
    name,
    manifest: encodeImageManifest({
      docker: false,
      config: { mediaType: OCI.config, digest: sha256(name), size: 2 },
      layers: [],
    }),
    config: { ...platform, rootfs: { type: 'layers', diff_ids: [] } },
    platform,
    exact: true,
  }
}

export interface CellChange {
  readonly platform?: string
  readonly target?: string
  readonly args?: Readonly<Record<string, string>>
  readonly named?: Readonly<Record<string, NamedContext>>
  readonly cell?: Partial<Cell>
}

/** A cell of a Dockerfile for linux/arm64 on a machine that is linux/amd64; contexts are not there. */
export async function cellOf(text: string, change: CellChange = {}): Promise<Cell> {
  const { target, named = {} } = change
  const dockerfile = parseDockerfile(text, 'src/api/Dockerfile')
  const platform = parsePlatform(change.platform ?? 'linux/arm64')
  const args = { BUILDPLATFORM: 'linux/amd64', ...change.args }
  const stage = target === undefined ? {} : { target }
  const lowered = await lower({
    ...{ dockerfile, platform, args, labels: {}, ...stage },
    image: async (name, of) => emptyImage(name, of),
    named: async name => named[name],
  })
  return {
    service: { name: 'api' } as Cell['service'],
    platform,
    source: { dockerfile, text, args, policy: { network: 'default', allow: [] }, exclude: [], ...stage },
    lowered,
    context: undefined as never,
    directories: new Map(),
    options: { docker: false, compression: 'gzip', times: { mode: 'content' }, annotations: {} },
    steps: NO_SETTINGS,
    proxies: [],
    ...change.cell,
  }
}

/** What an engine tells, in short: `[1/2] RUN make :2`, with `=` for a step from a cache, output after `1|`, `1.` for its end. */
export function shortEvents(): { readonly emit: (event: RunEvent) => void; readonly lines: string[] } {
  const lines: string[] = []
  return {
    lines,
    emit(event) {
      if (event.type === 'cell-step')
        lines.push(`[${event.number}/${event.total}] ${event.step} :${event.line}${event.cached ? ' =' : ''}`)
      if (event.type === 'cell-log') lines.push(`${event.step}| ${event.text.trimEnd()}`)
      if (event.type === 'step-ended')
        lines.push(`${event.number}.${event.emulated ? ' emulated' : ''} ${event.seconds >= 0}`)
    },
  }
}
