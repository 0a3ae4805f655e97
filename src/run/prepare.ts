import { relative, resolve } from 'node:path'
import { type Context, openContext } from '../context/context.ts'
import { commitTime } from '../context/epoch.ts'
import type { HashMemory } from '../context/hash-memory.ts'
import { emptyContext } from '../context/stdin.ts'
import type { Dockerfile } from '../dockerfile/ast.ts'
import { parseDockerfile } from '../dockerfile/parse.ts'
import type { BuildOptions, Cell, ContextFolder } from '../engines/engine.ts'
import type { TimePolicy } from '../engines/native/times.ts'
import { isFresh, type StepSettings } from '../engines/steps.ts'
import { ArchimageError } from '../errors/error.ts'
import type { Finding } from '../lint/finding.ts'
import type { LintOptions } from '../lint/lint.ts'
import type { KnownImage } from '../lint/stage-views.ts'
import type { ImageManifest } from '../oci/manifest.ts'
import { formatPlatform, type Platform, selectPlatform } from '../oci/platform.ts'
import { parseReference } from '../oci/reference.ts'
import { contextNames } from '../plan/context-names.ts'
import { ContextView, findIn, folderTree } from '../plan/context-view.ts'
import type { PlannedCell } from '../plan/graph.ts'
import { cellKey, type FileUse, fileUses } from '../plan/key.ts'
import { lower, type NamedContext } from '../plan/lower.ts'
import type { BaseImage, Lowered } from '../plan/lowered.ts'
import { placedAt } from '../plan/placed.ts'
import { proxyVariables, withProxies } from '../plan/proxies.ts'
import { remoteId } from '../plan/remote.ts'
import type { StepPolicy } from '../plan/run-op.ts'
import type { Project, Service, Timestamps } from '../project/project.ts'
import { imageName, matchServiceReference } from '../project/references.ts'
import type { Store } from '../store/store.ts'
import { readRegularFile } from '../sys/files.ts'
import { findingsOf, knownBase } from './findings.ts'
import type { Images, LookedUp } from './images.ts'
import { hashMemory, type Remotes } from './remotes.ts'

/** What all cells of a run have in common. */
export interface CellSettings {
  readonly docker: boolean
  readonly compression: BuildOptions['compression']
  readonly level?: number
  readonly workers?: number
  /** Wins over what the services say. */
  readonly timestamps?: Timestamps
  /** SOURCE_DATE_EPOCH, in seconds. */
  readonly epoch?: number
  /** --build-arg, --label, --annotation: over those of the service. */
  readonly args: Readonly<Record<string, string>>
  readonly labels: Readonly<Record<string, string>>
  readonly annotations: Readonly<Record<string, string>>
  readonly target?: string
  /** What RUN steps are given beside what the Dockerfile says. */
  readonly policy: StepPolicy
  readonly steps: StepSettings
  /** Build arguments that docker's configuration gives to every build. */
  readonly proxies: Readonly<Record<string, string>>
  /** Paths that are never part of a context: what the run itself writes. */
  readonly exclude: readonly string[]
  /** The Dockerfile's text when it does not come from a file (standard input), by path. */
  readonly dockerfiles: ReadonlyMap<string, Uint8Array>
  /** The context is empty: a Dockerfile came alone. */
  readonly emptyContext?: boolean
}

export interface Prepared {
  readonly cell: Cell
  readonly key: string
  readonly parts: Readonly<Record<string, string>>
  /** What checks of its Dockerfile found, without looking at anything that a build does not. */
  readonly findings: readonly Finding[]
  readonly warnings: readonly string[]
  readonly fallback?: string
  /** A stage of it shall run again (`--no-cache-filter`): what is known of the image does not count. */
  readonly fresh: boolean
}

/** The image of a service that a cell needs: its manifest, or for checks what it would be. */
export type Upstream = (
  service: string,
  platform: Platform,
) => ImageManifest | BaseImage | undefined | Promise<BaseImage | undefined>

/** Reads Dockerfiles and contexts once per run and turns planned cells into cells that an engine can build. */
export class Preparation {
  private readonly project: Project
  private readonly settings: CellSettings
  private readonly images: Images
  private readonly remotes: Remotes
  private readonly memory: HashMemory
  private readonly dockerfiles = new Map<string, { readonly dockerfile: Dockerfile; readonly text: string }>()
  private readonly views = new Map<string, ContextView>()
  private readonly contexts = new Map<string, Context>()
  private readonly folders = new Map<ContextView, ContextFolder>()

  constructor(input: { project: Project; settings: CellSettings; images: Images; remotes: Remotes; store: Store }) {
    this.project = input.project
    this.settings = input.settings
    this.images = input.images
    this.remotes = input.remotes
    this.memory = hashMemory(input.store)
  }

  dockerfileBytes(path: string): Uint8Array {
    return dockerfileBytes(path, this.settings)
  }

  readonly readDockerfile = (path: string): Dockerfile => this.dockerfileAt(path).dockerfile

  private dockerfileAt(path: string): { readonly dockerfile: Dockerfile; readonly text: string } {
    let read = this.dockerfiles.get(path)
    if (!read) {
      const bytes = this.dockerfileBytes(path)
      const dockerfile = parseDockerfile(bytes, shortPath(path, this.project.root))
      read = { dockerfile, text: new TextDecoder().decode(bytes) }
      this.dockerfiles.set(path, read)
    }
    return read
  }

  args(service: Service): Readonly<Record<string, string>> {
    return buildArguments(service, this.settings)
  }

  /** The Dockerfile of a cell with everything expanded and resolved. `seen` is told of each image that it stands on. */
  lower(
    { service, platform, dockerfile }: Pick<PlannedCell, 'service' | 'platform' | 'dockerfile'>,
    upstream: Upstream,
    seen: (reference: string, wanted: Platform, image: BaseImage) => void = () => {},
    target = this.settings.target ?? service.target,
  ): Promise<Lowered> {
    const { settings } = this
    const { fixed } = buildTimes(settings.timestamps ?? service.timestamps, settings.epoch, service.context)
    return lower({
      dockerfile,
      platform,
      args: this.args(service),
      steps: settings.policy,
      labels: { ...service.labels, ...settings.labels },
      ...(target === undefined ? {} : { target }),
      ...(fixed === undefined ? {} : { epoch: fixed }),
      ...(service.platformException === undefined ? {} : { platformException: service.platformException }),
      image: async (reference, wanted) => {
        const image = await this.image(reference, wanted, service, upstream)
        seen(reference, wanted, image)
        return image
      },
      named: (name, wanted) => this.named(name, wanted, service, upstream),
    })
  }

  /** Lowers the Dockerfile and computes the key. `upstream` has the images of the cells that this one needs. */
  async prepare(planned: PlannedCell, upstream: Upstream): Promise<Prepared> {
    const { service, platform, dockerfile, dockerfilePath } = planned
    const { settings } = this
    const times = buildTimes(settings.timestamps ?? service.timestamps, settings.epoch, service.context)
    const target = settings.target ?? service.target
    const args = this.args(service)
    const bases = new Map<string, KnownImage>()
    const lowered = await this.lower(planned, upstream, (reference, wanted, image) =>
      bases.set(`${reference} ${formatPlatform(wanted)}`, knownBase(image)),
    )
    const context = this.view(service.context, dockerfilePath, service, times.mode === 'keep')
    const directories = new Map<string, ContextView>()
    for (const stage of lowered.stages.values())
      for (const op of stage.ops)
        try {
          for (const use of fileUses(op)) {
            if (use.from.kind === 'directory')
              directories.set(use.from.path, this.view(use.from.path, undefined, service, times.mode === 'keep'))
            for (const { from } of ('path' in use ? undefined : use.op.remotes) ?? [])
              directories.set(remoteId(from), await this.remotes.view(from, times.mode === 'keep'))
          }
        } catch (error) {
          throw placedAt(error, dockerfile.file, op)
        }
    const options: BuildOptions = {
      docker: settings.docker,
      compression: settings.compression,
      times,
      annotations: { ...service.annotations, ...settings.annotations },
      ...(settings.level === undefined ? {} : { level: settings.level }),
      ...(settings.workers === undefined ? {} : { workers: settings.workers }),
    }
    const files = (use: FileUse): string => {
      const view = use.from.kind === 'directory' ? directories.get(use.from.path)! : context
      try {
        if ('path' in use) return view.mounted(use.path).digest
        return findIn(use.op, { context, directories })
          .map(found => found.digest)
          .join()
      } catch (error) {
        throw placedAt(error, dockerfile.file, use.op)
      }
    }
    const { key, parts } = cellKey(
      lowered,
      {
        docker: settings.docker,
        compression: `${settings.compression} ${settings.level ?? ''}`,
        timestamps: times.mode,
        epoch: times.fixed,
        annotations: options.annotations,
      },
      files,
    )
    const folder = this.folders.get(context)
    const findings = findingsOf(dockerfile, platform, {
      ...this.checkOptions(service, this.context(service, dockerfilePath)),
      image: (reference, wanted) => bases.get(`${reference} ${formatPlatform(wanted)}`),
    })
    const lowerVariant = lowered.bases.find(base => !base.exact)
    return {
      cell: {
        ...{ service, platform, lowered, context, directories, options },
        source: {
          ...this.dockerfileAt(dockerfilePath),
          ...(target === undefined ? {} : { target }),
          ...{ args, policy: settings.policy, exclude: settings.exclude },
          ...(folder === undefined ? {} : { folder }),
        },
        ...{ steps: settings.steps, proxies: proxyVariables(args) },
      },
      key,
      parts,
      findings,
      warnings: [...lowered.warnings, ...exception(service, platform, lowered)],
      ...(lowerVariant ? { fallback: formatPlatform(lowerVariant.platform) } : {}),
      fresh: [...lowered.stages.values()].some(stage => isFresh(stage, settings.steps)),
    }
  }

  private async image(reference: string, platform: Platform, service: Service, upstream: Upstream) {
    const match = matchServiceReference(this.project, reference, service)
    // The project's names lead to what the last run built: who does not mean the service means the published image.
    if (match === undefined || !('service' in match))
      return this.images.image(reference, platform, this.isOurs(reference))
    return this.serviceImage(match.service.name, platform, upstream)
  }

  /** What an image that a Dockerfile names is, for checks. */
  async look(reference: string, platform: Platform, service: Service, upstream: Upstream): Promise<LookedUp> {
    const match = matchServiceReference(this.project, reference, service)
    if (match === undefined || !('service' in match))
      return this.images.look(reference, platform, this.isOurs(reference))
    const { config, platform: have } = await this.serviceImage(match.service.name, platform, upstream)
    return { index: true, platform: have, config }
  }

  private isOurs(text: string): boolean {
    const { registry, repository } = parseReference(text)
    return this.project.services.some(service => {
      const name = parseReference(imageName(this.project, service))
      return name.registry === registry && name.repository === repository
    })
  }

  private async serviceImage(name: string, platform: Platform, upstream: Upstream): Promise<BaseImage> {
    const found = await upstream(name, platform)
    if (!found) throw new Error(`${name} for ${formatPlatform(platform)} was not built before it was needed`)
    return 'manifest' in found ? found : this.images.local(`service ${name}`, found, true, name)
  }

  private async named(
    name: string,
    platform: Platform,
    service: Service,
    upstream: Upstream,
  ): Promise<NamedContext | undefined> {
    const value = Object.hasOwn(service.buildContexts, name) ? service.buildContexts[name] : undefined
    if (value === undefined) return undefined
    if (value.startsWith('docker-image://'))
      return { kind: 'image', image: await this.images.image(value.slice(15), platform) }
    if (value.startsWith('service:'))
      return { kind: 'image', image: await this.serviceImage(value.slice(8), platform, upstream) }
    if (/^[a-z][a-z0-9+.-]*:/i.test(value) && !/^[a-z]:[\\/]/i.test(value))
      throw new ArchimageError(
        'UNSUPPORTED',
        `the named context ${name}=${value} is of a kind that is not supported yet`,
        {
          hint: 'a directory, docker-image://REFERENCE and service:NAME are',
        },
      )
    return { kind: 'directory', path: resolve(this.project.root, value) }
  }

  /** What checks of a service's Dockerfile have to know, but for its images. */
  checkOptions(service: Service, context: Context | undefined): LintOptions {
    const target = this.settings.target ?? service.target
    return {
      args: this.args(service),
      ...(target === undefined ? {} : { target }),
      ...(service.platformException === undefined ? {} : { platformException: service.platformException }),
      contexts: name => contextNames(name).some(one => Object.hasOwn(service.buildContexts, one)),
      ...(context?.leavesOut ? { ignored: source => context.leavesOut!(source) } : {}),
    }
  }

  private view(root: string, dockerfile: string | undefined, service: Service, times: boolean): ContextView {
    const key = JSON.stringify([root, dockerfile, service.modes, times])
    let view = this.views.get(key)
    if (!view) {
      const empty = this.isEmpty(root, service)
      const context = this.context(service, dockerfile, root)
      view = new ContextView(folderTree(context, { modes: service.modes }), { times })
      const { root: path, ignoreFile } = context
      if (!empty && service.modes === 'context')
        this.folders.set(view, { root: path, ...(ignoreFile === undefined ? {} : { ignoreFile }) })
      this.views.set(key, view)
    }
    return view
  }

  private isEmpty(root: string, service: Service): boolean {
    return this.settings.emptyContext === true && root === service.context
  }

  /** A folder that a service copies from; without a root its build context. Throws CONTEXT_INVALID. */
  context(service: Service, dockerfile: string | undefined, root = service.context): Context {
    const key = JSON.stringify([root, dockerfile])
    let context = this.contexts.get(key)
    if (!context) {
      context = this.isEmpty(root, service)
        ? emptyContext()
        : openContext(root, {
            ...(dockerfile ? { dockerfile } : {}),
            memory: this.memory,
            exclude: this.settings.exclude,
          })
      this.contexts.set(key, context)
    }
    return context
  }

  /** Keeps what was hashed for the next run. */
  save(): void {
    for (const context of this.contexts.values()) context.save()
    this.remotes.save()
  }
}

/** Says that an image is not of its platform, with the reason that the project gives (platform-exception). */
function exception(service: Service, platform: Platform, { target, stages }: Lowered): string[] {
  let { base } = target
  while (base.kind === 'stage') base = stages.get(base.stage)!.base
  if (service.platformException === undefined || base.kind !== 'image') return []
  const { image } = base
  if (selectPlatform(platform, [image.platform])) return []
  const [wanted, have] = [formatPlatform(platform), formatPlatform(image.platform)]
  return [
    `the image for ${wanted} stands on ${image.name} for ${have}, as its project wants it: ${service.platformException}`,
  ]
}

/** All that --build-arg gives to a service's build, and what stands for it. */
export function buildArguments(
  service: Service,
  { args, epoch, proxies }: Pick<CellSettings, 'args' | 'epoch' | 'proxies'>,
): Readonly<Record<string, string>> {
  const all = {
    ...service.args,
    ...(epoch === undefined ? {} : { SOURCE_DATE_EPOCH: String(epoch) }),
    ...args,
  }
  return withProxies(all, proxies)
}

/** What a Dockerfile holds, on standard input or in its file. Throws DOCKERFILE_INVALID. */
export function dockerfileBytes(path: string, { dockerfiles }: Pick<CellSettings, 'dockerfiles'>): Uint8Array {
  return dockerfiles.get(path) ?? readDockerfileBytes(path)
}

const MAX_DOCKERFILE = 16 * 1024 * 1024

function readDockerfileBytes(path: string): Uint8Array {
  const read = readRegularFile(path, MAX_DOCKERFILE)
  if (typeof read === 'object') return read
  if (read === undefined)
    throw new ArchimageError('DOCKERFILE_INVALID', `there is no Dockerfile at ${path}`, {
      hint: 'name it with -f, or in archimage.yaml: dockerfile',
    })
  throw new ArchimageError('DOCKERFILE_INVALID', `${path} ${read}, so it is no Dockerfile`)
}

/** As people know the file: relative to where the project is, when it is below. */
export function shortPath(path: string, root: string): string {
  const short = relative(root, path)
  return short === '' || short.startsWith('..') ? path : short
}

/** The policy for times: SOURCE_DATE_EPOCH wins; `commit` without a commit is an error, never silently something else. */
export function buildTimes(mode: Timestamps, epoch: number | undefined, context: string): TimePolicy {
  if (epoch !== undefined) return { mode, fixed: epoch }
  if (mode !== 'commit') return { mode }
  const fixed = commitTime(context)
  if (fixed === undefined)
    throw new ArchimageError(
      'CONTEXT_INVALID',
      `timestamps: commit, but ${context} is in no git repository with a commit`,
      {
        hint: 'use timestamps: content, which needs no repository',
      },
    )
  return { mode, fixed }
}
