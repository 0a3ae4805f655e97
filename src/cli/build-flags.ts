import { type Command, Option } from 'commander'
import { ENGINES } from '../engines/names.ts'
import { ArchimageError } from '../errors/error.ts'
import { insecureOption, list, say, switchOrValue } from './command.ts'
import { addTlsFlags } from './registry-flags.ts'
import { addStepFlags } from './step-flags.ts'

/** Flags of docker buildx build that archimage refuses, each with the reason (DESIGN §5: never "unknown option"). */
const REFUSED: readonly (readonly [flags: string, reason: string])[] = [
  ['--builder <name>', 'archimage has no builder instances: it builds in its own process'],
  ['--cgroup-parent <cgroup>', 'limits are set for each RUN step by itself: --resource'],
  ['--policy <value>', 'policies are not supported'],
  [
    '--creds <user:password>',
    'bases and images may be in several registries; archimage login, or --authfile, says which it is for',
  ],
  ['-D, --debug', 'use --progress plain to see every step'],
]

/** Flags of docker build that buildx takes and ignores; so do we. */
const IGNORED: readonly string[] = [
  '--compress',
  '--force-rm',
  '--isolation <value>',
  '--rm',
  '--security-opt <value>',
  '--squash',
]

/** What a build of a project and one of a path have in common. */
export function addBuildFlags(program: Command): Command {
  program
    .option('--project <file>', 'the project file; default: archimage.yaml here')
    .addOption(list('--platform <platforms>', 'build for these platforms: linux/amd64,linux/arm64'))
    .addOption(list('-t, --tag <name>', 'name of the image; in a project the tag of every service'))
    .option('-f, --file <file>', 'the Dockerfile: a path, a name in an archive or repository, a URL, "-"')
    .option('--target <stage>', 'build this stage')
    .addOption(list('--build-arg <name=value>', 'value of an ARG; NAME alone takes it from the environment'))
    .addOption(list('--build-context <name=value>', 'a further context: a folder, an image, a repository, …'))
    .addOption(list('--label <name=value>', 'label of the image'))
    .addOption(list('--annotation <name=value>', 'annotation; index:name=value for the index'))
    .option('--push', 'push to the registry and read back')
    .option('--load', 'load the image of this machine (or of the one platform given) into docker or podman')
    .addOption(list('-o, --output <spec>', 'type=image|registry|oci|docker|tar|local|cacheonly[,dest=FILE]'))
    .option('--metadata-file <file>', 'write digests as JSON')
    .option('--iidfile <file>', 'write the digest of the image')
    .option('--no-cache', 'build although nothing changed')
    .addOption(
      list('--cache-to <spec>', 'RUN steps for other machines: type=registry,ref=NAME[,mode=max], type=local,dest=DIR'),
    )
    .addOption(
      list('--cache-from <spec>', 'take over RUN steps of other machines: type=registry,ref=NAME, type=local,src=DIR'),
    )
    .addOption(list('--no-cache-filter <stages>', 'run the steps of these stages again'))
    .option('--force', 'the same as --no-cache')
    .option('--pull', 'look every base up in its registry, never take the last known one')
    .option('--offline', 'use no network')
    .addOption(insecureOption())
    .option('--registry <registry>', "push to this registry instead of the project's")
    .addOption(new Option('--jobs <n>', 'cells at a time').argParser(positive))
    .option('--fail-fast', 'stop at the first failure')
    .option('--atomic', 'move no tag unless every service is complete')
    .option('--no-clobber', 'a tag that names something else is an error, before anything is uploaded for it')
    .addOption(
      switchOrValue(
        '--arch-tags [pattern]',
        'also write a tag per platform, {tag}-{arch}; --arch-tags={image}-{arch}:{tag} for another pattern',
      ),
    )
    .option('--docker-format', "Docker's media types: a manifest list instead of an OCI index")
    .addOption(new Option('--engine <name>', 'build everything with this engine').choices(ENGINES))
    .addOption(new Option('--timestamps <how>', 'times of files in layers').choices(['content', 'keep', 'commit']))
    .addOption(
      new Option('--progress <how>', 'how progress is shown').choices([
        'auto',
        'tty',
        'plain',
        'json',
        'rawjson',
        'quiet',
        'none',
      ]),
    )
    .option('-q, --quiet', 'show failures only, print the digest')
    .option('--json', 'print the result as JSON')
    .option('--check', 'check the Dockerfiles instead of building them')
    .option('--call <method>', 'instead of building: check, outline or targets[,format=json]')
    .addOption(list('--attest <value>', '').hideHelp())
    .addOption(new Option('--provenance <value>').hideHelp())
    .addOption(new Option('--sbom <value>').hideHelp())
    .option('--authfile <file>', "credentials from this file of docker's or podman's form, in place of theirs")
  addTlsFlags(program)
  addStepFlags(program)
  for (const [flags, reason] of REFUSED) program.addOption(new Option(flags, reason).hideHelp())
  for (const flags of IGNORED) program.addOption(new Option(flags).hideHelp())
  return program
}

/** Throws UNSUPPORTED for flags that are refused by name. */
export function refuseFlags(program: Command, options: Readonly<Record<string, unknown>>): void {
  const refuse = (flag: string, reason: string): never => {
    throw new ArchimageError('UNSUPPORTED', `${flag} is not supported: ${reason}`, { hint: `leave ${flag} out` })
  }
  for (const [flags, reason] of REFUSED) {
    const option = program.options.find(candidate => candidate.flags === flags)!
    if (options[option.attributeName()] !== undefined) refuse(option.long ?? flags, reason)
  }
  const off = (value: string): boolean => value === 'false' || value === '' || /(^|,)disabled=(true|1)(,|$)/.test(value)
  const asked = [
    ...((options['attest'] as string[] | undefined) ?? []).map(value => ['attest', value] as const),
    ...['provenance', 'sbom'].map(name => [name, String(options[name] ?? '')] as const),
  ]
  for (const [name, value] of asked) if (!off(value)) refuse(`--${name}`, 'attestations are not made yet')
  for (const flags of IGNORED) {
    const option = program.options.find(candidate => candidate.flags === flags)!
    if (options[option.attributeName()] !== undefined) say(`warning: ${option.long} is ignored, as docker buildx does`)
  }
}

function positive(value: string): number {
  const number = Number(value)
  if (!Number.isInteger(number) || number < 1 || number > 1024)
    throw new ArchimageError('USAGE', `--jobs ${value}: not a number from 1 to 1024`, {
      hint: 'leave it out to use all processors of this machine',
    })
  return number
}
