import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type BuildKit, peerOrThrow, run } from '../peers/index.ts'
import type { Case } from './case.ts'
import { Context } from './context.ts'
import { type Image, layoutOfArchive, readImages } from './image.ts'
import type { Layout } from './site.ts'

/** What a builder made of a case: images by platform, or its refusal. */
export type Result =
  | { readonly images: ReadonlyMap<string, Image> }
  | { readonly refusal: string; readonly lines: readonly number[] }

/** A case with its context written and its Dockerfile's placeholders filled. */
export interface Prepared {
  readonly case: Case
  readonly folder: string
  readonly contexts: Readonly<Record<string, string>>
  /** Where the context is, when it is no folder. */
  readonly context?: string
}

/** Fills in what stands for servers and commits. */
export type Fill = (text: string) => string

export function prepare(one: Case, folder: string, fill: Fill): Prepared {
  const context = new Context(join(folder, 'context'))
  if (one.files) one.files(context)
  else context.file('a')
  mkdirSync(join(folder, 'dockerfile'), { recursive: true })
  writeFileSync(join(folder, 'dockerfile', 'Dockerfile'), fill(one.dockerfile))
  if (one.ignoreBeside) writeFileSync(join(folder, 'dockerfile', 'Dockerfile.dockerignore'), one.ignoreBeside)
  const contexts = Object.entries(one.contexts ?? {}).map(([name, write]) => {
    if (typeof write === 'string') return [name, fill(write)]
    const named = new Context(join(folder, 'named', name))
    write(named)
    return [name, named.folder]
  })
  return {
    case: one,
    folder,
    contexts: Object.fromEntries(contexts),
    ...(one.context === undefined ? {} : { context: fill(one.context) }),
  }
}

const isRemote = (context: string): boolean => /^[a-z-]+:\/\//.test(context)
const LIMIT = 60_000

export async function buildWithBuildKit(
  { case: one, folder, contexts, context }: Prepared,
  buildkit: BuildKit,
  layout: Layout,
): Promise<Result> {
  const out = join(folder, 'buildkit.tar')
  const opts = [
    `platform=${(one.platforms ?? ['linux/amd64']).join()}`,
    ...(one.target === undefined ? [] : [`target=${one.target}`]),
    ...Object.entries(one.args ?? {}).map(([name, value]) => `build-arg:${name}=${value}`),
    ...Object.entries(one.labels ?? {}).map(([name, value]) => `label:${name}=${value}`),
    ...(context === undefined ? [] : [`context=${context}`]),
    ...(one.file === undefined ? [] : [`filename=${one.file}`]),
    // Else the frontend looks for it in the remote context.
    ...(context !== undefined && one.dockerfile !== '' ? ['dockerfilekey=dockerfile'] : []),
    ...Object.entries(contexts).map(
      ([name, at]) =>
        `context:${name}=${isRemote(at) ? at.replace(/^oci-layout:.*/, `oci-layout://layout@${layout.digest}`) : `local:${name}`}`,
    ),
  ]
  const folders = Object.fromEntries(Object.entries(contexts).filter(([, at]) => !isRemote(at)))
  const locals = { context: join(folder, 'context'), dockerfile: join(folder, 'dockerfile'), ...folders }
  const { code, stdout, stderr } = await run(
    [
      peerOrThrow('buildctl'),
      '--addr',
      buildkit.address,
      'build',
      '--progress=plain',
      '--frontend=dockerfile.v0',
      `--output=type=oci,dest=${out}`,
      ...opts.flatMap(opt => ['--opt', opt]),
      ...(Object.values(contexts).some(at => at.startsWith('oci-layout:'))
        ? ['--oci-layout', `layout=${layout.folder}`]
        : []),
      ...Object.entries(locals).flatMap(([name, path]) => ['--local', `${name}=${path}`]),
    ],
    { timeout: LIMIT },
  )
  return result(code, out, stdout + stderr)
}

export async function buildWithArchimage(
  { case: one, folder, contexts, context }: Prepared,
  command: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Promise<Result> {
  const out = join(folder, 'archimage.tar')
  const dockerfile = one.dockerfile === '' ? one.file : join(folder, 'dockerfile', 'Dockerfile')
  const { path, input } = await contextFor(one, folder, context)
  const { code, stdout, stderr } = await run(
    [
      ...command,
      'build',
      '--progress=plain',
      ...(dockerfile === undefined ? [] : ['-f', dockerfile]),
      '--platform',
      (one.platforms ?? ['linux/amd64']).join(),
      '-o',
      `type=oci,dest=${out}`,
      ...(one.target === undefined ? [] : ['--target', one.target]),
      ...Object.entries(one.args ?? {}).flatMap(([name, value]) => ['--build-arg', `${name}=${value}`]),
      ...Object.entries(one.labels ?? {}).flatMap(([name, value]) => ['--label', `${name}=${value}`]),
      ...Object.entries(contexts).flatMap(([name, path]) => ['--build-context', `${name}=${path}`]),
      path,
    ],
    { env, timeout: LIMIT, ...(input === undefined ? {} : { input }) },
  )
  return result(code, out, stdout + stderr)
}

async function contextFor(
  { through }: Case,
  folder: string,
  context: string | undefined,
): Promise<{ readonly path: string; readonly input?: Uint8Array }> {
  if (context === undefined) return { path: join(folder, 'context') }
  if (through === undefined) return { path: context }
  const bytes = new Uint8Array(await (await fetch(context)).arrayBuffer())
  if (through === 'stdin') return { path: '-', input: bytes }
  const path = join(folder, 'context.archive')
  writeFileSync(path, bytes)
  return { path }
}

function result(code: number, out: string, output: string): Result {
  if (code === 0) return { images: readImages(layoutOfArchive(out)) }
  rmSync(out, { force: true })
  // BuildKit names several places for a circle of stages.
  const lines = [...output.matchAll(/Dockerfile:(\d+)/g)].map(([, line]) => Number(line))
  return { refusal: output.slice(-3000), lines: [...new Set(lines)] }
}
