import { resolve } from 'node:path'
import { buildPlatform, formatPlatform, parsePlatform } from '../oci/platform.ts'
import { familiarReference } from '../oci/reference.ts'
import type { Output } from '../outputs/parse.ts'
import type { OutputImage } from '../outputs/write.ts'
import { startReport } from '../report/report.ts'
import type { ReportMode } from '../report/reporter.ts'
import { type CachePlace, type CacheTarget, parseCacheFrom, parseCacheTo } from '../run/cache-options.ts'
import { type RunOutcome, type RunRequest, run } from '../run/run.ts'
import { keepLimit } from '../store/limit.ts'
import { terminal } from '../sys/terminal.ts'
import { open, print, say } from './command.ts'
import { fileOptions } from './registry-flags.ts'
import { type Options, type OutputChoice, strings } from './request.ts'
import { bytes } from './table.ts'

export interface Outputs {
  readonly list: readonly Output[]
  readonly choice: OutputChoice
  /** What relative destinations are relative to. */
  readonly directory: string
  /** `--cache-to` and `--cache-from`. */
  readonly caches: { readonly to: readonly CacheTarget[]; readonly from: readonly CachePlace[] }
  /** `--load`, or `-o type=docker` without a destination. */
  readonly load: boolean
}

/** Reads -o; what it says of pushing and compression belongs to the build itself. */
export async function readOutputs(options: Options, directory: string): Promise<Outputs> {
  const given = strings(options['output'])
  const { parseOutput } = given.length > 0 ? await import('../outputs/parse.ts') : { parseOutput: undefined }
  const list = parseOutput ? given.map(parseOutput) : []
  const compression = list.find(output => output.compression !== undefined)?.compression
  const caches = {
    to: strings(options['cacheTo']).map(text => parseCacheTo(text, directory)),
    from: strings(options['cacheFrom']).map(text => parseCacheFrom(text, directory)),
  }
  const level = list.find(output => output.compressionLevel !== undefined)?.compressionLevel
  return {
    list,
    choice: {
      ...(compression === undefined ? {} : { compression }),
      ...(level === undefined ? {} : { level }),
      annotations: {
        manifest: Object.assign({}, ...list.map(output => output.annotations.manifest)),
        index: Object.assign({}, ...list.map(output => output.annotations.index)),
      },
      exclude: [
        ...[...list.map(output => output.dest), options['iidfile'], options['metadataFile']].flatMap(file =>
          typeof file === 'string' && file !== '-' ? [resolve(directory, file)] : [],
        ),
        ...[...caches.to.map(to => to.place), ...caches.from].flatMap(place =>
          place.kind === 'local' ? [place.folder] : [],
        ),
      ],
    },
    directory,
    caches,
    load: options['load'] === true || list.some(output => output.type === 'docker' && output.dest === undefined),
  }
}

export function reportMode(options: Options): ReportMode {
  if (options['quiet'] === true) return 'quiet'
  const given = options['progress'] as string | undefined
  if (given === 'rawjson') return 'json'
  if (given === 'none') return 'quiet'
  return (given as ReportMode | undefined) ?? 'auto'
}

/** Runs a request and does everything that follows it: outputs, files, loading, the result on stdout. Returns the exit code. */
export async function execute(
  request: RunRequest,
  options: Options,
  outputs: Outputs,
  signal: AbortSignal,
  root: string | undefined,
): Promise<number> {
  const stdout = terminal(1)
  if (outputs.list.length > 0) {
    const { checkOutputs } = await import('../outputs/write.ts')
    const services = request.services.map(service => service.name)
    checkOutputs(outputs.list, services, { stdout, directory: outputs.directory })
  }
  const report = startReport({
    mode: reportMode(options),
    stream: terminal(2),
    env: process.env,
    ...(root === undefined ? {} : { root }),
  })
  const warn = (message: string): void => report.emit({ type: 'warning', message })
  const tools = open(options, warn, fileOptions(options))
  try {
    const outcome = await run(request, { ...tools, emit: report.emit, signal })
    report.close()
    if (outcome.result.exitCode === 130) return 130
    const images = outcome.images.map(
      ({ service, index, members }): OutputImage => ({
        service: service.name,
        names: request.names(service),
        index,
        members,
      }),
    )
    const wanted = outputs.list.some(output => output.dest !== undefined) || outputs.load || options['iidfile']
    if (images.length > 0) await deliver(images, options, outputs, outcome, tools, signal)
    else if (wanted) say('nothing was written: no service is complete')
    printResult(request, options, outputs, outcome)
    if (outcome.result.cells.some(({ state }) => state === 'built' || state === 'failed')) prune(tools.store)
    return outcome.result.exitCode
  } finally {
    report.close()
    tools.store.close()
  }
}

/** What a run adds to the store may be more than the store is to keep. */
function prune(store: ReturnType<typeof open>['store']): void {
  const pruned = keepLimit(store)
  if (pruned !== undefined && pruned.bytes > 0)
    say(`the store kept more than ${bytes(store.limit!)}: freed ${bytes(pruned.bytes)}`)
}

async function deliver(
  images: readonly OutputImage[],
  options: Options,
  outputs: Outputs,
  { blobs }: RunOutcome,
  { store }: ReturnType<typeof open>,
  signal: AbortSignal,
): Promise<void> {
  const fetch = (descriptor: Parameters<typeof blobs.ensure>[0]): Promise<void> => blobs.ensure(descriptor, signal)
  const tools = {
    store,
    fetch,
    signal,
    stdout: terminal(1),
    emit: { warning: say },
    directory: outputs.directory,
    env: process.env,
  }
  const files = outputs.list.filter(output => output.dest !== undefined)
  if (files.length > 0) await (await import('../outputs/write.ts')).writeOutputs(files, images, tools)
  if (outputs.load) {
    const given = strings(options['platform'])
    const platform = given.length === 1 && !given[0]!.includes(',') ? parsePlatform(given[0]!) : undefined
    const { load } = await import('../outputs/load.ts')
    for (const { name, daemon, platform: which } of await load(images, { ...tools, ...(platform ? { platform } : {}) }))
      say(`loaded ${name} (${formatPlatform(which)}) into ${daemon}`)
  }
  const [idFile, metadataFile] = [options['iidfile'], options['metadataFile']]
  if (idFile === undefined && metadataFile === undefined) return
  const { writeIidFile, writeMetadataFile } = await import('../outputs/metadata.ts')
  if (typeof idFile === 'string') writeIidFile(resolve(outputs.directory, idFile), images)
  if (typeof metadataFile === 'string') writeMetadataFile(resolve(outputs.directory, metadataFile), images)
}

/** stdout carries the result: digest references, or JSON with --json. */
function printResult(request: RunRequest, options: Options, outputs: Outputs, { result, images }: RunOutcome): void {
  if (outputs.list.some(output => output.dest === '-')) return
  if (options['json'] === true) {
    print(JSON.stringify(result, null, 2))
    return
  }
  const right = images.filter(({ service }) => {
    const found = result.services.find(one => one.service === service.name)
    return found?.failure === undefined && found?.verified.every(check => check.ok)
  })
  for (const { service, index } of right) {
    const [name] = request.names(service)
    if (name) print(familiarReference({ registry: name.registry, repository: name.repository, digest: index.digest }))
  }
  const [first] = images
  if (!first || options['quiet'] === true || reportMode(options) === 'json' || !result.complete) return
  const name = request.names(first.service)[0]
  if (request.push || outputs.list.length > 0 || outputs.load || !name) return
  const host = formatPlatform(buildPlatform())
  const loadable = first.members.some(({ platform }) => formatPlatform(platform) === host)
  say(
    `in the store as ${familiarReference(name)}${images.length > 1 ? ` and ${images.length - 1} more` : ''}; to publish: add --push${loadable ? '; to run: add --load' : ''}`,
  )
}
