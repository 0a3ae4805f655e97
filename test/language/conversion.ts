import { parseDockerfile } from '../../src/dockerfile/parse.ts'
import { ArchimageError } from '../../src/errors/error.ts'
import type { ImageConfig } from '../../src/oci/config.ts'
import { sha256 } from '../../src/oci/digest.ts'
import { encodeImageManifest } from '../../src/oci/manifest.ts'
import { OCI } from '../../src/oci/media-types.ts'
import { parsePlatform } from '../../src/oci/platform.ts'
import { lower } from '../../src/plan/lower.ts'
import type { Lowered, Op, RunMount } from '../../src/plan/lowered.ts'
import { ownerNumber } from '../../src/plan/owner-number.ts'
import { joinPath } from '../../src/plan/paths.ts'
import { clean, nameOf } from '../../src/plan/posix.ts'
import type { Answer } from './oracle.ts'
import { IMAGES, type ProjectCase } from './projects.ts'

/** What becomes of a Dockerfile without building it, in a form in which it can be compared: config, history, what is executed. */
export interface Conversion {
  readonly config: unknown
  /** Operations of all stages that count, without order. */
  readonly ops: readonly string[]
}

/** Our own lowering. Throws what `lower` throws. */
export async function convert(one: ProjectCase): Promise<Conversion> {
  const lowered = await lower({
    dockerfile: parseDockerfile(one.dockerfile, 'Dockerfile'),
    platform: parsePlatform(one.platform),
    args: one.args,
    labels: one.labels,
    target: one.target,
    platformException: 'bases of the test are of one platform',
    image: async (reference, platform) => {
      const name = reference.replace(/:latest$/, '')
      const config = Object.hasOwn(IMAGES, name) ? (IMAGES[name] as unknown as ImageConfig) : undefined
      if (config === undefined) throw new ArchimageError('NOT_FOUND', `${reference} does not exist`)
      const blob = { mediaType: OCI.config, digest: sha256(name), size: 1 }
      const layers = config.rootfs.diff_ids.map(digest => ({ mediaType: OCI.layer, digest, size: 1 }))
      const manifest = encodeImageManifest({ docker: false, config: blob, layers })
      return { name: reference, config, platform, exact: true, manifest }
    },
  })
  return {
    config: plain(lowered.target.config),
    ops: unordered(usedStages(lowered).flatMap(stage => stage.ops.flatMap(op => opsOf(op, stage.platform.os)))),
  }
}

/** BuildKit keeps of a stage only what something comes out of. */
function usedStages({ stages, target }: Lowered): Lowered['target'][] {
  const used = new Set([target])
  for (const stage of used) {
    const add = (index: number): unknown => used.add(stages.get(index)!)
    if (stage.base.kind === 'stage') add(stage.base.stage)
    for (const op of stage.ops) {
      if (op.kind === 'copy' && op.from.kind === 'stage' && op.sources.length > 0) add(op.from.stage)
      if (op.kind === 'run')
        for (const mount of op.mounts)
          if ((mount.kind === 'bind' || mount.kind === 'cache') && mount.from.kind === 'stage') add(mount.from.stage)
    }
  }
  return [...used]
}

function opsOf(op: Op, os: string): string[] {
  if (op.kind === 'workdir') return [JSON.stringify(['mkdir', op.path, owner(op.user)])]
  if (op.kind === 'run') {
    const mounts = [...op.mounts.flatMap(mountOf), ...op.mounts.flatMap(secretVariable)]
    const scripts = op.mounts.flatMap(one => (one.kind === 'script' ? [['file', nameOf(one.target), one.content]] : []))
    return [['run', op.args, op.env, op.cwd, op.user, mounts], ...scripts].map(one => JSON.stringify(one))
  }
  const mode = op.chmod === undefined ? '' : /^[0-7]+$/.test(op.chmod) ? Number.parseInt(op.chmod, 8) : op.chmod
  return [
    ...op.sources.map(source => [
      ...['copy', op.parents ? 'parents' : joinPath('/', source, os, false), op.dest],
      ...[op.excludes, op.unpack, mode, owner(op.chown)],
    ]),
    ...op.files.flatMap(({ name, content }) => [
      ['file', name, content],
      ['copy file', name, op.dest, mode, owner(op.chown)],
    ]),
  ].map(one => JSON.stringify(one))
}

function mountOf(one: RunMount): readonly unknown[] {
  const { target } = one
  const how = (readOnly: boolean): string => (readOnly ? 'ro' : 'rw')
  switch (one.kind) {
    case 'script':
      return ['script']
    case 'bind':
      return [['bind', target, one.path, how(one.readOnly)]]
    case 'cache':
      return [['cache', target, one.owner ? '/cache' : one.path, how(one.readOnly), one.id, one.sharing]]
    case 'tmpfs':
      return [['tmpfs', target, one.size ?? 0]]
    case 'secret':
    case 'ssh':
      return target === undefined ? [] : [[one.kind, target, one.id, one.mode, one.uid, one.gid, one.required]]
  }
}

const secretVariable = (one: RunMount): readonly unknown[] =>
  one.kind === 'secret' && one.env !== undefined ? [['variable', one.env, one.id, one.required]] : []

function mountsOfGo({ mounts = [], secretenv = [] }: GoExec): readonly unknown[] {
  const files = mounts.slice(1).map(({ dest, selector = '/', readonly, mountType = 0, ...more }) => {
    // Sockets and secrets are seen from the root, also where BuildKit leaves that open.
    const target = clean(`/${dest}`)
    if (target.startsWith('/dev/pipes')) return 'script'
    const { ID = '', mode = 0, uid = 0, gid = 0, optional = false } = more.secretOpt ?? more.SSHOpt ?? {}
    const how = readonly ? 'ro' : 'rw'
    if (mountType === 1 || mountType === 2)
      return [mountType === 1 ? 'secret' : 'ssh', target, ID || 'default', mode, uid, gid, !optional]
    if (mountType === 4) return ['tmpfs', target, more.TmpfsOpt?.size ?? 0]
    if (mountType === 0) return ['bind', target, selector, how]
    const { ID: id = '', sharing = 0 } = more.cacheOpt ?? {}
    // Behind the namespace of cache mounts, which is empty here.
    return ['cache', target, selector, how, id.slice(1), ['shared', 'private', 'locked'][sharing]]
  })
  return [...files, ...secretenv.map(({ name, ID, optional = false }) => ['variable', name, ID, !optional])]
}

interface GoExec {
  readonly meta: { readonly args: string[]; readonly env?: string[]; readonly cwd: string; readonly user?: string }
  readonly mounts?: readonly {
    readonly dest: string
    readonly selector?: string
    readonly readonly?: boolean
    readonly mountType?: number
    readonly cacheOpt?: { readonly ID?: string; readonly sharing?: number }
    readonly secretOpt?: GoSecret
    readonly SSHOpt?: GoSecret
    readonly TmpfsOpt?: { readonly size?: number }
  }[]
  readonly secretenv?: readonly { readonly ID: string; readonly name: string; readonly optional?: boolean }[]
}

interface GoSecret {
  readonly ID?: string
  readonly mode?: number
  readonly uid?: number
  readonly gid?: number
  readonly optional?: boolean
}

/** The same of BuildKit's answer to `convert`. */
export function conversionOfAnswer(answer: Answer): Conversion {
  const { image, ops } = answer as unknown as { readonly image: object; readonly ops: readonly GoOp[] }
  return { config: plain(image), ops: unordered(ops.flatMap(opsOfGo)) }
}

interface GoOp {
  readonly Op?: {
    readonly exec?: GoExec
    readonly file?: { readonly actions: readonly { readonly Action: GoAction }[] }
  }
}

interface GoOwner {
  readonly user?: GoUser
  readonly group?: GoUser
}

interface GoUser {
  readonly User?: { readonly byName?: { readonly name?: string }; readonly byId?: number }
}

function ownerOfGo({ user, group }: GoOwner = {}): string {
  const text = (one: GoUser | undefined): string | number =>
    one?.User?.byName ? (one.User.byName.name ?? '') : one ? (one.User?.byId ?? 0) : ''
  return `${text(user)}:${text(group)}`
}

/** Numbers as numbers, `root` as the one that it is; a part that is left empty is 0. */
function owner(text = ''): string {
  if (text === '') return ':'
  const [user = '', group] = text.split(/:(.*)/s)
  const part = (word: string): string | number => {
    const number = word === '' ? 0 : ownerNumber(word)
    return number === undefined ? word : number >>> 0
  }
  return `${part(user)}:${group === undefined ? '' : part(group)}`
}

interface GoAction {
  readonly mkdir?: { readonly path: string; readonly owner?: GoOwner }
  readonly mkfile?: { readonly path: string; readonly data?: string }
  readonly copy?: {
    readonly src: string
    readonly dest: string
    readonly mode?: number
    readonly modeStr?: string
    readonly include_patterns?: readonly string[]
    readonly exclude_patterns?: readonly string[]
    readonly attemptUnpackDockerCompatibility?: boolean
    readonly allowWildcard?: boolean
    readonly owner?: GoOwner
  }
}

function opsOfGo({ Op: { exec, file } = {} }: GoOp): string[] {
  if (exec) {
    const { args, env = [], cwd, user = '' } = exec.meta
    const socket = env.map(pair => pair.replace(/^(SSH_AUTH_SOCK=)(.*)/, (_, name, path) => name + clean(`/${path}`)))
    return [JSON.stringify(['run', args, socket, cwd, user, mountsOfGo(exec)])]
  }
  return (file?.actions ?? []).flatMap(({ Action: { mkdir, mkfile, copy } }) => {
    const one = ((): readonly unknown[] | undefined => {
      if (mkdir) return mkdir.path === '/cache' ? undefined : ['mkdir', mkdir.path, ownerOfGo(mkdir.owner)]
      if (mkfile) return ['file', mkfile.path.slice(1), Buffer.from(mkfile.data ?? '', 'base64').toString()]
      if (!copy) return undefined
      const { src, dest, exclude_patterns: excludes = [], include_patterns: parents, allowWildcard, modeStr } = copy
      const mode = modeStr || (copy.mode === -1 ? '' : (copy.mode ?? 0))
      if (!allowWildcard) return ['copy file', src.slice(1), dest, mode, ownerOfGo(copy.owner)]
      const unpack = copy.attemptUnpackDockerCompatibility ?? false
      return ['copy', parents ? 'parents' : src, dest, excludes, unpack, mode, ownerOfGo(copy.owner)]
    })()
    return one === undefined ? [] : JSON.stringify(one)
  })
}

const unordered = (ops: readonly string[]): readonly string[] => [...new Set(ops)].sort()

/** Without null and empty lists, in one order; without times, layers and what only exists when something is built. */
function plain(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plain)
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).filter(
    ([key, inner]) =>
      inner !== null &&
      inner !== undefined &&
      !(Array.isArray(inner) && inner.length === 0) &&
      key !== 'created' &&
      key !== 'rootfs',
  )
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, inner]) => [key, plain(inner)]))
}
