import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { ArchimageError, cancelled } from '../errors/error.ts'
import { formatPlatform, type Platform } from '../oci/platform.ts'
import type { Service } from './project.ts'

export interface PrebuildOptions {
  readonly signal?: AbortSignal
  /** Gets the command's output, stdout and stderr, line by line. */
  readonly onLine?: (line: string) => void
  /** Environment of the command below what the platform sets. Default: that of this process. */
  readonly env?: NodeJS.ProcessEnv
}

const LAST_LINES = 20
const MAX_LINE = 8192

/** What a prebuild command sees of its platform: Go's names and those of the Dockerfile reference. */
export function prebuildEnvironment(platform: Platform): Record<string, string> {
  const { os, architecture, variant = '' } = platform
  return {
    GOOS: os,
    GOARCH: architecture,
    ...(architecture === 'arm' ? { GOARM: variant.replace(/^v/, '') || '7' } : {}),
    ...(architecture === 'amd64' && variant !== '' ? { GOAMD64: variant } : {}),
    TARGETPLATFORM: formatPlatform(platform),
    TARGETOS: os,
    TARGETARCH: architecture,
    TARGETVARIANT: variant,
  }
}

/** `$NAME` and `${NAME}` replaced, nothing when NAME is not set; any other "$" stays. */
export function expandNames(text: string, env: NodeJS.ProcessEnv): string {
  return text.replace(
    /\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))/g,
    (_, a?: string, b?: string) => env[(a ?? b)!] ?? '',
  )
}

/**
 * Runs the prebuild command of a service for one platform, in its context: a text through `sh -c`, a list as arguments.
 * Throws PREBUILD_FAILED with the last lines in `details.log`, CANCELLED after an abort.
 */
export async function runPrebuild(service: Service, platform: Platform, options: PrebuildOptions = {}): Promise<void> {
  const { prebuild } = service
  if (prebuild === undefined) return
  if (options.signal?.aborted) throw cancelled(options.signal.reason)
  const env = { ...(options.env ?? process.env), ...prebuildEnvironment(platform) }
  const [command, ...args] =
    typeof prebuild === 'string' ? ['sh', '-c', prebuild] : prebuild.map(word => expandNames(word, env))
  const log: string[] = []
  const line = (text: string): void => {
    const short = text.slice(0, MAX_LINE)
    log.push(short)
    if (log.length > LAST_LINES) log.shift()
    options.onLine?.(short)
  }
  const fail = (why: string, cause?: unknown): ArchimageError =>
    new ArchimageError('PREBUILD_FAILED', `prebuild of ${service.name} for ${formatPlatform(platform)} ${why}`, {
      hint: `it ran in ${service.context}: ${typeof prebuild === 'string' ? prebuild : [command, ...args].join(' ')}`,
      details: { log: [...log] },
      ...(cause === undefined ? {} : { cause }),
    })
  // Its own process group: what the command started ends with it.
  const child = spawn(command!, args, {
    cwd: service.context,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: process.platform !== 'win32',
  })
  const kill = (): void => {
    try {
      if (child.pid !== undefined && process.platform !== 'win32') process.kill(-child.pid, 'SIGKILL')
      else child.kill('SIGKILL')
    } catch {
      // It ended meanwhile.
    }
  }
  options.signal?.addEventListener('abort', kill, { once: true })
  try {
    for (const stream of [child.stdout, child.stderr])
      createInterface({ input: stream, crlfDelay: Number.POSITIVE_INFINITY }).on('line', line)
    const [code, signal] = await new Promise<[number | null, string | null]>((resolve, reject) => {
      child.on('error', error => reject(fail(`could not start: ${error.message}`, error)))
      child.on('close', (...ended) => resolve(ended))
    })
    if (options.signal?.aborted) throw cancelled(options.signal.reason)
    if (code !== 0) throw fail(code === null ? `was ended by ${signal}` : `ended with exit code ${code}`)
  } finally {
    options.signal?.removeEventListener('abort', kill)
  }
}
