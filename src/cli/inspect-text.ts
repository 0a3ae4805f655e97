import { sanitize } from '../errors/render-text.ts'
import type { InspectedImage, InspectedLayer, Inspection } from '../inspect/describe.ts'
import type { Difference, FieldChange, ImageDifference } from '../inspect/difference.ts'
import type { FileChange } from '../inspect/files.ts'
import type { HistoryEntry } from '../oci/config.ts'
import { bytes, table } from './table.ts'

/** Text from images is hostile: no line of it reaches the terminal raw. */
type Rows = (readonly string[])[]

const clean = (rows: Rows): Rows => rows.map(row => row.map(sanitize))
const indent = (lines: readonly string[], by = 2): string[] =>
  lines.map(line => (line === '' ? '' : ' '.repeat(by) + line))
const short = (digest: string): string => digest.slice(digest.indexOf(':') + 1).slice(0, 12)

/** An image for people. `place` says where it was found. */
export function inspectionLines(inspection: Inspection, place: string): string[] {
  const { images, attestations, others } = inspection
  const lines = [
    sanitize(`${inspection.name.replace(/^store:/, '')}, ${place}`),
    ...indent(table(clean(headRows(inspection)))),
  ]
  if (images.length > 1)
    lines.push('', ...table([['PLATFORM', 'DIGEST', 'SIZE', 'LAYERS', 'CREATED'], ...clean(images.map(imageRow))]))
  for (const image of images) lines.push('', ...imageLines(image))
  if (attestations.length > 0)
    lines.push(
      '',
      ...table([
        ['ATTESTATIONS OF', 'DIGEST', 'SIZE', 'WHAT THEY SAY'],
        ...clean(
          attestations.map(one => [
            one.platform ?? one.of ?? '',
            short(one.digest),
            bytes(one.size),
            one.predicates.map(predicateName).join(', '),
          ]),
        ),
      ]),
    )
  if (others.length > 0)
    lines.push(
      '',
      ...table([
        ['NO IMAGES', 'DIGEST', 'SIZE', ''],
        ...clean(
          others.map(one => [
            one.artifactType ?? one.platform ?? one.mediaType,
            short(one.digest),
            bytes(one.size),
            one.problem ??
              one.layers.map(layer => layer.annotations?.['org.opencontainers.image.title'] ?? '').join(' '),
          ]),
        ),
      ]),
    )
  if (inspection.referrers !== undefined)
    lines.push(
      '',
      ...table([
        ['REFERRERS OF', 'DIGEST', 'SIZE', 'WHAT THEY ARE'],
        ...clean(
          inspection.referrers.map(one => [
            one.platform ?? short(one.of),
            short(one.digest),
            bytes(one.size),
            one.artifactType ?? '',
          ]),
        ),
      ]),
    )
  return lines
}

function headRows(inspection: Inspection): Rows {
  const { digest, mediaType, artifactType, size, subject, annotations } = inspection
  return [
    ['Digest', digest],
    ['Media type', mediaType],
    ...(artifactType === undefined ? [] : [['Artifact type', artifactType]]),
    ...(subject === undefined ? [] : [['About', subject]]),
    ['Size', bytes(size)],
    ...named('Annotations', pairs(annotations)),
  ]
}

function imageRow(image: InspectedImage): string[] {
  const { platform, digest, size, layers, config, problem } = image
  const created = config.created?.slice(0, 16).replace('T', ' ') ?? ''
  return [platform, short(digest), bytes(size), String(layers.length), problem ?? created]
}

function imageLines(image: InspectedImage): string[] {
  const { config } = image
  const { User, Entrypoint, Cmd, WorkingDir, Env, Labels, ExposedPorts, Volumes, StopSignal, Healthcheck } =
    config.config ?? {}
  const rows: Rows = [
    ...(image.problem === undefined ? [] : [['Wrong', image.problem]]),
    ['Config', image.configDigest],
    ...(config.created === undefined ? [] : [['Created', config.created]]),
    ...(config.author === undefined ? [] : [['Author', config.author]]),
    ...(User ? [['User', User]] : []),
    ...(Entrypoint ? [['Entrypoint', JSON.stringify(Entrypoint)]] : []),
    ...(Cmd ? [['Cmd', JSON.stringify(Cmd)]] : []),
    ...(WorkingDir ? [['Workdir', WorkingDir]] : []),
    ...(StopSignal ? [['Stop signal', StopSignal]] : []),
    ...(Healthcheck ? [['Healthcheck', JSON.stringify(Healthcheck)]] : []),
    ...named('Ports', Object.keys(ExposedPorts ?? {})),
    ...named('Volumes', Object.keys(Volumes ?? {})),
    ...named('Env', Env ?? []),
    ...named('Labels', pairs(Labels ?? {})),
    ...named('Annotations', pairs({ ...image.annotations, ...image.entryAnnotations })),
  ]
  return [
    sanitize(`${image.platform}  ${image.digest}`),
    ...indent(table(clean(rows))),
    ...indent(table([['LAYER', 'SIZE', 'MADE BY'], ...clean(layerRows(image))])),
  ]
}

/** Layers among the steps of the history that made none; layers alone where the history does not fit them. */
function layerRows({ layers, config }: InspectedImage): Rows {
  const history = config.history ?? []
  const row = (layer: InspectedLayer, step = ''): string[] => [short(layer.digest), bytes(layer.size), step]
  if (history.filter(step => step.empty_layer !== true).length !== layers.length) return layers.map(layer => row(layer))
  let at = 0
  return history.map(step => (step.empty_layer === true ? ['', '', words(step)] : row(layers[at++]!, words(step))))
}

/** One line of a step that may have many. */
function words({ created_by, comment }: HistoryEntry): string {
  const line = (created_by || comment || '').replace(/\s+/g, ' ').replace(/^\/bin\/sh -c #\(nop\) +/, '')
  return line.length > 100 ? `${line.slice(0, 99)}…` : line
}

/** A name in front of the first of several lines. */
function named(name: string, values: readonly string[]): Rows {
  return values.map((value, i) => [i === 0 ? name : '', value])
}

function pairs(map: Readonly<Record<string, string>>): string[] {
  return Object.entries(map).map(([key, value]) => `${key}=${value}`)
}

function predicateName(type: string): string {
  if (type.includes('slsa.dev/provenance')) return `provenance (SLSA ${type.split('/').at(-1)})`
  if (type.includes('spdx.dev')) return 'SBOM (SPDX)'
  if (type.includes('cyclonedx.org')) return 'SBOM (CycloneDX)'
  return type
}

/** A difference for people: `-` what only the first has, `+` only the second, as diff(1) has it. */
export function differenceLines(
  difference: Difference,
  files: Readonly<Record<string, readonly FileChange[]>>,
): string[] {
  const { before, after, fields, added, removed, changed, artifacts } = difference
  if (difference.same) return [sanitize(`the same: ${after.digest}`)]
  const lines = [`--- ${before.name}  ${before.digest}`, `+++ ${after.name}  ${after.digest}`]
  lines.push(...fields.flatMap(fieldLines))
  lines.push(...removed.map(platform => `- ${platform}`), ...added.map(platform => `+ ${platform}`))
  for (const image of changed) {
    lines.push('', image.platform, ...indent(imageDifference(image)))
    const own = files[image.platform]
    if (own !== undefined)
      lines.push(...indent(own.length === 0 ? ['files: the same'] : ['files:', ...indent(fileLines(own))]))
  }
  if (changed.length + added.length + removed.length + fields.length === 0)
    lines.push('', 'the same images, in another index')
  lines.push(
    ...artifacts.removed.map(digest => `- attestation or artifact ${digest}`),
    ...artifacts.added.map(digest => `+ attestation or artifact ${digest}`),
  )
  return lines.map(sanitize)
}

function imageDifference({ fields, history, layers }: ImageDifference): string[] {
  const total = (list: readonly InspectedLayer[]): string => bytes(list.reduce((sum, { size }) => sum + size, 0))
  const { common, added, removed } = layers
  const row = (sign: string) => (layer: InspectedLayer) => [
    sign,
    short(layer.digest),
    bytes(layer.size),
    words({ created_by: layer.createdBy ?? '' }),
  ]
  return [
    ...fields.flatMap(fieldLines),
    ...history.removed.map(step => `- step: ${words({ created_by: step })}`),
    ...history.added.map(step => `+ step: ${words({ created_by: step })}`),
    `layers: ${common.length} common (${total(common)}), ${removed.length} removed (${total(removed)}), ${added.length} added (${total(added)})`,
    ...indent(table(clean([...removed.map(row('-')), ...added.map(row('+'))]))),
  ]
}

function fieldLines({ field, before, after }: FieldChange): string[] {
  const line = (sign: string, value: string): string => `${sign} ${field}: ${value.replace(/\s+/g, ' ')}`
  return [...(before === undefined ? [] : [line('-', before)]), ...(after === undefined ? [] : [line('+', after)])]
}

function fileLines(files: readonly FileChange[]): string[] {
  const signs = { added: '+', removed: '-', changed: '~' } as const
  return files.map(({ path, change, type, size, what }) => {
    const note = change === 'changed' ? what.join(', ') : type === 'file' ? bytes(size) : type
    return `${signs[change]} /${path}  ${note}`
  })
}
