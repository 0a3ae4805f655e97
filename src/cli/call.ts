import type { Dockerfile } from '../dockerfile/ast.ts'
import { ArchimageError, gravest } from '../errors/error.ts'
import { styleFor } from '../errors/render-style.ts'
import type { CheckedFile } from '../lint/checked.ts'
import { lintJson } from '../lint/formats/json.ts'
import { lintText } from '../lint/formats/text.ts'
import { outlineOf, outlineText } from '../lint/outline.ts'
import { targetList, targetsText } from '../lint/targets.ts'
import { buildPlatform } from '../oci/platform.ts'
import { dockerfileFor } from '../project/service.ts'
import type { CheckRequest } from '../run/check.ts'
import { Dockerfiles } from '../run/dockerfiles.ts'
import { buildArguments, isNamedContext, openPreparation } from '../run/prepare.ts'
import { terminal } from '../sys/terminal.ts'
import type { Call } from './call-method.ts'
import { checkRequest, runCheck } from './check-request.ts'
import { open, say } from './command.ts'
import { fileOptions } from './registry-flags.ts'
import type { Options } from './request.ts'

/** Does what was asked for instead of a build, and gives the exit code. */
export async function runCall(
  call: Call,
  args: readonly string[],
  options: Options,
  directory: string,
  signal: AbortSignal,
): Promise<number> {
  const request = await checkRequest(args, options, directory)
  if (call.method !== 'check' && call.method !== 'lint') return describe(call, request, options, signal)
  const { files } = await runCheck(request, options, signal)
  const out = terminal(1)
  out.write(call.json ? lintJson(files) : lintText(files, styleFor(out, process.env)))
  return call.ignoreStatus ? 0 : checkExit(files)
}

/** As docker buildx build --check: whatever is found makes 1, and errors what they ask for. */
function checkExit(files: readonly CheckedFile[]): number {
  const errors = files.flatMap(file => file.errors.map(({ error }) => error.exit))
  return gravest([...errors, ...files.map(file => (file.findings.length > 0 ? 1 : 0))])
}

/** The outline or the targets of one Dockerfile. */
async function describe(
  { method, json }: Call,
  request: CheckRequest,
  options: Options,
  signal: AbortSignal,
): Promise<number> {
  const [service, ...others] = request.services
  if (service === undefined || others.length > 0)
    throw new ArchimageError(
      'USAGE',
      `--call=${method} is for one Dockerfile, and there are ${request.services.length}`,
      {
        hint: 'name one service, or give the path of its folder',
      },
    )
  const { settings } = request
  const platform = request.platformsOf(service)[0] ?? buildPlatform()
  const path = dockerfileFor(service, platform) ?? service.dockerfile
  const { bytes, dockerfile } = await readOne(request, path, options, signal)
  if (method === 'targets') {
    const list = targetList(dockerfile, bytes)
    terminal(1).write(json ? `${JSON.stringify(list, null, 2)}\n` : targetsText(list))
    return 0
  }
  const target = settings.target ?? service.target
  const outline = outlineOf(dockerfile, bytes, {
    platform,
    args: buildArguments(service, settings),
    contexts: name => isNamedContext(service, name),
    ...(target === undefined ? {} : { target }),
  })
  terminal(1).write(json ? `${JSON.stringify(outline, null, 2)}\n` : outlineText(outline))
  return 0
}

/** A Dockerfile, from wherever it comes. */
async function readOne(
  request: CheckRequest,
  path: string,
  options: Options,
  signal: AbortSignal,
): Promise<{ readonly bytes: Uint8Array; readonly dockerfile: Dockerfile }> {
  const { settings, project } = request
  if (settings.main === undefined && settings.dockerfileUrl === undefined) {
    const files = new Dockerfiles(project.root, settings)
    return { bytes: files.bytes(path), dockerfile: files.at(path).dockerfile }
  }
  const tools = open(options, say, fileOptions(options))
  try {
    const { preparation } = openPreparation(request, { ...tools, emit: () => {}, signal })
    await preparation.open(request.services)
    return { bytes: preparation.dockerfileBytes(path), dockerfile: preparation.readDockerfile(path) }
  } finally {
    tools.store.close()
  }
}
