import { ArchimageError } from '../errors/error.ts'
import { isRecord } from '../oci/json.ts'
import { normalizePlatform, type Platform } from '../oci/platform.ts'
import type { Draft, Json } from './draft.ts'

/** What becomes another: a value, or null to take it away. */
export type Change = readonly (readonly [name: string, value: string | null])[]

/** Edits of the configuration of one image. What is absent stays. */
export interface ConfigEdits {
  readonly labels?: Change
  readonly env?: Change
  /** An empty list takes it away. A new entrypoint takes the command away unless that is given or kept, as docker has it. */
  readonly entrypoint?: readonly string[]
  readonly cmd?: readonly string[]
  readonly keepCmd?: boolean
  readonly user?: string
  readonly workdir?: string
  readonly stopSignal?: string
  readonly author?: string
  /** `80`, `80/tcp`, `53/udp`; with `clear` those that were there go. */
  readonly ports?: { readonly clear: boolean; readonly add: readonly string[]; readonly remove: readonly string[] }
  readonly volumes?: { readonly clear: boolean; readonly add: readonly string[]; readonly remove: readonly string[] }
  readonly platform?: Platform
  /** RFC 3339: of the image and of every step of its history. */
  readonly created?: string
}

/** Throws UNSUPPORTED for what the format of the image has no place for. */
export function editConfig(draft: Draft, edits: ConfigEdits): Draft {
  const { config } = draft
  const run = isRecord(config['config']) ? config['config'] : {}
  const windows = (edits.platform?.os ?? config['os']) === 'windows'
  const edited = withFields(run, {
    ...(edits.user === undefined ? {} : { User: edits.user || undefined }),
    ...(edits.ports === undefined ? {} : { ExposedPorts: setOf(run['ExposedPorts'], edits.ports, portName) }),
    ...(edits.env === undefined ? {} : { Env: editEnv(run['Env'], edits.env, windows) }),
    ...(edits.entrypoint === undefined ? {} : { Entrypoint: words(edits.entrypoint) }),
    ...(edits.entrypoint === undefined || edits.keepCmd === true ? {} : { Cmd: undefined }),
    ...(edits.cmd === undefined ? {} : { Cmd: words(edits.cmd) }),
    ...(edits.volumes === undefined ? {} : { Volumes: setOf(run['Volumes'], edits.volumes, path => path) }),
    ...(edits.workdir === undefined ? {} : { WorkingDir: edits.workdir || undefined }),
    ...(edits.labels === undefined ? {} : { Labels: editMap(run['Labels'], edits.labels) }),
    ...(edits.stopSignal === undefined ? {} : { StopSignal: edits.stopSignal || undefined }),
  })
  const history = config['history']
  const { created } = edits
  return {
    ...draft,
    config: withFields(config, {
      ...(edits.author === undefined ? {} : { author: edits.author || undefined }),
      ...(created === undefined ? {} : { created }),
      ...(created === undefined || !Array.isArray(history)
        ? {}
        : { history: (history as Json[]).map(step => ({ ...step, created })) }),
      ...(edits.platform === undefined ? {} : platformFields(edits.platform)),
      ...(Object.keys(edited).length === 0 && config['config'] === undefined ? {} : { config: edited }),
    }),
  }
}

/** Annotations of the manifest. Docker's format has none: UNSUPPORTED. */
export function editAnnotations(draft: Draft, change: Change): Draft {
  if (change.length === 0) return draft
  return { ...draft, manifest: annotated(draft.manifest, change, draft.docker) }
}

/** The same of any document or descriptor. */
export function annotated(document: Json, change: Change, docker: boolean): Json {
  if (docker && change.some(([, value]) => value !== null))
    throw new ArchimageError('UNSUPPORTED', "Docker's manifests have no annotations", {
      hint: 'convert it first: archimage copy --format oci; or use --label',
    })
  return withFields(document, { annotations: editMap(document['annotations'], change) })
}

/** Fields with new values where they stand, new ones at the end; undefined takes a field away. */
export function withFields(record: Json, fields: Json): Json {
  return Object.fromEntries(Object.entries({ ...record, ...fields }).filter(([, value]) => value !== undefined))
}

function platformFields(platform: Platform): Json {
  const { os, architecture, variant, 'os.version': version, 'os.features': features } = normalizePlatform(platform)
  return { architecture, os, variant, 'os.version': version, 'os.features': features }
}

function words(list: readonly string[]): readonly string[] | undefined {
  return list.length === 0 ? undefined : list
}

function editMap(map: unknown, change: Change): Json | undefined {
  const edited = new Map(isRecord(map) ? Object.entries(map) : [])
  for (const [name, value] of change) {
    if (value === null) edited.delete(name)
    else edited.set(name, value)
  }
  if (edited.size > 0) return Object.fromEntries([...edited].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)))
  return isRecord(map) && Object.keys(map).length === 0 ? map : undefined
}

/** A variable that is there keeps its place; new ones follow. Windows does not tell case in names apart. */
function editEnv(env: unknown, change: Change, windows: boolean): readonly string[] | undefined {
  const key = (name: string): string => (windows ? name.toUpperCase() : name)
  const list = (Array.isArray(env) ? (env as string[]) : []).map(one => [one.split('=')[0]!, one] as const)
  const wanted = new Map(change.map(([name, value]) => [key(name), [name, value] as const]))
  const out = list.flatMap(([name, whole]) => {
    const now = wanted.get(key(name))
    if (now === undefined) return [whole]
    return now[1] === null ? [] : [`${name}=${now[1]}`]
  })
  for (const [name, value] of wanted.values())
    if (value !== null && !list.some(([known]) => key(known) === key(name)))
      out.push(`${windows ? name.toUpperCase() : name}=${value}`)
  return out.length > 0 ? out : Array.isArray(env) && env.length === 0 ? (env as []) : undefined
}

function setOf(
  map: unknown,
  { clear, add, remove }: NonNullable<ConfigEdits['ports']>,
  nameOf: (text: string) => string,
): Json | undefined {
  const names = new Set(clear || !isRecord(map) ? [] : Object.keys(map))
  for (const one of remove) names.delete(nameOf(one))
  for (const one of add) names.add(nameOf(one))
  return names.size === 0 ? undefined : Object.fromEntries([...names].sort().map(name => [name, {}]))
}

function portName(text: string): string {
  return text.includes('/') ? text : `${text}/tcp`
}
