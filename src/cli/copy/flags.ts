import { type Command, Option } from 'commander'
import type { CopyOptions, Recompression } from '../../copy/request.ts'
import { ArchimageError } from '../../errors/error.ts'
import { buildPlatform, parsePlatform, parsePlatforms } from '../../oci/platform.ts'
import { insecureOption, list } from '../command.ts'
import { addCredentialFlags, addTlsFlags } from '../registry-flags.ts'

type Options = Readonly<Record<string, unknown>>

/** Flags of skopeo, podman, crane, regctl and oras that are refused, each with the reason. */
const REFUSED: readonly (readonly [flags: string, reason: string])[] = [
  ['--sign-by <fingerprint>', 'images are not signed; cosign signs what is in a registry'],
  ['--sign-by-sigstore <file>', 'images are not signed; cosign signs what is in a registry'],
  ['--sign-by-sigstore-private-key <file>', 'images are not signed; cosign signs what is in a registry'],
  ['--sign-by-sq-fingerprint <fingerprint>', 'images are not signed; cosign signs what is in a registry'],
  ['--sign-passphrase-file <file>', 'images are not signed; cosign signs what is in a registry'],
  ['--sign-identity <name>', 'images are not signed; cosign signs what is in a registry'],
  ['--require-signed', 'signature policies are not checked'],
  ['--policy <file>', 'signature policies are not checked'],
  ['--encryption-key <key>', 'layers are not encrypted'],
  ['--encrypt-layer <n>', 'layers are not encrypted'],
  ['--decryption-key <key>', 'layers are not decrypted: encrypted ones are copied as they are'],
  ['--dest-decompress', 'it is for places of the kind dir:, which there are none of here'],
  ['--src-shared-blob-dir <dir>', 'a layout has its blobs in its own folder'],
  ['--dest-shared-blob-dir <dir>', 'a layout has its blobs in its own folder; one layout holds many images'],
  ['--src-daemon-host <host>', 'set DOCKER_HOST'],
  ['--dest-daemon-host <host>', 'set DOCKER_HOST'],
  ['--registries-conf <file>', 'set CONTAINERS_REGISTRIES_CONF'],
  ['--registries.d <dir>', 'it says where signatures of a kind lie that are not copied'],
  ['--command-timeout <time>', 'timeout(1) ends any command after a while'],
  ['--tmpdir <dir>', 'set TMPDIR'],
  ['--from-oci-layout', 'write oci:FOLDER:TAG for an OCI layout'],
  ['--to-oci-layout', 'write oci:FOLDER:TAG for an OCI layout'],
]

/** Flags whose work is done anyway, or that mean nothing here. */
const IGNORED: readonly string[] = [
  '--all',
  '--remove-signatures',
  '--retry-times <n>',
  '--retry <n>',
  '--retry-delay <time>',
  '--insecure-policy',
  '--dest-precompute-digests',
  '--dest-oci-accept-uncompressed-layers',
  '--fast',
  '--image-parallel-copies <n>',
]

/**
 * What `copy` and `sync` have in common. Each option costs time at the start: those that nobody looks for in the help are known
 * only where `args` have them.
 */
export function addCopyFlags(program: Command, args: readonly string[]): Command {
  const given = new Set(args.map(arg => arg.split('=', 1)[0]!))
  const asked = (flags: string): boolean => flags.split(/[ ,]+/).some(flag => given.has(flag))
  const help = given.has('--help') || given.has('-h')
  program
    .addOption(list('--platform <platforms>', 'only these; one alone becomes the image itself, without an index'))
    .option('--index', 'an index also for one platform, with its attestations')
    .option('--sparse', 'keep the index as it is, and copy only the platforms asked for behind it')
    .option('--referrers', 'also what has the image as its subject: signatures, SBOMs')
    .option('--digest-tags', "also cosign's tags: sha256-….sig, .att, .sbom")
    .addOption(
      new Option('--format <format>', "media types: OCI's or Docker's (v2s2)").choices([
        'oci',
        'docker',
        'v2s2',
        'v2s1',
      ]),
    )
    .option('--compression <format>', 'compress layers that are not gzip or zstd so')
    .option('--compression-level <n>', 'gzip 1 to 12, zstd 1 to 22')
    .option('--force-compression', 'compress also those that are, anew')
    .option('--add-compression <format>', 'zstd: each image a second time in the index, with zstd layers')
    .option('--preserve-digests', 'fail rather than change a digest')
    .option('--allow-nondistributable-artifacts', 'copy layers too that lie elsewhere by their urls')
    .option('--force-recursive', 'look behind tags and manifests that are there')
    .addOption(new Option('-j, --jobs <n>', 'images at a time').argParser(positive))
    .option('--dry-run', 'say what would be done')
    .option('--digestfile <file>', 'write digests and names to a file')
    .addOption(new Option('--progress <how>', 'how progress is shown').choices(['auto', 'tty', 'plain', 'quiet']))
    .option('-q, --quiet', 'no progress and no summary')
    .option('--json', 'print the result, or the plan, as JSON')
    .addOption(insecureOption())
  if (given.has('--platforms')) program.addOption(list('--platforms <platforms>', '').hideHelp())
  for (const flags of [
    '--multi-arch <which>',
    '--override-os <os>',
    '--override-arch <arch>',
    '--override-variant <variant>',
    '--compression-format <format>',
    '--dest-compress-format <format>',
    '--dest-compress',
    '--dest-compress-level <n>',
    '--dest-force-compress-format',
    '--force-compress-format',
    '--include-external',
    '-r, --recursive',
    '--concurrency <n>',
    '-v, --verbose',
    '--debug',
  ])
    if (asked(flags)) program.addOption(new Option(flags).hideHelp())
  addCredentialFlags(addTlsFlags(program))
  for (const side of ['src', 'dest'] as const) {
    if (!help && !args.some(arg => arg.startsWith('-') && arg.includes(side.slice(0, 2)))) continue
    addCredentialFlags(addTlsFlags(program, side), side)
    program.option(`--${side}-insecure`, `the same as --${side}-tls-verify=false`)
  }
  for (const [flags, reason] of REFUSED) if (asked(flags)) program.addOption(new Option(flags, reason).hideHelp())
  for (const flags of IGNORED) if (asked(flags)) program.addOption(new Option(flags).hideHelp())
  return program
}

/** Throws UNSUPPORTED for flags that are refused by name. */
export function refuseCopyFlags(program: Command, options: Options): void {
  for (const [flags, reason] of REFUSED) {
    const option = program.options.find(candidate => candidate.flags === flags)
    if (option === undefined || options[option.attributeName()] === undefined) continue
    throw new ArchimageError('UNSUPPORTED', `${option.long} is not supported: ${reason}`, {
      hint: `leave ${option.long} out`,
    })
  }
}

/** What these flags say of each image. Throws USAGE, UNSUPPORTED, PLATFORM_INVALID. */
export function copyOptions(options: Options): CopyOptions {
  const text = (...names: string[]): string | undefined =>
    names.map(name => options[name]).find(value => typeof value === 'string') as string | undefined
  const on = (...names: string[]): boolean => names.some(name => options[name] === true)
  const format = text('format')
  if (format === 'v2s1')
    throw new ArchimageError('UNSUPPORTED', "--format v2s1: Docker's schema 1 has been obsolete since 2017", {
      hint: '--format docker is schema 2',
    })
  const level = text('compressionLevel', 'destCompressLevel')
  const compression =
    text('compression', 'compressionFormat', 'destCompressFormat') ?? (on('destCompress') ? 'gzip' : undefined)
  const add = text('addCompression')
  const force = on('forceCompression', 'destForceCompressFormat', 'forceCompressFormat')
  if (compression === undefined && (force || (level !== undefined && add === undefined)))
    throw new ArchimageError('USAGE', `${force ? '--force-compression' : '--compression-level'} needs --compression`, {
      hint: '--compression gzip or zstd',
    })
  const wanted = compression === undefined ? undefined : recompression('--compression', compression, level, force)
  const added = add === undefined ? undefined : recompression('--add-compression', add, level, false)
  if (added?.format === 'gzip')
    throw new ArchimageError('UNSUPPORTED', '--add-compression gzip: gzip has to be the first of two', {
      hint: '--compression gzip --add-compression zstd gives both',
    })
  if ((wanted?.format === 'zstd' || added !== undefined) && format !== undefined && format !== 'oci')
    throw new ArchimageError('USAGE', "Docker's format has no zstd layers", { hint: 'leave --format away' })
  const platforms = platformsOf(options)
  const sparse = on('sparse') || options['multiArch'] === 'index-only'
  if (sparse && platforms === undefined)
    throw new ArchimageError('USAGE', '--sparse needs --platform', {
      hint: '--sparse --platform linux/amd64,linux/arm64',
    })
  if (sparse && (wanted ?? added ?? format) !== undefined)
    throw new ArchimageError('USAGE', '--sparse keeps the index as it is, and a format or compression changes it')
  return {
    ...(platforms === undefined ? {} : { platforms }),
    ...(on('index') ? { index: true } : {}),
    ...(sparse ? { sparse } : {}),
    ...(on('referrers', 'recursive') ? { referrers: true } : {}),
    ...(on('digestTags') ? { digestTags: true } : {}),
    ...(format === undefined ? {} : { format: format === 'oci' ? 'oci' : 'docker' }),
    ...(wanted === undefined ? {} : { compression: wanted }),
    ...(added === undefined ? {} : { addCompression: added }),
    ...(on('preserveDigests') ? { preserveDigests: true } : {}),
    ...(on('allowNondistributableArtifacts', 'includeExternal') ? { foreignLayers: true } : {}),
    ...(on('forceRecursive') ? { thorough: true } : {}),
  }
}

function recompression(flag: string, format: string, level: string | undefined, force: boolean): Recompression {
  if (format !== 'gzip' && format !== 'zstd')
    throw new ArchimageError('UNSUPPORTED', `${flag} ${format}: layers are made with gzip or zstd`, {
      hint:
        format === 'zstd:chunked'
          ? 'zstd:chunked is not written; layers that have it are copied as they are'
          : `${flag} zstd`,
    })
  const most = format === 'gzip' ? 12 : 22
  if (level !== undefined && !(/^\d+$/.test(level) && Number(level) >= 1 && Number(level) <= most))
    throw new ArchimageError('USAGE', `--compression-level ${level}: ${format} has levels from 1 to ${most}`)
  return { format, ...(level === undefined ? {} : { level: Number(level) }), ...(force ? { force } : {}) }
}

function platformsOf(options: Options): CopyOptions['platforms'] {
  const given = [options['platform'], options['platforms']].flatMap(value =>
    Array.isArray(value) ? (value as string[]) : [],
  )
  const which = options['multiArch']
  if (which !== undefined && !['all', 'system', 'index-only'].includes(String(which)))
    throw new ArchimageError('USAGE', `--multi-arch ${String(which)} is not known`, {
      hint: 'all, system or index-only',
    })
  const [os, arch, variant] = ['overrideOs', 'overrideArch', 'overrideVariant'].map(
    name => options[name] as string | undefined,
  )
  const own = buildPlatform()
  if (os !== undefined || arch !== undefined || variant !== undefined) {
    const named = [os ?? own.os, arch ?? own.architecture, ...(variant === undefined ? [] : [variant])].join('/')
    return [parsePlatform(named), ...(given.length > 0 ? parsePlatforms(given) : [])]
  }
  if (given.length > 0) return given.join(',') === 'all' ? undefined : parsePlatforms(given)
  return which === 'system' ? [own] : which === 'index-only' ? [] : undefined
}

function positive(value: string): number {
  const number = Number(value)
  if (Number.isInteger(number) && number >= 1 && number <= 256) return number
  throw new ArchimageError('USAGE', `--jobs ${value}: not a number from 1 to 256`)
}
