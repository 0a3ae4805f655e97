import { existsSync, mkdirSync, readdirSync, realpathSync, renameSync, rmSync, statSync } from 'node:fs'
import { basename, dirname, isAbsolute, join, relative, resolve, sep } from 'node:path'
import { ArchimageError } from '../errors/error.ts'
import { temporaryName } from '../sys/files.ts'
import { fileError, writeFileFrom, writeTo } from '../sys/target.ts'
import { changeIndex } from '../transports/layout.ts'
import { layoutArchive } from './archive.ts'
import { chooseMember, hasZstd, nameOf, type OutputImage, type OutputTools } from './image.ts'
import { dockerLayout, LAYOUT_FILE, type Layout, ociLayout, type Part, withImages } from './layout.ts'
import { load } from './load.ts'
import { writeFolder } from './local.ts'
import type { Output } from './parse.ts'
import { rootArchive } from './root-tar.ts'
import { readRoots } from './rootfs.ts'

export type { OutputImage, OutputMember, OutputTools } from './image.ts'

const PLACEHOLDER = '{service}'

/**
 * What can be known before anything is built: throws USAGE when outputs would overwrite each other, when several services go to one
 * destination, when an archive would go to a terminal, when a destination is of the wrong kind, or mode=delete could hit
 * something else than an earlier output.
 */
export function checkOutputs(
  outputs: readonly Output[],
  services: readonly string[],
  tools: Pick<OutputTools, 'stdout' | 'directory'>,
): void {
  const seen = new Set<string>()
  for (const output of outputs) {
    const { dest, type } = output
    if (dest === undefined) continue
    if (dest === '-') {
      if (seen.has('-')) throw usage('two outputs go to standard output', 'give one of them a file with dest=')
      if (tools.stdout.isTTY)
        throw usage(
          `type=${type} would write an archive to the terminal`,
          `name a file: -o type=${type},dest=image.tar, or send it through a pipe`,
        )
      seen.add('-')
    }
    if (services.length > 1 && !dest.includes(PLACEHOLDER))
      throw usage(
        `${services.length} services would all be written to ${dest === '-' ? 'standard output' : dest}`,
        dest === '-'
          ? `build one of them, or name files: dest=${PLACEHOLDER}.tar`
          : `put ${PLACEHOLDER} into dest: dest=${suggestion(dest)}`,
      )
    if (dest === '-') continue
    for (const service of services) {
      const path = pathOf(dest, service, tools)
      if (seen.has(path)) throw usage(`two outputs go to ${path}`)
      seen.add(path)
      try {
        checkPlace(output, path, tools)
      } catch (error) {
        throw fileError(error, `-o: writing ${path}`)
      }
    }
  }
}

/** Writes the files of all outputs that write files. Throws what checkOutputs throws, OUTPUT_FAILED, NO_SPACE, PERMISSION, CANCELLED. */
export async function writeOutputs(
  outputs: readonly Output[],
  images: readonly OutputImage[],
  tools: OutputTools,
): Promise<void> {
  const services = images.map(image => image.service)
  checkOutputs(outputs, services, tools)
  for (const output of outputs)
    for (const image of images) {
      if (output.type === 'docker' && output.dest === undefined) await load([image], tools)
      else if (output.dest !== undefined) await writeOne(output, image, output.dest, tools)
    }
}

async function writeOne(output: Output, image: OutputImage, dest: string, tools: OutputTools): Promise<void> {
  const { type } = output
  const { signal, stdout, store } = tools
  const path = dest === '-' ? '-' : pathOf(dest, image.service, tools)
  const send = (chunks: AsyncIterable<Uint8Array>): Promise<void> =>
    path === '-' ? writeTo(stdout.fd ?? 1, chunks, signal) : writeFileFrom(path, chunks, signal)
  if (type === 'oci' || type === 'docker') {
    const layout = type === 'oci' ? await ociLayout(image, tools) : await dockerFile(image, dest, tools)
    return output.tar ? await send(layoutArchive(layout, store)) : await writeLayout(path, layout, tools)
  }
  if (type !== 'tar' && type !== 'local') return
  const roots = await readRoots(image, output.platformSplit, tools)
  try {
    if (type === 'tar') await send(rootArchive(roots))
    else await writeFolder(path, roots, { mode: output.mode, signal, warn: tools.emit.warning })
  } finally {
    roots.content.close()
  }
}

async function dockerFile(image: OutputImage, dest: string, tools: OutputTools): Promise<Layout> {
  const remedy = `write all of them with -o type=oci,dest=${dest}, or build one with --platform`
  const member = chooseMember(image, undefined, remedy)
  if (hasZstd(member))
    tools.emit.warning(`${nameOf(image)} has zstd layers, which some older versions of docker cannot load`)
  return await dockerLayout(image, member, tools)
}

/** A layout as a folder. A layout that is there gets the image in addition; entries of the same names are replaced. */
async function writeLayout(path: string, layout: Layout, tools: OutputTools): Promise<void> {
  const { store, signal } = tools
  const write = async (root: string, part: Part): Promise<void> => {
    const file = join(root, part.path)
    // a blob that is there is complete, as it came by rename
    if ('blob' in part && statSync(file, { throwIfNoEntry: false })?.size === part.blob.size) return
    await writeFileFrom(file, 'blob' in part ? store.open(part.blob) : single(part.bytes), signal)
  }
  const writeAll = async (root: string): Promise<void> => {
    for (const part of [...layout.parts, LAYOUT_FILE]) await write(root, part)
    await changeIndex(root, file => withImages(file, layout.entries), signal)
  }
  try {
    if (existsSync(path)) return await writeAll(path)
    const temporary = join(dirname(path), `.${basename(path).slice(0, 100)}.${temporaryName()}`)
    try {
      mkdirSync(temporary, { recursive: true })
      await writeAll(temporary)
      renameSync(temporary, path)
    } catch (error) {
      rmSync(temporary, { recursive: true, force: true })
      throw error
    }
  } catch (error) {
    throw fileError(error, `writing ${path}`)
  }
}

async function* single(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes
}

function checkPlace({ type, tar, mode }: Output, path: string, { directory }: Pick<OutputTools, 'directory'>): void {
  const there = statSync(path, { throwIfNoEntry: false })
  const folder = type === 'local' || !tar
  if (there !== undefined && folder && !there.isDirectory())
    throw usage(`${path} is a file, and type=${type} writes a folder there`)
  if (there?.isDirectory() && !folder)
    throw usage(
      `${path} is a folder, and type=${type} writes a file there`,
      `for instance dest=${join(path, 'image.tar')}`,
    )
  if (there !== undefined && type !== 'local' && folder && !existsSync(join(path, 'index.json')))
    if (readdirSync(path).length > 0) throw usage(`${path} holds something else than an image layout`)
  if (mode !== 'delete') return
  const here = realpathSync(directory ?? process.cwd())
  const way = relative(here, there === undefined ? path : realpathSync(path))
  if (way === '' || way === '..' || way.startsWith(`..${sep}`) || isAbsolute(way))
    throw usage(
      `mode=delete would remove what is in ${path}, which is not a folder inside of ${here}`,
      'work in the folder above it, or leave mode=delete out',
    )
}

function pathOf(dest: string, service: string, { directory }: Pick<OutputTools, 'directory'>): string {
  return resolve(directory ?? process.cwd(), dest.replaceAll(PLACEHOLDER, service.replace(/[/\\]|^\.+$/g, '_')))
}

/** `dist/image.tar` becomes `dist/{service}.tar`, `out` becomes `out/{service}`. */
function suggestion(dest: string): string {
  const dot = basename(dest).indexOf('.')
  return dot < 1 ? join(dest, PLACEHOLDER) : join(dirname(dest), `${PLACEHOLDER}${basename(dest).slice(dot)}`)
}

function usage(message: string, hint?: string): ArchimageError {
  return new ArchimageError('USAGE', `-o: ${message}`, hint === undefined ? {} : { hint })
}
