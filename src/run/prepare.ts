import type { Context } from '../context/context.ts'
import { commitTime } from '../context/epoch.ts'
import { formatLocation, type Location, parseLocation } from '../context/location.ts'
import type { Dockerfile } from '../dockerfile/ast.ts'
import type { BuildOptions, Cell } from '../engines/engine.ts'
import type { TimePolicy } from '../engines/native/times.ts'
import { isFresh, type StepSettings } from '../engines/steps.ts'
import { ArchimageError } from '../errors/error.ts'
import type { Finding } from '../lint/finding.ts'
import type { LintOptions } from '../lint/lint.ts'
import type { KnownImage } from '../lint/stage-views.ts'
import type { ImageManifest } from '../oci/manifest.ts'
import { formatPlatform, type Platform, selectPlatform } from '../oci/platform.ts'
import { parseReference } from '../oci/reference.ts'
import { contextNames, namedContext } from '../plan/context-names.ts'
import { type ContextView, findIn } from '../plan/context-view.ts'
import type { PlannedCell } from '../plan/graph.ts'
import { type CellKey, cellKey, type FileUse, fileUses } from '../plan/key.ts'
import { lower, type NamedContext } from '../plan/lower.ts'
import type { BaseImage, Lowered } from '../plan/lowered.ts'
import { placedAt } from '../plan/placed.ts'
import { proxyVariables, withProxies } from '../plan/proxies.ts'
import { remoteId } from '../plan/remote.ts'
import type { StepPolicy } from '../plan/run-op.ts'
import type { Project, Service, Timestamps } from '../project/project.ts'
import { imageName, matchServiceReference } from '../project/references.ts'
import type { Records } from '../store/records.ts'
import { BlobFetcher } from './blobs.ts'
import { Contexts, type Opened, secretOf } from './contexts.ts'
import { type DockerfileSettings, Dockerfiles } from './dockerfiles.ts'
import { resolveEpoch } from './epoch.ts'
import type { Emit } from './events.ts'
import { findingsOf, knownBase } from './findings.ts'
import { Images, type LookedUp } from './images.ts'
import { type CheckOptions, rememberedFindings } from './remembered-findings.ts'
import type { RunRequest, RunTools } from './run.ts'

/** What all cells of a run have in common. */
export interface CellSettings extends DockerfileSettings {
  readonly docker: boolean
  readonly compression: BuildOptions['compression']
  readonly level?: number
  readonly workers?: number
  /** Wins over what the services say. */
  readonly timestamps?: Timestamps
  /** SOURCE_DATE_EPOCH of the environment: seconds, or what they come from. */
  readonly epoch?: string
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
}

export interface Prepared {
  readonly cell: Cell
  readonly key: string
  readonly parts: CellKey['parts']
  /** What checks of its Dockerfile find, without looking at anything that a build does not. Throws CHECK_FAILED. */
  readonly check: () => readonly Finding[]
  readonly warnings: readonly string[]
  readonly fallback?: string
  /** A stage of it shall run again (`--no-cache-filter`): what is known of the image does not count. */
  readonly fresh: boolean
}

/** What the times of a cell are, and its arguments with that in them. */
interface Moment {
  readonly args: Readonly<Record<string, string>>
  readonly times: TimePolicy
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
  private readonly contexts: Contexts
  private readonly dockerfiles: Dockerfiles
  private readonly records: Records
  private main: Opened | undefined

  constructor(input: {
    project: Project
    settings: CellSettings
    images: Images
    contexts: Contexts
    records: Records
  }) {
    this.records = input.records
    this.project = input.project
    this.settings = input.settings
    this.images = input.images
    this.contexts = input.contexts
    this.dockerfiles = new Dockerfiles(input.project.root, input.settings)
  }

  /** Opens what must be known before there is a plan: a context that is no folder, and the Dockerfile in it. */
  async open(services: readonly Service[]): Promise<void> {
    const { main } = this.settings
    const [service] = services
    if (main !== undefined && service !== undefined) {
      const location = withGitDir(main.location, this.args(service))
      this.main = isImage(location)
        ? await this.imageContext(location, service.platforms[0]!)
        : await this.contexts.open(location, { modes: service.modes, main: true })
    }
    for (const { dockerfile } of services) await this.dockerfiles.fetch(dockerfile, this.main, this.contexts)
  }

  dockerfileBytes(path: string): Uint8Array {
    return this.dockerfiles.bytes(path)
  }

  readonly readDockerfile = (path: string): Dockerfile => this.dockerfiles.at(path).dockerfile

  args(service: Service): Readonly<Record<string, string>> {
    return buildArguments(service, this.settings)
  }

  /** The Dockerfile of a cell with everything expanded and resolved. `seen` is told of each image that it stands on. */
  async lower(
    cell: Pick<PlannedCell, 'service' | 'platform' | 'dockerfile'>,
    upstream: Upstream,
    seen: (reference: string, wanted: Platform, image: BaseImage) => void = () => {},
    target = this.settings.target ?? cell.service.target,
    moment?: Moment,
  ): Promise<Lowered> {
    const { settings } = this
    const { service, platform, dockerfile } = cell
    const { args, times } = moment ?? (await this.moment(service, dockerfile, platform))
    const { fixed } = times
    const isNamed = Object.keys(service.buildContexts).length > 0
    return lower({
      dockerfile,
      platform,
      args,
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
      ...(isNamed ? { named: (name, wanted) => this.named(name, wanted, service, upstream) } : {}),
    })
  }

  /** Lowers the Dockerfile and computes the key. `upstream` has the images of the cells that this one needs. */
  async prepare(planned: PlannedCell, upstream: Upstream): Promise<Prepared> {
    const { service, platform, dockerfile, dockerfilePath } = planned
    const { settings } = this
    const moment = await this.moment(service, dockerfile, platform)
    const { args, times } = moment
    const target = settings.target ?? service.target
    const bases = new Map<string, KnownImage>()
    const seen = (reference: string, wanted: Platform, image: BaseImage): void =>
      void bases.set(`${reference} ${formatPlatform(wanted)}`, knownBase(image))
    const lowered = await this.lower(planned, upstream, seen, target, moment)
    const keep = times.mode === 'keep'
    const { tree, folder } = await this.mainContext(service, dockerfilePath, platform)
    const context = this.contexts.view(tree, keep)
    const directories = await this.directories(lowered, service, keep)
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
    const check = (): readonly Finding[] => {
      const asked = {
        ...this.checkOptions(service, this.context(service, dockerfilePath)),
        among: service.platforms,
        image: (reference: string, wanted: Platform) => bases.get(`${reference} ${formatPlatform(wanted)}`),
      }
      const find = (options: CheckOptions) => findingsOf(dockerfile, platform, options)
      return rememberedFindings(this.records, dockerfile, platform, asked, find)
    }
    const lowerVariant = lowered.bases.find(base => !base.exact)
    return {
      cell: {
        ...{ service, platform, lowered, context, directories, options },
        source: {
          ...this.dockerfiles.at(dockerfilePath),
          ...(target === undefined ? {} : { target }),
          ...{ args, policy: settings.policy, exclude: settings.exclude },
          ...(folder === undefined ? {} : { folder }),
        },
        ...{ steps: settings.steps, proxies: proxyVariables(args) },
      },
      key,
      parts,
      check,
      warnings: [...lowered.warnings, ...exception(service, platform, lowered)],
      ...(lowerVariant ? { fallback: formatPlatform(lowerVariant.platform) } : {}),
      fresh: [...lowered.stages.values()].some(stage => isFresh(stage, settings.steps)),
    }
  }

  /** What the Dockerfile takes from named contexts and from elsewhere, brought here at the same time. */
  private async directories(
    { stages, file }: Lowered,
    service: Service,
    keep: boolean,
  ): Promise<ReadonlyMap<string, ContextView>> {
    const begun = [...stages.values()].flatMap(({ ops }) =>
      ops.flatMap(op =>
        fileUses(op).flatMap(use => {
          const { from } = use
          const own = from.kind === 'directory' ? [[from.path, this.namedFiles(from.path, service)] as const] : []
          const remotes = ('path' in use ? undefined : use.op.remotes) ?? []
          const others = remotes.map(remote => [remoteId(remote.from), this.contexts.source(remote.from)] as const)
          return [...own, ...others].map(([name, opened]) => ({ op, name, opened }))
        }),
      ),
    )
    // The first that fails in the Dockerfile's order is told, whatever fails first.
    for (const { opened } of begun) opened.catch(() => {})
    const out = new Map<string, ContextView>()
    for (const { op, name, opened } of begun)
      try {
        out.set(name, this.contexts.view((await opened).tree, keep))
      } catch (error) {
        throw placedAt(error, file, op)
      }
    return out
  }

  private async moment(service: Service, dockerfile: Dockerfile, platform: Platform): Promise<Moment> {
    const { settings, main, contexts } = this
    const { buildContexts } = service
    const about = { dockerfile, platform, args: this.args(service), buildContexts, main, contexts }
    const { args, epoch } = await resolveEpoch({ ...about, root: this.project.root })
    const { timestamps = service.timestamps } = settings
    const commit = settings.main?.location.kind === 'git' && timestamps === 'commit' ? main?.time : undefined
    return { args, times: buildTimes(timestamps, epoch ?? commit, service.context) }
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
    // Only triggers of images that nobody has read yet can name what the Dockerfiles do not.
    if (!found)
      throw new ArchimageError(
        'NOT_FOUND',
        `service ${name} is named by an ONBUILD trigger of a base, and was not built before`,
        {
          hint: `name it in build-contexts (${name}: service:${name}), so that it is built first`,
        },
      )
    return 'manifest' in found ? found : this.images.local(`service ${name}`, found, true, name)
  }

  private async named(
    name: string,
    platform: Platform,
    service: Service,
    upstream: Upstream,
  ): Promise<NamedContext | undefined> {
    const value = namedContext(service.buildContexts, name, platform)
    if (value === undefined) return undefined
    const location = parseLocation(value, this.project.root)
    if (location.kind === 'service')
      return { kind: 'image', image: await this.serviceImage(location.name, platform, upstream) }
    if (!isImage(location)) return { kind: 'directory', path: formatLocation(value, this.project.root) }
    if (location.kind === 'image' && location.reference === 'scratch') return { kind: 'scratch' }
    return { kind: 'image', image: await this.imageAt(location, platform) }
  }

  /** What checks of a service's Dockerfile have to know, but for its images. */
  checkOptions(service: Service, context: Context | undefined): LintOptions {
    const target = this.settings.target ?? service.target
    return {
      args: this.args(service),
      ...(target === undefined ? {} : { target }),
      ...(service.platformException === undefined ? {} : { platformException: service.platformException }),
      contexts: name => isNamedContext(service, name),
      ...(context?.leavesOut ? { ignored: source => context.leavesOut!(source) } : {}),
    }
  }

  /** Of an image it is what that has for the platform. */
  private mainContext({ context, modes }: Service, dockerfile: string, platform: Platform): Promise<Opened> {
    const location = this.settings.main?.location
    if (location !== undefined && isImage(location)) return this.imageContext(location, platform)
    if (this.main !== undefined) return Promise.resolve(this.main)
    return this.contexts.open({ kind: 'path', path: context }, { modes, dockerfile })
  }

  private async imageContext(location: ImageLocation, platform: Platform): Promise<Opened> {
    return this.contexts.image(await this.imageAt(location, platform))
  }

  private imageAt(location: ImageLocation, platform: Platform): Promise<BaseImage> {
    return location.kind === 'layout'
      ? this.images.layout(location, platform)
      : this.images.image(location.reference, platform)
  }

  /** A named context that is files. */
  private namedFiles(location: string, { modes }: Service): Promise<Opened> {
    return this.contexts.open(parseLocation(location, this.project.root), { modes })
  }

  /** The build context of a service, where it is a folder. Throws CONTEXT_INVALID. */
  context({ context }: Service, dockerfile: string): Context | undefined {
    return this.main === undefined ? this.contexts.folder(context, dockerfile) : undefined
  }

  /** Keeps what was hashed for the next run. */
  save(): void {
    this.contexts.save()
  }
}

/** Everything of a run that reads, for whatever it is to do. Warnings go to `emit`. */
export function openPreparation(
  request: Pick<RunRequest, 'project' | 'settings' | 'pull' | 'offline'>,
  tools: Pick<RunTools, 'store' | 'registry' | 'signal'> & { readonly emit: Emit },
): { readonly preparation: Preparation; readonly blobs: BlobFetcher } {
  const { project, settings, pull, offline } = request
  const { store, registry, emit, signal } = tools
  const blobs = new BlobFetcher(store, registry, emit)
  const images = new Images({ store, registry, blobs, options: { pull, offline }, emit, signal })
  const contexts = new Contexts({
    ...{ store, client: registry.client, offline, emit, signal, env: process.env },
    exclude: settings.exclude,
    fetch: descriptor => blobs.ensure(descriptor, signal),
    secret: id => secretOf(settings.steps, id),
    ssh: settings.steps.agents.get('default') ?? [],
  })
  return { preparation: new Preparation({ project, settings, images, contexts, records: store.records }), blobs }
}

type ImageLocation = Location & { readonly kind: 'layout' | 'image' }

const isImage = (location: Location): location is ImageLocation =>
  location.kind === 'layout' || location.kind === 'image'

/** BuildKit's argument that keeps .git of a context. */
function withGitDir(location: Location, args: Readonly<Record<string, string>>): Location {
  const keep = /^(?:1|t|true)$/i.test(args['BUILDKIT_CONTEXT_KEEP_GIT_DIR'] ?? '')
  return location.kind === 'git' && keep ? { ...location, git: { ...location.git, keepGitDir: true } } : location
}

/** Whether a named context stands for a stage or an image of this name, for some platform. */
export function isNamedContext({ buildContexts }: Pick<Service, 'buildContexts'>, name: string): boolean {
  const names = Object.keys(buildContexts).map(key => key.replace(/::.*$/s, ''))
  return contextNames(name).some(one => names.includes(one))
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
    ...(epoch === undefined ? {} : { SOURCE_DATE_EPOCH: epoch }),
    ...args,
  }
  return withProxies(all, proxies)
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
