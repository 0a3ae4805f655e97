import { ArchimageError, systemError } from '../errors/error.ts'
import { parseReference } from '../oci/reference.ts'
import { noCredentials } from '../registry/credentials.ts'
import { every, type SyncEntry, type SyncFile } from '../sync/entry.ts'
import { readSyncFile, syncImages } from '../sync/sync.ts'
import { readUpTo } from '../sys/files.ts'
import { command, type Invocation, parse, workingDirectory } from './command.ts'
import { addCopyFlags, copyOptions, refuseCopyFlags } from './copy/flags.ts'
import { runCopies } from './copy/run.ts'
import { look } from './copy/sides.ts'

const ABOUT = `Keeps images in step as a file says: skopeo's YAML (with a DESTINATION), or regsync's. What is unchanged costs a HEAD at each end.
With --src docker the source is a repository, all of whose tags are copied.`

const MOST = 512 * 1024

export async function run(invocation: Invocation): Promise<number> {
  const program = command(invocation, '[options] FILE [DESTINATION]', ABOUT)
    .option(
      '-s, --src <kind>',
      'yaml: the first argument is a file, as it is anyway; docker: a repository, or an image',
    )
    .option('-d, --dest <kind>', 'docker: a registry, as it is anyway')
    .option('--scoped', 'call images by their whole source: DESTINATION/registry/repository')
    .option('--append-suffix <text>', 'put this behind every tag')
    .option('--keep-going', 'go on after a failure; that is so anyway')
    .option('-a', 'the same as --all: all platforms, as it is anyway')
  addCopyFlags(program, invocation.args)
  const parsed = parse(program, invocation)
  if (!parsed) return 0
  const { args, options } = parsed
  refuseCopyFlags(program, options)
  const [source, place, ...rest] = args
  if (source === undefined || rest.length > 0)
    throw new ArchimageError('USAGE', 'archimage sync needs a file, and may have a destination', {
      hint: 'archimage sync images.yaml mirror.example.com/team',
    })
  const kind = kindOf(options['src'], ['yaml', 'docker'], '--src', 'name the layout to archimage copy: oci:FOLDER')
  kindOf(options['dest'], ['docker'], '--dest', 'write oci:FOLDER as the destination: a layout holds many images')
  const settings = copyOptions(options)
  process.chdir(workingDirectory(invocation, options))
  const file = kind === 'docker' ? repositoryOf(source, place) : await readFile(source)
  const { signal } = invocation
  const jobs = options['jobs'] ?? file.jobs
  const hosts = { src: file.entries.map(hostOf), dest: place === undefined ? [] : [place.replace(/\/.*$/, '')] }
  const more = { hosts: file.hosts, ...(file.ownCredentialsOnly ? { credentials: noCredentials } : {}) }
  return runCopies(
    invocation,
    { ...options, ...(jobs === undefined ? {} : { jobs }) },
    hosts,
    async (sides, fail, warn) => {
      for (const text of file.warnings) warn(text)
      const to = {
        ...(place === undefined ? {} : { place }),
        scoped: options['scoped'] === true,
        ...(typeof options['appendSuffix'] === 'string' ? { suffix: options['appendSuffix'] } : {}),
      }
      return syncImages(file.entries, to, settings, { ...sides, look, signal, fail, warn })
    },
    more,
  )
}

function kindOf(value: unknown, known: readonly string[], flag: string, hint: string): string {
  if (value === undefined) return known[0]!
  if (known.includes(String(value))) return String(value)
  throw new ArchimageError(
    'UNSUPPORTED',
    `${flag} ${String(value)} is not supported: there is ${known.join(' and ')}`,
    {
      ...(value === 'dir' ? { hint } : {}),
    },
  )
}

async function readFile(path: string): Promise<SyncFile> {
  let bytes: Buffer
  try {
    bytes = readUpTo(path === '-' ? 0 : path, MOST)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'EISDIR')
      throw new ArchimageError('USAGE', `there is no file ${path}`, {
        hint: 'for a repository as source: --src docker; for single images: archimage copy',
      })
    throw systemError(error, `reading ${path}`)
  }
  if (bytes.length > MOST) throw new ArchimageError('CONFIG_INVALID', `${path} has more than ${MOST} bytes`)
  return readSyncFile(bytes, path, process.env)
}

/** `--src docker`: a repository with all its tags, or one image. */
function repositoryOf(text: string, place: string | undefined): SyncFile {
  if (place === undefined) throw new ArchimageError('USAGE', '--src docker needs a destination')
  const { registry, repository, tag, digest } = parseReference(text)
  const names = tag === undefined && digest === undefined ? {} : { names: [digest ?? tag!] }
  const entry: SyncEntry = {
    ...{ place: { file: 'the command line' }, kind: 'repository', source: `${registry}/${repository}` },
    ...{ tags: every, repositories: every, options: {} },
    ...names,
  }
  return { entries: [entry], hosts: {}, ownCredentialsOnly: false, warnings: [] }
}

function hostOf({ source, kind }: SyncEntry): string {
  if (kind === 'registry') return source
  try {
    return parseReference(source).registry
  } catch {
    return ''
  }
}
