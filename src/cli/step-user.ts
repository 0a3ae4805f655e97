import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import type { Problem } from '../engines/engine.ts'
import { isArchimageError } from '../errors/error.ts'
import type { Project } from '../project/project.ts'
import { storeHome } from '../store/home.ts'
import { isUrl, type Options } from './request.ts'

/**
 * RUN steps of an ordinary user need archimage in a user namespace: where a Dockerfile may have some, it starts itself once more
 * there. Gives the exit code of that, or why there is none to be had (the native engine then runs no step), or undefined: go on.
 * `dockerfiles`: paths, undefined for one that is not known before standard input or a remote context is read.
 */
export async function enterForSteps(
  dockerfiles: Iterable<string | undefined>,
  options: Options,
  signal: AbortSignal,
): Promise<number | Problem | undefined> {
  if (process.platform !== 'linux' || process.getuid?.() === 0) return undefined
  if (options['engine'] !== undefined && options['engine'] !== 'native') return undefined
  if (![...dockerfiles].some(hasRun)) return undefined
  const { enterUserNamespace } = await import('../sandbox/user-namespace.ts')
  try {
    return await enterUserNamespace({ signal, env: { ARCHIMAGE_HOME: storeHome() } })
  } catch (error) {
    if (!isArchimageError(error) || error.code !== 'SANDBOX_MISSING') throw error
    return { message: error.message, ...(error.hint === undefined ? {} : { hint: error.hint }) }
  }
}

/** The Dockerfiles of all services: whatever is built may need any of them. */
export function dockerfilesOf(project: Project, directory: string, options: Options): (string | undefined)[] {
  const file = options['file'] as string | undefined
  const own = file === undefined ? [] : [file === '-' || isUrl(file) ? undefined : resolve(directory, file)]
  return [
    ...own,
    ...project.services.flatMap(({ dockerfile, dockerfiles }) => [dockerfile, ...Object.values(dockerfiles)]),
  ]
}

/** What cannot be read is told of later, with its place. */
function hasRun(path: string | undefined): boolean {
  if (path === undefined) return true
  try {
    return /^\s*(?:onbuild\s+)?run\b/im.test(readFileSync(path, 'utf8'))
  } catch {
    return false
  }
}
