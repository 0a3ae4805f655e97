import { setDefaultTimeout } from 'bun:test'
import { type ChildProcess, spawn } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { root } from '../../scripts/archimage.ts'
import type { RunResult } from '../../src/run/events.ts'
import { removeFolder, temporaryFolder } from '../peers/process.ts'

// Each of these tests runs the command several times, on machines that do other things as well.
setDefaultTimeout(60_000)

export interface Ended {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
  readonly seconds: number
}

export interface Options {
  readonly cwd?: string
  readonly env?: Readonly<Record<string, string | undefined>>
  readonly input?: string | Uint8Array
  /** Milliseconds after which the process is killed and the call rejects. */
  readonly timeout?: number
}

/** A process of archimage that runs; `ended` gives its exit code (128 + number for a signal) and all output. */
export interface Started {
  readonly child: ChildProcess
  readonly ended: Promise<Ended>
  /** Resolves when stdout or stderr have said something that matches; rejects when the process ends before. */
  said(pattern: RegExp): Promise<void>
}

const SIGNALS: Readonly<Record<string, number>> = { SIGINT: 2, SIGKILL: 9, SIGTERM: 15 }

/**
 * A folder for one test file with a store of its own, and an environment without anything of the user's. Everything that it
 * started is gone after `dispose`.
 */
export class Sandbox {
  readonly folder: string
  readonly home: string
  readonly #running = new Set<ChildProcess>()

  constructor(name: string) {
    this.folder = temporaryFolder(`archimage-${name}`)
    this.home = join(this.folder, 'store')
    mkdirSync(join(this.folder, 'home'))
    this.registries()
  }

  /** registries.conf of all commands: which registry stands for docker.io and the like. */
  registries(text = ''): void {
    writeFileSync(join(this.folder, 'registries.conf'), text)
  }

  /** Makes docker.io resolve to a registry on loopback. */
  mirror(address: string): void {
    this.registries(
      `[[registry]]\nprefix = "docker.io"\nlocation = "docker.io"\n[[registry.mirror]]\nlocation = "${address}"\ninsecure = true\n`,
    )
  }

  env(more: Options['env'] = {}): NodeJS.ProcessEnv {
    const own: Record<string, string | undefined> = {
      PATH: process.env['PATH'],
      TMPDIR: process.env['TMPDIR'],
      LANG: 'C.UTF-8',
      HOME: join(this.folder, 'home'),
      ARCHIMAGE_HOME: this.home,
      CONTAINERS_REGISTRIES_CONF: join(this.folder, 'registries.conf'),
      ...more,
    }
    return Object.fromEntries(Object.entries(own).filter(([, value]) => value !== undefined))
  }

  /** Writes files below `folder/name`; a value may be bytes. Gives the path. */
  project(name: string, files: Readonly<Record<string, string | Uint8Array>>): string {
    const path = join(this.folder, name)
    mkdirSync(path, { recursive: true })
    for (const [file, content] of Object.entries(files)) {
      mkdirSync(dirname(join(path, file)), { recursive: true })
      writeFileSync(join(path, file), content)
    }
    return path
  }

  /** A copy of a project without what runs left in it. */
  copy(from: string, name: string): string {
    const path = join(this.folder, name)
    cpSync(from, path, { recursive: true, filter: source => !source.endsWith('.archimage') })
    return path
  }

  start(args: readonly string[], options: Options = {}): Started {
    const begun = performance.now()
    const child = spawn(join(root, 'bin/archimage'), args, {
      cwd: options.cwd ?? this.folder,
      env: this.env(options.env),
      stdio: [options.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
    })
    this.#running.add(child)
    child.stdin?.end(options.input)
    let [stdout, stderr] = ['', '']
    const waiting = new Set<() => void>()
    const heard = (): void => {
      for (const look of waiting) look()
    }
    child.stdout!.setEncoding('utf8').on('data', text => {
      stdout += text
      heard()
    })
    child.stderr!.setEncoding('utf8').on('data', text => {
      stderr += text
      heard()
    })
    const limit = options.timeout ?? 45_000
    const ended = new Promise<Ended>((resolve, reject) => {
      const timer = setTimeout(() => {
        child.kill('SIGKILL')
        reject(new Error(`archimage ${args.join(' ')}: no end within ${limit} ms\n${stdout}${stderr}`))
      }, limit)
      child.on('error', reject)
      child.on('close', (code, signal) => {
        clearTimeout(timer)
        this.#running.delete(child)
        const seconds = (performance.now() - begun) / 1000
        resolve({ code: code ?? 128 + (SIGNALS[signal ?? ''] ?? 0), stdout, stderr, seconds })
      })
    })
    ended.catch(() => {})
    const said = (pattern: RegExp): Promise<void> =>
      new Promise((resolve, reject) => {
        const look = (): void => {
          if (!pattern.test(stdout) && !pattern.test(stderr)) return
          waiting.delete(look)
          resolve()
        }
        waiting.add(look)
        look()
        ended.then(() => reject(new Error(`archimage ended without saying ${pattern}:\n${stdout}${stderr}`)), reject)
      })
    return { child, ended, said }
  }

  /** `archimage …` to its end. */
  run(args: readonly string[], options: Options = {}): Promise<Ended> {
    return this.start(args, options).ended
  }

  /** The same for what must succeed; gives all that it said. */
  async must(args: readonly string[], options: Options = {}): Promise<Ended> {
    const ended = await this.run(args, options)
    if (ended.code !== 0)
      throw new Error(`archimage ${args.join(' ')}: exit code ${ended.code}\n${ended.stdout}${ended.stderr}`)
    return ended
  }

  async dispose(): Promise<void> {
    for (const child of this.#running) child.kill('SIGKILL')
    await removeFolder(this.folder)
  }
}

/** `.archimage/result.json` of a project. */
export function resultOf(project: string): RunResult {
  return JSON.parse(readFileSync(join(project, '.archimage/result.json'), 'utf8')) as RunResult
}

/** `service platform` → state of the last run. */
export function states(project: string): Record<string, string> {
  return Object.fromEntries(resultOf(project).cells.map(cell => [`${cell.service} ${cell.platform}`, cell.state]))
}

/** The digest references on stdout, by image name: `api` → `sha256:…`. */
export function digests(stdout: string): Record<string, string> {
  const lines = stdout.trim() === '' ? [] : stdout.trim().split('\n')
  return Object.fromEntries(
    lines.map(line => [line.slice(0, line.indexOf('@')).split('/').at(-1)!, line.split('@')[1]!]),
  )
}

/** A project of services that each copy their folder into an empty image. */
export function simpleServices(...names: string[]): Record<string, string> {
  return Object.fromEntries(
    names.flatMap(name => [
      [`src/${name}/Dockerfile`, 'FROM scratch\nCOPY app.txt /app.txt\n'],
      [`src/${name}/app.txt`, `this is ${name}\n`],
    ]),
  )
}

/** Files that are not there under their final name yet: what a killed run may leave. */
export function exists(...parts: string[]): boolean {
  return existsSync(join(...parts))
}
