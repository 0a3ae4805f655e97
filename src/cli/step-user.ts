import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import type { StepMeans } from '../engines/steps.ts'
import { isArchimageError } from '../errors/error.ts'
import type { Project } from '../project/project.ts'
import { storeHome } from '../store/home.ts'
import { isUrl, type Options } from './request.ts'

/** Tells archimage within a user namespace that it was made by archimage, for it alone. */
const ENTERED = 'ARCHIMAGE_ENTERED'

/**
 * RUN steps of an ordinary user need archimage in a user namespace: where a Dockerfile may have some, it starts itself once more
 * there. Gives the exit code of that, or what is to be known of the steps of this process. `dockerfiles`: paths, undefined for
 * one that is not known before standard input or a remote context is read.
 */
export async function enterForSteps(
  dockerfiles: Iterable<string | undefined>,
  options: Options,
  signal: AbortSignal,
): Promise<number | StepMeans> {
  const entered = process.env[ENTERED] !== undefined
  delete process.env[ENTERED]
  const sandbox = options['sandbox'] as StepMeans['sandbox'] | 'auto'
  const means = {
    ...(sandbox === undefined || sandbox === 'auto' ? {} : { sandbox }),
    ...(options['installEmulators'] === true ? { installEmulators: true } : {}),
    ...(entered ? { ownNamespace: true } : {}),
  }
  if (process.platform !== 'linux' || process.getuid?.() === 0) return means
  if (options['engine'] !== undefined && options['engine'] !== 'native') return means
  if (![...dockerfiles].some(hasRun)) return means
  const { enterUserNamespace } = await import('../sandbox/user-namespace.ts')
  try {
    return (await enterUserNamespace({ signal, env: { ARCHIMAGE_HOME: storeHome(), [ENTERED]: '1' } })) ?? means
  } catch (error) {
    if (!isArchimageError(error) || error.code !== 'SANDBOX_MISSING') throw error
    const noSteps = { message: error.message, ...(error.hint === undefined ? {} : { hint: error.hint }) }
    return { ...means, noSteps }
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
