import { randomBytes } from 'node:crypto'
import { ArchimageError, cancelled, isArchimageError } from '../errors/error.ts'
import { redact } from '../errors/redact.ts'
import { hexOf } from '../oci/digest.ts'
import { formatPlatform } from '../oci/platform.ts'
import type { BaseImage } from '../plan/lowered.ts'
import { runProgram } from '../sys/spawn.ts'
import { streamProgram } from '../sys/stream-program.ts'
import { imageArchive } from './bases.ts'
import type { BuildTools, Cell } from './engine.ts'
import { folderImage } from './folder-image.ts'

/**
 * Images in the image store of docker or podman for the time of a run: bases that go in by `load`, results that come out by
 * `save`. They have names of this run only, and `close` takes those away.
 */
export class ImageKeeper {
  /** Where the images of this run are called so. */
  readonly repository: string
  readonly #command: readonly string[]
  readonly #engine: 'docker' | 'podman'
  readonly #env: NodeJS.ProcessEnv | undefined
  readonly #loaded = new Map<string, Promise<string>>()
  readonly #names: string[] = []

  /** `command`: the program and what stands before its subcommands. */
  constructor(command: readonly string[], engine: 'docker' | 'podman', env?: NodeJS.ProcessEnv) {
    this.#command = command
    this.#engine = engine
    this.#env = env
    this.repository = `localhost/archimage-${randomBytes(8).toString('hex')}`
  }

  /** The same for a named folder of a cell. */
  folder(path: string, { directories, platform }: Cell, tools: BuildTools): Promise<string> {
    const key = `${path} ${formatPlatform(platform)}`
    let promise = this.#loaded.get(key)
    if (!promise) {
      promise = folderImage(path, directories.get(path)!, platform, tools).then(image => this.load(image, tools))
      this.#loaded.set(key, promise)
      promise.catch(() => this.#loaded.delete(key))
    }
    return promise
  }

  /** Makes an image that is whole in the store known there, once for all cells; gives its name. */
  load(image: BaseImage, tools: BuildTools): Promise<string> {
    const { digest } = image.manifest
    let promise = this.#loaded.get(digest)
    if (!promise) {
      promise = this.#load(image, tools)
      this.#loaded.set(digest, promise)
      promise.catch(() => this.#loaded.delete(digest))
    }
    return promise
  }

  async #load(image: BaseImage, tools: BuildTools): Promise<string> {
    const tag = hexOf(image.manifest.digest).slice(0, 16)
    const name = `${this.repository}/base:${tag}`
    this.#names.push(name)
    // One that is there already, whoever brought it, only gets a name more.
    const tagged = await this.#call(['tag', hexOf(image.manifest.config.digest), name], tools.signal)
    if (tagged.code === 0) return name
    const archive = await imageArchive(image, `${this.repository}/base`, tag, tools)
    let failure: unknown
    const said: Buffer[] = []
    const ended = await this.#stream(['load'], tools.signal, {
      input: watched(archive, error => {
        failure = error
      }),
      stderr: chunk => void said.push(Buffer.from(chunk)),
    })
    if (failure !== undefined) throw failure
    if (ended.code !== 0) throw this.#failed(`did not take ${image.name}`, said)
    return name
  }

  /** The image as an archive, piece by piece. */
  async save(name: string, take: (chunk: Uint8Array) => Promise<void>, signal: AbortSignal): Promise<void> {
    const said: Buffer[] = []
    const format = this.#engine === 'podman' ? ['--format', 'docker-archive'] : []
    const stderr = (chunk: Uint8Array): void => void said.push(Buffer.from(chunk))
    const ended = await this.#stream(['save', ...format, name], signal, { stdout: take, stderr })
    if (ended.code !== 0) throw this.#failed('did not give back what it built', said)
  }

  /** A name that is not needed any more. */
  drop(name: string): void {
    this.#names.push(name)
  }

  /** Takes the names of this run away. Layers that the engine's own cache wants stay there. */
  async close(): Promise<void> {
    const names = this.#names.splice(0)
    const words = this.#engine === 'podman' ? ['untag'] : ['rmi', '--no-prune']
    const signal = new AbortController().signal
    if (this.#engine === 'podman') for (const name of names) await this.#call([...words, name], signal)
    else if (names.length > 0) await this.#call([...words, ...names], signal)
  }

  #call(args: readonly string[], signal: AbortSignal) {
    const [program = '', ...before] = this.#command
    return runProgram(program, [...before, ...args], { signal, ...(this.#env ? { env: this.#env } : {}) })
  }

  async #stream(args: readonly string[], signal: AbortSignal, streams: Parameters<typeof streamProgram>[2]) {
    const [program = '', ...before] = this.#command
    const env = this.#env ? { env: this.#env } : {}
    const ended = await streamProgram(program, [...before, ...args], { signal, ...env, ...streams })
    if (signal.aborted) throw cancelled(signal.reason)
    return ended
  }

  #failed(what: string, said: readonly Buffer[]): ArchimageError {
    const why = redact(Buffer.concat(said).toString().trim().slice(-1000))
    return new ArchimageError('DAEMON', `${this.#engine} ${what}: ${why || 'it does not say why'}`, {
      hint: `see that ${this.#engine} works and that its disk has space: ${this.#engine} info`,
    })
  }
}

async function* watched(
  archive: AsyncIterable<Uint8Array>,
  failed: (error: unknown) => void,
): AsyncGenerator<Uint8Array> {
  try {
    yield* archive
  } catch (error) {
    failed(isArchimageError(error) ? error : (error as Error))
    throw error
  }
}
