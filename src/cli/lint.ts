import { Option } from 'commander'
import { gravest } from '../errors/error.ts'
import { type Style, styleFor } from '../errors/render-style.ts'
import type { CheckedFile } from '../lint/checked.ts'
import { lintGithub } from '../lint/formats/github.ts'
import { lintJson } from '../lint/formats/json.ts'
import { lintSarif } from '../lint/formats/sarif.ts'
import { lintText } from '../lint/formats/text.ts'
import { shortPath } from '../run/dockerfiles.ts'
import { terminal } from '../sys/terminal.ts'
import { checkRequest, runCheck } from './check-request.ts'
import { command, type Invocation, insecureOption, list, parse, say, workingDirectory } from './command.ts'
import { isPath } from './request.ts'
import { VERSION } from './version.ts'

const ABOUT = `Checks the Dockerfiles of the project in this folder, of the services that are named, or of one path, for every platform: the rules
of BuildKit, and more for work with several platforms. Builds nothing. Looks bases up in the store and in their registries. Exit code 1 where
something is an error, or with --error-on warning where there is anything.`

type Format = (files: readonly CheckedFile[], style: Style, directory: string) => string

const FORMATS: Readonly<Record<string, Format>> = {
  text: lintText,
  json: lintJson,
  sarif: (files, _, directory) => lintSarif(seenFrom(files, directory), VERSION),
  github: (files, _, directory) => lintGithub(seenFrom(files, directory)),
}

/** Who reads these looks files up in the folder where the command ran, mostly the root of a repository. */
function seenFrom(files: readonly CheckedFile[], directory: string): readonly CheckedFile[] {
  return files.map(file => ({ ...file, file: shortPath(file.path, directory) }))
}

export async function run(invocation: Invocation): Promise<number> {
  const program = command(invocation, '[options] [SERVICE… | PATH | URL | -]', ABOUT)
    .option('--project <file>', 'the project file; default: archimage.yaml here')
    .addOption(list('--platform <platforms>', 'check for these platforms: linux/amd64,linux/arm64'))
    .option('-f, --file <file>', 'the Dockerfile; default: PATH/Dockerfile, "-" is standard input')
    .option('--target <stage>', 'check what this stage needs; default: all stages')
    .addOption(list('--build-arg <name=value>', 'value of an ARG; NAME alone takes it from the environment'))
    .addOption(list('--build-context <name=value>', 'a further context: a directory or docker-image://REFERENCE'))
    .addOption(new Option('--format <how>', 'how findings are written').choices(Object.keys(FORMATS)).default('text'))
    .option('--json', 'the same as --format json')
    .addOption(
      new Option('--error-on <level>', 'what makes the exit code 1').choices(['warning', 'error']).default('error'),
    )
    .option('--pull', 'look every base up in its registry, never take the last known one')
    .option('--offline', 'use no network: bases that are not in the store are not looked at')
    .addOption(insecureOption())
  const parsed = parse(program, invocation)
  if (!parsed) return 0
  const { args, options } = parsed
  const directory = workingDirectory(invocation, options)
  const request = await checkRequest(args, options, directory)
  const { files } = await runCheck(request, options, invocation.signal)
  const out = terminal(1)
  const format = options['json'] === true ? 'json' : String(options['format'])
  out.write(FORMATS[format]!(files, styleFor(out, process.env), directory))
  if (format === 'text' && options['platform'] === undefined && args.some(isPath))
    say('note: checked for this machine only; --platform linux/amd64,linux/arm64 also tells what harms others')
  return gravest(files.map(file => exitOf(file, options['errorOn'] === 'warning')))
}

/** Errors of a Dockerfile ask for their own code; a file that says `# check=error=true` makes an error of whatever is found. */
function exitOf({ errors, findings, options }: CheckedFile, onWarning: boolean): number {
  const wrong = findings.some(({ level }) => level === 'error' || onWarning || options.error)
  return gravest([...errors.map(({ error }) => error.exit), wrong ? 1 : 0])
}
