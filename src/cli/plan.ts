import { gravest, isArchimageError } from '../errors/error.ts'
import { renderError } from '../errors/render.ts'
import { styleFor } from '../errors/render-style.ts'
import { sanitize } from '../errors/render-text.ts'
import type { Resolution } from '../plan/graph.ts'
import { loadProject } from '../project/load.ts'
import { imageName } from '../project/references.ts'
import { selectServices } from '../project/select.ts'
import { type PlanCell, planRun } from '../run/plan.ts'
import { terminal } from '../sys/terminal.ts'
import { addBuildFlags, refuseFlags } from './build-flags.ts'
import { refuseCall } from './call-method.ts'
import { command, type Invocation, open, parse, print, say, workingDirectory } from './command.ts'
import { askedPlatforms, platformsOf, requestOf, settingsOf, withOverrides } from './request.ts'
import { dockerfilesOf, enterForSteps } from './step-user.ts'

const ABOUT = `Shows what a build would do: which services were found and why, what each image that a Dockerfile names is taken for,
and for each cell whether it would be built and why. Builds nothing, and runs no prebuild command.`

export async function run(invocation: Invocation): Promise<number> {
  const program = addBuildFlags(command(invocation, '[options] [SERVICE…]', ABOUT))
  const parsed = parse(program, invocation)
  if (!parsed) return 0
  const { args, options } = parsed
  refuseFlags(program, options)
  refuseCall(invocation.name, options)
  const file = options['project'] as string | undefined
  const directory = workingDirectory(invocation, options)
  const project = withOverrides(
    await loadProject({ cwd: directory, ...(file === undefined ? {} : { projectFile: file }) }),
    options,
  )
  // As the build would: what it says of engines is for the user that the steps would have.
  const means = await enterForSteps(dockerfilesOf(project, directory, options), options, invocation.signal)
  if (typeof means === 'number') return means
  const services = selectServices(project, args)
  const request = requestOf(
    project,
    services,
    platformsOf(project, services, askedPlatforms(options)),
    { ...options, push: false },
    settingsOf(options, { exclude: [] }, directory),
  )
  const tools = open(options, say)
  try {
    const plan = await planRun(
      { ...request, means },
      {
        ...tools,
        emit: () => {},
        signal: invocation.signal,
      },
    )
    for (const warning of plan.warnings) say(`warning: ${sanitize(warning)}`)
    if (options['json'] === true) {
      print(
        JSON.stringify(
          {
            project: project.root,
            cells: plan.cells.map(({ error, ...cell }) => ({ ...cell, ...(error ? { error: error.message } : {}) })),
          },
          null,
          2,
        ),
      )
      return gravest(plan.cells.flatMap(cell => (cell.error ? [cell.error.exit] : [])))
    }
    const style = styleFor(terminal(1), process.env)
    for (const [i, name] of [...new Set(plan.cells.map(cell => cell.service))].entries()) {
      const service = project.services.find(candidate => candidate.name === name)!
      const cells = plan.cells.filter(cell => cell.service === name)
      print(`${i === 0 ? '' : '\n'}${name}  →  ${imageName(project, service)}`)
      print(`  ${sanitize(service.because)}`)
      const lines = cells.flatMap(cell => cell.resolutions.map(resolutionText))
      for (const line of new Set(lines)) print(`  ${sanitize(line)}`)
      for (const cell of cells) {
        const what = cell.error ? 'cannot be built' : cell.action
        const notes = [
          ...(cell.fallback === undefined ? [] : [`a base image exists for ${cell.fallback} only`]),
          ...(cell.asked ? [] : ['needed by another service']),
          ...engineNote(cell),
        ]
        print(
          `  ${cell.platform.padEnd(16)} ${what}: ${cell.reason}${notes.length === 0 ? '' : ` (${notes.join('; ')})`}`,
        )
      }
    }
    const errors = plan.cells.flatMap(cell => cell.error ?? [])
    for (const message of new Set(errors.map(error => renderError(error, style)))) terminal(2).write(`\n${message}\n`)
    return gravest(errors.map(error => (isArchimageError(error) ? error.exit : 1)))
  } finally {
    tools.store.close()
  }
}

/** Which engine builds the cell, where that is not the native one as usual. */
function engineNote({ engine, engineReason, emulated }: PlanCell): string[] {
  if (engine === undefined || (engine === 'native' && !emulated && engineReason === undefined)) return []
  return [`by ${engine}${emulated ? ', emulated' : ''}${engineReason === undefined ? '' : `: ${engineReason}`}`]
}

function resolutionText({ reference, is, service, line, nearMiss }: Resolution): string {
  const what = is === 'service' ? `service ${service} of this project` : 'an image of its registry'
  return `line ${line}: ${reference} is ${what}${nearMiss ? ` (${nearMiss})` : ''}`
}
