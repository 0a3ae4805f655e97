import { type Command, Option } from 'commander'
import { parseCsvLine } from '../dockerfile/csv.ts'
import { ArchimageError } from '../errors/error.ts'
import type { Change, ConfigEdits } from '../mutate/edits.ts'
import type { Mutation, Scoped } from '../mutate/mutate.ts'
import { type Platform, parsePlatform } from '../oci/platform.ts'
import { list } from './command.ts'
import { askedPlatforms, type Options, strings } from './request.ts'

/** Flags of crane mutate, crane rebase and regctl image mod that are not here, with the way to the same end. */
const ELSEWHERE: readonly (readonly [flags: string, reason: string])[] = [
  ['--to-oci', 'archimage copy --format oci does it'],
  ['--to-docker', 'archimage copy --format docker does it'],
  ['--to-oci-referrers', 'attestations stay in the index'],
  ['--layer-compress <kind>', 'archimage copy --compression does it'],
  ['--layer-reproducible', 'new layers are reproducible; others keep their bytes'],
  ['--layer-rm-created-by <regexp>', 'the files of a layer are part of those above it'],
  ['--layer-rm-index <n>', 'the files of a layer are part of those above it'],
  ['--layer-strip-file <file>', 'files are not taken out of layers'],
  ['--file-tar-time <spec>', 'archives inside of layers stay as they are'],
  ['--file-tar-time-max <spec>', 'archives inside of layers stay as they are'],
  ['--config-time-max <time>', 'use --time'],
  ['--layer-time-max <time>', 'use --time and --layer-time'],
  ['--time-max <time>', 'use --time and --layer-time'],
  ['--reproducible', 'use --time'],
  ['--annotation-base <spec>', 'use -a org.opencontainers.image.base.name=… and …base.digest=…'],
  ['--annotation-promote', 'use -a index:NAME=VALUE'],
  ['--label-to-annotation', 'use -a NAME=VALUE'],
  ['--buildarg-rm <name=value>', 'the history stays as it is'],
  ['--buildarg-rm-regex <name=value>', 'the history stays as it is'],
  ['--data-max <bytes>', 'descriptors are kept without data'],
  ['--digest-algo <name>', 'new content goes by sha256'],
  ['--external-urls-rm', 'layers that lie elsewhere keep their addresses'],
  ['--original <image>', 'name the image without a flag'],
]

const hidden = (option: Option): Option => option.hideHelp()

export function addMutateFlags(program: Command): Command {
  program
    .addOption(list('--platform <platforms>', 'only the images of these platforms; the others stay as they are'))
    .addOption(
      list('-l, --label <name=value>', 'set a label; NAME alone removes it; [PLATFORM]NAME=VALUE for one platform'),
    )
    .addOption(list('-e, --env <name=value>', 'set a variable; NAME alone removes it; [PLATFORM]NAME=VALUE'))
    .addOption(
      list('--entrypoint <words>', 'entrypoint: WORD,WORD or ["JSON"]; "" removes it. The command goes with it'),
    )
    .addOption(list('--cmd <words>', 'command: WORD,WORD or ["JSON"]; "" removes it'))
    .option('-u, --user <user>', 'user')
    .option('-w, --workdir <dir>', 'working directory')
    .addOption(list('--exposed-ports <ports>', 'ports, in place of those that there are: 80,53/udp'))
    .addOption(list('--expose-add <port>', 'a further port'))
    .addOption(list('--expose-rm <port>', 'a port that goes'))
    .addOption(list('--volume-add <path>', 'a further volume'))
    .addOption(list('--volume-rm <path>', 'a volume that goes'))
    .option('--stop-signal <signal>', 'signal that ends a container')
    .option('--author <name>', 'author')
    .addOption(
      list(
        '-a, --annotation <name=value>',
        'annotation of every manifest; index:NAME=VALUE, manifest[PLATFORM]:…, manifest-descriptor:… as buildx has them, [*]… as regctl',
      ),
    )
    .option('--set-platform <platform>', 'the platform that the image says it is for')
    .option('--time <time>', 'time of the image and its history: RFC 3339, or seconds since 1970')
    .option('--layer-time', 'files in layers that are younger than --time get that time')
    .addOption(
      list(
        '--append <tar>',
        'a tar file, or what is in a folder, becomes the topmost layer; [PLATFORM]FILE for one platform',
      ),
    )
    .option('--flatten', 'make one layer of all')
    .option('--rebase', 'put it on another base; without the next two on the newest one that its annotations name')
    .option('--old-base <image>', 'the base that it has')
    .option('--new-base <image>', 'the base that it gets')
    .addOption(
      new Option('--attestations <what>', 'drop or keep those of images that change').choices(['drop', 'keep']),
    )
  for (const option of [
    list('--volume <path>', 'as --volume-add'),
    new Option('--config-entrypoint <words>', 'as regctl has it: JSON, or a line for the shell'),
    new Option('--config-cmd <words>', 'as regctl has it: JSON, or a line for the shell'),
    new Option('--config-platform <platform>', 'as --set-platform'),
    new Option('--config-time <time>', 'as --time'),
    new Option('--timestamp <seconds>', 'as --time'),
    new Option('--source-date-epoch <seconds>', 'as --time'),
    list('--layer-add <spec>', 'tar=FILE or dir=FOLDER[,platform=PLATFORM]'),
    new Option('--old_base <image>', 'as --old-base'),
    new Option('--new_base <image>', 'as --new-base'),
    new Option('--rebase-ref <old,new>', 'both bases'),
  ])
    program.addOption(hidden(option))
  for (const [flags, reason] of ELSEWHERE) program.addOption(hidden(new Option(flags, reason)))
  return program
}

/** Throws UNSUPPORTED for flags that are refused by name. */
export function refuseMutateFlags(program: Command, options: Options): void {
  for (const [flags, reason] of ELSEWHERE) {
    const option = program.options.find(candidate => candidate.flags === flags)!
    if (options[option.attributeName()] !== undefined)
      throw new ArchimageError('UNSUPPORTED', `${option.long} is not supported: ${reason}`, {
        hint: `leave ${option.long} out`,
      })
  }
}

/** What the flags say, without what has to be read for it: bases. */
export function mutationOf(options: Options): Mutation {
  const platforms = askedPlatforms(options)
  const time = timeOf(options)
  if (options['layerTime'] === true && time === undefined)
    throw new ArchimageError('USAGE', '--layer-time needs --time')
  const { index, manifest, entry } = annotationsOf(strings(options['annotation']))
  return {
    ...(platforms === undefined ? {} : { platforms }),
    append: [...strings(options['append']).flatMap(appended), ...strings(options['layerAdd']).map(layerAdd)],
    flatten: options['flatten'] === true,
    ...(options['layerTime'] === true ? { layerTime: Math.floor(Date.parse(time!) / 1000) } : {}),
    config: [
      { value: plainEdits(options, time) },
      ...pairs(strings(options['label']), '--label').map(scoped(labels => ({ labels }))),
      ...pairs(strings(options['env']), '--env').map(scoped(env => ({ env }))),
    ],
    indexAnnotations: index,
    annotations: manifest,
    entryAnnotations: entry,
    keepAttestations: options['attestations'] === 'keep',
  }
}

/** The bases that the flags name; undefined where nothing is said of them. */
export function basesOf(options: Options): { readonly old?: string; readonly new?: string } | undefined {
  const [oldRef, newRef] = String(options['rebaseRef'] ?? '').split(',')
  const old = (options['oldBase'] ?? options['old_base'] ?? (oldRef || undefined)) as string | undefined
  const now = (options['newBase'] ?? options['new_base'] ?? (newRef || undefined)) as string | undefined
  if (options['rebase'] !== true && old === undefined && now === undefined) return undefined
  return { ...(old === undefined ? {} : { old }), ...(now === undefined ? {} : { new: now }) }
}

function plainEdits(options: Options, created: string | undefined): ConfigEdits {
  const text = (name: string): string | undefined => options[name] as string | undefined
  const [exposed, expose] = [options['exposedPorts'], split(options['exposeAdd'])]
  const ports = {
    clear: exposed !== undefined,
    add: [...split(exposed), ...expose],
    remove: split(options['exposeRm']),
  }
  const volumes = {
    clear: false,
    add: [...strings(options['volumeAdd']), ...strings(options['volume'])],
    remove: strings(options['volumeRm']),
  }
  const entrypoint = wordsOf(options['entrypoint']) ?? shellWords(text('configEntrypoint'))
  const cmd = wordsOf(options['cmd']) ?? shellWords(text('configCmd'))
  const platform = text('setPlatform') ?? text('configPlatform')
  const [user, workdir, stopSignal, author] = ['user', 'workdir', 'stopSignal', 'author'].map(text)
  return {
    ...(user === undefined ? {} : { user }),
    ...(workdir === undefined ? {} : { workdir }),
    ...(stopSignal === undefined ? {} : { stopSignal }),
    ...(author === undefined ? {} : { author }),
    ...(entrypoint === undefined ? {} : { entrypoint }),
    // regctl's flag leaves the command alone
    ...(options['entrypoint'] === undefined && entrypoint !== undefined ? { keepCmd: true } : {}),
    ...(cmd === undefined ? {} : { cmd }),
    ...(ports.clear || ports.add.length + ports.remove.length > 0 ? { ports } : {}),
    ...(volumes.add.length + volumes.remove.length > 0 ? { volumes } : {}),
    ...(platform === undefined ? {} : { platform: cranePlatform(platform) }),
    ...(created === undefined ? {} : { created }),
  }
}

/** crane writes the version of the operating system behind a colon. */
function cranePlatform(text: string): Platform {
  const [, platform = text, version] = /^([^:]+):(\d[\d.]*)$/.exec(text) ?? []
  return { ...parsePlatform(platform), ...(version === undefined ? {} : { 'os.version': version }) }
}

const split = (value: unknown): string[] => strings(value).flatMap(one => one.split(',').filter(Boolean))

/** As crane has it, and the JSON of Dockerfiles: `a,b` and `["a","b"]`. */
function wordsOf(value: unknown): readonly string[] | undefined {
  if (value === undefined) return undefined
  return strings(value).flatMap(one => (one === '' ? [] : (jsonWords(one) ?? parseCsvLine(one) ?? [one])))
}

/** As regctl has it: JSON, else a line for the shell. */
function shellWords(text: string | undefined): readonly string[] | undefined {
  if (text === undefined || text === '') return text === undefined ? undefined : []
  return jsonWords(text) ?? ['/bin/sh', '-c', text]
}

function jsonWords(text: string): readonly string[] | undefined {
  if (!text.startsWith('[')) return undefined
  try {
    const value: unknown = JSON.parse(text)
    if (Array.isArray(value) && value.every(word => typeof word === 'string')) return value as string[]
  } catch {}
  throw new ArchimageError('USAGE', `${text} is no list of words in JSON`, { hint: 'like ["/bin/sh", "-c", "ls"]' })
}

interface Pair {
  readonly platforms?: readonly Platform[]
  readonly change: Change
}

/** `NAME=VALUE`, `NAME` to remove it, `[PLATFORM,…]` in front. */
function pairs(values: readonly string[], flag: string): readonly Pair[] {
  return values.map(text => {
    const [, prefix, rest = ''] = /^(?:\[([^\]]*)\])?(.*)$/s.exec(text)!
    const platforms = prefix === undefined || prefix === '*' ? undefined : prefix.split(',').map(parsePlatform)
    return { ...(platforms === undefined ? {} : { platforms }), change: [pair(rest, flag)] }
  })
}

function pair(text: string, flag: string): readonly [string, string | null] {
  const equals = text.indexOf('=')
  const name = equals < 0 ? text : text.slice(0, equals)
  if (name === '')
    throw new ArchimageError('USAGE', `${flag} ${text}: the name is missing`, { hint: `${flag} NAME=VALUE` })
  return [name, equals < 0 ? null : text.slice(equals + 1)]
}

function scoped(edits: (change: Change) => ConfigEdits): (pair: Pair) => Scoped<ConfigEdits> {
  return ({ platforms, change }) => ({ ...(platforms === undefined ? {} : { platforms }), value: edits(change) })
}

/** buildx's levels, which may be several (`index,manifest[linux/amd64]:`), and regctl's `[*]` (index too) and `[PLATFORM]`. */
function annotationsOf(values: readonly string[]) {
  const index: (readonly [string, string | null])[] = []
  const manifest: Scoped<Change>[] = []
  const entry: Scoped<Change>[] = []
  for (const text of values) {
    const levels = /^((?:[a-z-]+(?:\[[^\]]*\])?,?)+):(.*)$/s.exec(text)
    if (levels === null || !/^(?:index|manifest)/.test(text)) {
      const [one] = pairs([text], '--annotation')
      manifest.push({ ...(one!.platforms && { platforms: one!.platforms }), value: one!.change })
      if (text.startsWith('[*]')) index.push(...one!.change)
      continue
    }
    const change = [pair(levels[2]!, '--annotation')]
    for (const [, level, platform] of levels[1]!.matchAll(/([a-z-]+)(?:\[([^\]]*)\])?/g)) {
      const where = platform ? { platforms: platform.split(',').map(parsePlatform) } : {}
      if (level === 'index') index.push(...change)
      else if (level === 'manifest') manifest.push({ ...where, value: change })
      else if (level === 'manifest-descriptor') entry.push({ ...where, value: change })
      else
        throw new ArchimageError('USAGE', `--annotation ${text}: there is no level "${level}"`, {
          hint:
            level === 'index-descriptor'
              ? 'that is what a layout says of an index: archimage copy writes it'
              : 'levels are index, manifest and manifest-descriptor',
        })
    }
  }
  return { index, manifest, entry }
}

/** `FILE,FILE` as crane has it, `[PLATFORM]FILE`. */
function appended(text: string): Scoped<string>[] {
  const [, prefix, rest = ''] = /^(?:\[([^\]]*)\])?(.*)$/s.exec(text)!
  const platforms = prefix === undefined ? {} : { platforms: prefix.split(',').map(parsePlatform) }
  return rest.split(',').map(value => ({ ...platforms, value }))
}

/** regctl's `tar=FILE,platform=PLATFORM` and `dir=FOLDER`. */
function layerAdd(text: string): Scoped<string> {
  const fields = new Map(
    (parseCsvLine(text) ?? [text]).map(one => [one.split('=')[0]!, one.slice(one.indexOf('=') + 1)]),
  )
  const path = fields.get('tar') ?? fields.get('dir')
  if (path === undefined)
    throw new ArchimageError('USAGE', `--layer-add ${text} names no file`, { hint: 'tar=FILE, or dir=FOLDER' })
  const platform = fields.get('platform')
  return { ...(platform === undefined ? {} : { platforms: [parsePlatform(platform)] }), value: path }
}

/** RFC 3339 in whole seconds, UTC. */
function timeOf(options: Options): string | undefined {
  const given = ['time', 'configTime', 'timestamp', 'sourceDateEpoch'].filter(name => options[name] !== undefined)
  if (given.length === 0) return undefined
  if (given.length > 1) throw new ArchimageError('USAGE', 'one time is enough', { hint: '--time 2026-01-31T12:00:00Z' })
  const text = String(options[given[0]!]).replace(/^set=/, '')
  const milliseconds = /^\d{1,11}$/.test(text)
    ? Number(text) * 1000
    : Date.parse(/^\d{4}-\d\d-\d\dT/.test(text) ? text : '')
  if (Number.isNaN(milliseconds))
    throw new ArchimageError('USAGE', `"${text}" is not a time`, {
      hint: 'seconds since 1970, or RFC 3339: 2026-01-31T12:00:00Z',
    })
  return new Date(Math.floor(milliseconds / 1000) * 1000).toISOString().replace('.000Z', 'Z')
}
