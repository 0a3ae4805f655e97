import { dockerfileFromStdin } from '../context/stdin.ts'
import { ArchimageError } from '../errors/error.ts'
import { loadProject } from '../project/load.ts'
import { selectServices } from '../project/select.ts'
import { type CheckReport, type CheckRequest, checkServices } from '../run/check.ts'
import { withFlags } from './build.ts'
import { open, say } from './command.ts'
import { fileOptions } from './registry-flags.ts'
import { askedPlatforms, isPath, type Options, platformsOf, settingsOf, singleImage, withOverrides } from './request.ts'

/** The Dockerfiles that the words of a command line mean: of services, or the one of a path. Throws USAGE. */
export async function checkRequest(
  args: readonly string[],
  options: Options,
  directory: string,
): Promise<CheckRequest> {
  const flags = { pull: options['pull'] === true, offline: options['offline'] === true }
  const path = args.find(isPath)
  if (path !== undefined) {
    if (args.length > 1)
      throw new ArchimageError('USAGE', `one path at a time, not ${args.join(' ')}`, {
        hint: 'services are named without "/" and "."',
      })
    const { project, settings: own } = singleImage(path, directory, options, dockerfileFromStdin)
    const { settings } = settingsOf(options, { exclude: [] }, directory)
    const [service] = project.services
    return {
      ...{ project, services: project.services, platformsOf: () => service!.platforms },
      settings: { ...settings, ...own },
      ...flags,
    }
  }
  const file = options['project'] as string | undefined
  const loaded = withOverrides(
    await loadProject({ cwd: directory, ...(file === undefined ? {} : { projectFile: file }) }),
    options,
  )
  const chosen = selectServices(loaded, args)
  if (options['file'] !== undefined && chosen.length !== 1)
    throw new ArchimageError('USAGE', `--file is one Dockerfile, and there are ${chosen.length} services`, {
      hint: 'name one of them, or give the path of a context',
    })
  const { project, settings: own } = withFlags(loaded, chosen, directory, options)
  const services = selectServices(project, args)
  const { settings } = settingsOf(options, { exclude: [] }, directory, own)
  return { project, services, platformsOf: platformsOf(project, services, askedPlatforms(options)), settings, ...flags }
}

/** Runs the checks; what could not be looked at is told on stderr. */
export async function runCheck(request: CheckRequest, options: Options, signal: AbortSignal): Promise<CheckReport> {
  const tools = open(options, say, fileOptions(options))
  try {
    const report = await checkServices(request, { ...tools, emit: () => {}, signal })
    for (const note of report.notes) say(`note: ${note}`)
    return report
  } finally {
    tools.store.close()
  }
}
