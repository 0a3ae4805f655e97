import { createHash } from 'node:crypto'
import { chmodSync, chownSync } from 'node:fs'
import { ArchimageError } from '../../errors/error.ts'
import type { Entry } from '../../layer/entry.ts'
import type { Tree } from '../../layer/tree.ts'
import type { LayerItem } from '../../layer/write.ts'
import type { RunMount, RunOp } from '../../plan/lowered.ts'
import type { SourceMatch } from '../../plan/sources.ts'
import type { StepMount } from '../../sandbox/step.ts'
import type { StepSettings } from '../steps.ts'
import type { CacheMounts } from './cache-mounts.ts'
import { hasSteps, identity, type Root } from './root.ts'
import { entryText } from './times.ts'

/** Where the files of a mount come from, and what stands for them in the key of the step. */
export type MountSource = { readonly text: string } & (
  | { readonly kind: 'files'; readonly match: SourceMatch }
  | { readonly kind: 'root'; readonly root: Root; readonly tree: Tree; readonly path: string }
)

/** A path in another root as a source. Throws NOT_FOUND when it is not there. */
export function rootSource(root: Root, tree: Tree, path: string, name: string): MountSource {
  const found = tree.resolve(path.slice(1))
  if (path !== '/' && found.entry === undefined)
    throw new ArchimageError('NOT_FOUND', `--mount: ${path} does not exist in ${name}`, {
      hint: 'check source= of the mount',
    })
  // What a RUN left is known by the step, without hashing it again; so is a whole root.
  const whole = path === '/' || root.kind !== 'items' || hasSteps(root)
  const text = whole ? `${identity(root)} ${path}` : contentBelow(tree, found.path)
  return { kind: 'root', text, root, tree, path }
}

function contentBelow(tree: Tree, path: string): string {
  const hash = createHash('sha256')
  for (const { path: full, entry } of tree.walk(path))
    hash.update(entryText(full.slice(path.length), entry, false)).update('\n')
  return hash.digest('hex')
}

export interface MountTools {
  readonly settings: StepSettings
  readonly caches: CacheMounts
  /** The directories of a root. */
  readonly directories: (root: Root) => Promise<readonly string[]>
  /** A copy of what a context shows, below the name `files`; `key` stands for all of it. */
  readonly copy: (key: string, items: () => readonly LayerItem[]) => Promise<string>
  /** Fills an empty directory. */
  readonly write: (directory: string, items: readonly LayerItem[]) => Promise<void>
  /** A socket that leads to the agent. */
  readonly agent: (paths: readonly string[]) => Promise<string>
  readonly signal: AbortSignal
}

export interface PreparedMounts {
  readonly mounts: readonly StepMount[]
  /** Secrets that are variables, `NAME=value`. */
  readonly env: readonly string[]
  /** Gives cache mounts back. */
  release(): void
}

/** What the mounts of a step are on this machine. `sources` stand beside `op.mounts`. */
export async function prepareMounts(
  op: RunOp,
  sources: readonly (MountSource | undefined)[],
  tools: MountTools,
): Promise<PreparedMounts> {
  const mounts: StepMount[] = []
  const env: string[] = []
  const taken = new Map<string, Awaited<ReturnType<CacheMounts['take']>>>()
  const release = (): void => {
    for (const one of taken.values()) one.release()
  }
  try {
    for (const [i, mount] of op.mounts.entries()) {
      if (mount.kind === 'secret') secretMount(mount)
      else if (mount.kind === 'cache') mounts.push(await cacheMount(mount, sources[i]!))
      else if (mount.kind === 'bind') mounts.push(await bindMount(mount, sources[i]!))
      else if (mount.kind === 'ssh') mounts.push(...(await sshMount(mount)))
      else if (mount.kind === 'tmpfs') mounts.push(mount)
      else
        mounts.push({
          ...{ kind: 'bytes', target: mount.target, bytes: Buffer.from(mount.content) },
          ...{ mode: 0o755, uid: 0, gid: 0 },
        })
    }
  } catch (error) {
    release()
    throw error
  }
  return { mounts, env, release }

  async function bindMount(mount: RunMount & { kind: 'bind' }, source: MountSource): Promise<StepMount> {
    const { target, readOnly } = mount
    if (source.kind === 'root')
      return { kind: 'layers', target, lowers: await tools.directories(source.root), path: source.path, readOnly }
    const path = `${await tools.copy(source.text, () => filesOf(source.match))}/files`
    return readOnly
      ? { kind: 'directory', target, source: path, readOnly }
      : { kind: 'scratch-copy', target, source: path }
  }

  async function cacheMount(mount: RunMount & { kind: 'cache' }, source: MountSource): Promise<StepMount> {
    const seed =
      source.kind === 'root' && source.root.kind === 'empty'
        ? undefined
        : { key: source.text, fill: (directory: string) => fill(directory, source, mount.target) }
    // Two mounts of one step may be the same directory: it is taken once.
    const key = JSON.stringify([mount.id, mount.owner, seed?.key])
    const directory = taken.get(key) ?? (await tools.caches.take(mount, seed, tools.signal))
    taken.set(key, directory)
    return { kind: 'directory', target: mount.target, source: directory.path, readOnly: mount.readOnly }
  }

  async function fill(directory: string, source: MountSource, target: string): Promise<void> {
    const { top, below } = source.kind === 'root' ? itemsBelow(source.tree, source.path) : matched(source.match)
    if (top.type !== 'dir')
      throw new ArchimageError('STEP_FAILED', `--mount: the cache at ${target} begins with something that is no folder`)
    await tools.write(directory, below)
    chownSync(directory, top.uid, top.gid)
    chmodSync(directory, top.mode)
  }

  function secretMount({ id, target, env: variable, required, mode, uid, gid }: RunMount & { kind: 'secret' }): void {
    const secret = tools.settings.secrets.get(id)
    if (secret === undefined) {
      if (!required) return
      throw new ArchimageError('USAGE', `the step needs the secret "${id}", which was not given`, {
        hint: `give it with --secret id=${id},src=FILE or --secret id=${id},env=VARIABLE`,
      })
    }
    if (variable !== undefined) env.push(`${variable}=${Buffer.from(secret.bytes).toString('utf8')}`)
    if (target !== undefined) mounts.push({ kind: 'bytes', target, bytes: secret.bytes, mode, uid, gid })
  }

  async function sshMount({ id, target, required, mode, uid, gid }: RunMount & { kind: 'ssh' }): Promise<StepMount[]> {
    const paths = tools.settings.agents.get(id)
    if (paths !== undefined) return [{ kind: 'socket', target, source: await tools.agent(paths), mode, uid, gid }]
    if (!required) return []
    throw new ArchimageError('USAGE', `the step needs the SSH agent "${id}", which was not given`, {
      hint: `give it with --ssh ${id}${id === 'default' ? '' : '=$SSH_AUTH_SOCK'}`,
    })
  }
}

/** What a context shows at a path, as items below the name `files`. */
function filesOf(match: SourceMatch): LayerItem[] {
  const { top, below } = matched(match)
  return [{ path: 'files', entry: top }, ...below.map(item => ({ ...item, path: `files/${item.path}` }))]
}

interface Items {
  readonly top: Entry
  readonly below: readonly LayerItem[]
}

function matched({ entry, below }: SourceMatch): Items {
  return { top: entry, below: below.map(({ path, entry: one }) => ({ path, entry: one })) }
}

function itemsBelow(tree: Tree, path: string): Items {
  const { path: real } = tree.resolve(path.slice(1))
  const [top, ...below] = tree.walk(real)
  const start = real === '' ? 0 : real.length + 1
  return {
    top: top!.entry,
    below: below.map(({ path: full, entry }) => ({ path: full.slice(start), entry })),
  }
}
