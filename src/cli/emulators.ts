import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline/promises'
import { BINFMT_MISC } from '../emulation/binfmt.ts'
import { EMULATOR_IMAGE, fetchEmulators, keptFolder } from '../emulation/image.ts'
import { type Installed, installEmulators, uninstallEmulators } from '../emulation/install.ts'
import { problemError } from '../emulation/problem.ts'
import { findQemu, keptFolders, QEMU_FOLDERS, QEMU_NAMES } from '../emulation/qemu.ts'
import { unregister } from '../emulation/register.ts'
import { type EmulationReport, emulationReport, KNOWN_PLATFORMS } from '../emulation/report.ts'
import { ArchimageError } from '../errors/error.ts'
import { didYouMean } from '../errors/suggest.ts'
import { buildPlatform, type Platform, parsePlatforms } from '../oci/platform.ts'
import { formatReference, parseReference } from '../oci/reference.ts'
import { NAMES } from '../store/home.ts'
import { command, type Invocation, insecureOption, open, parse, print, say, switchOrValue } from './command.ts'
import { table } from './table.ts'

const ABOUT = `emulators ls shows which platforms can run here, and what runs them; install registers QEMU for platforms that cannot run
(as root, until the machine restarts); uninstall takes away what install registered.`

const WORDS = ['ls', 'install', 'uninstall']

type Options = Readonly<Record<string, unknown>>

export async function run(invocation: Invocation): Promise<number> {
  const program = command(invocation, 'ls | install | uninstall [options] [PLATFORM…]', ABOUT)
    .option('--all', 'install: every platform that there is an emulator for')
    .option('--force', 'install: also where an emulator works already')
    .addOption(
      switchOrValue(
        '--image [ref]',
        `install: take the emulators out of an image; --image=REF@sha256:…, or alone for ${EMULATOR_IMAGE}`,
      ),
    )
    .option('--yes', 'install: do not ask before an image is fetched')
    .option('--json', 'print as JSON')
    .addOption(insecureOption())
  const parsed = parse(program, invocation)
  if (!parsed) return 0
  const { args, options } = parsed
  const [word = 'ls', ...rest] = args
  if (word === 'ls') return list(rest, options)
  if (word === 'install') return install(rest, options, invocation)
  if (word === 'uninstall') return uninstall(rest, options)
  throw new ArchimageError('USAGE', `archimage emulators has no "${word}"`, {
    hint: didYouMean(word, WORDS) ?? 'it has ls, install and uninstall',
  })
}

async function list(words: readonly string[], options: Options): Promise<number> {
  const report = await emulationReport(words.length === 0 ? KNOWN_PLATFORMS : parsePlatforms(words))
  if (options['json'] === true) {
    print(JSON.stringify(report, null, 2))
    return 0
  }
  const rows = report.platforms.map(({ platform, how, handler, version, problem }) => [
    platform,
    how,
    handler?.name ?? '',
    [handler?.interpreter, version].filter(Boolean).join(' '),
    handler?.flags ?? '',
    problem === undefined ? '' : problem.message.replace(/^RUN steps of \S+ do not run here: /, ''),
  ])
  for (const line of table([['PLATFORM', 'RUNS', 'HANDLER', 'EMULATOR', 'FLAGS', 'PROBLEM'], ...rows])) print(line)
  for (const line of notes(report)) say(line)
  return 0
}

/** Each remark once, with the platforms that it is about. */
function notes({ platforms, binfmt }: EmulationReport): string[] {
  const about = new Map<string, string[]>()
  for (const { platform, remarks } of platforms)
    for (const remark of remarks) about.set(remark, [...(about.get(remark) ?? []), platform])
  const lines = [...about].map(([remark, names]) => {
    const more = names.length > 4 ? ` and ${names.length - 3} more` : ''
    return `${names.slice(0, more === '' ? 4 : 3).join(', ')}${more}: ${remark}`
  })
  if (!binfmt.mounted) lines.push(`binfmt_misc is not mounted on ${binfmt.mountPoint}`)
  return lines
}

async function install(words: readonly string[], options: Options, invocation: Invocation): Promise<number> {
  const all = options['all'] === true
  if (!all && words.length === 0)
    throw new ArchimageError('USAGE', 'archimage emulators install needs a platform', {
      hint: 'for instance: archimage emulators install linux/arm64; --all for every one that there is QEMU for',
    })
  if (process.platform !== 'linux')
    throw new ArchimageError(
      'UNSUPPORTED',
      'emulators are registered in a Linux kernel, and this machine runs another',
      {
        hint: 'register them in the virtual machine that runs the containers',
      },
    )
  // Before something is fetched; whatever else there is to do may be nothing.
  if (options['image'] !== undefined && process.geteuid?.() !== 0)
    throw new ArchimageError('PERMISSION', 'the kernel lets nobody but root register an emulator for the machine', {
      hint: `sudo archimage emulators install --image ${words.join(' ') || '--all'}`,
    })
  const platforms = all ? undefined : parsePlatforms(words)
  const folders = await emulatorFolders(options, invocation)
  const chosen = platforms ?? everyPlatform(folders)
  const installed = await installEmulators(chosen, { folders, force: options['force'] === true })
  if (options['json'] === true) print(JSON.stringify(installed, null, 2))
  else for (const line of table(installed.map(installedRow))) print(line)
  const failures = installed.flatMap(({ problem }) => (problem ? [problemError(problem)] : []))
  if (failures.length === 1) throw failures[0]!
  if (failures.length > 1)
    throw new ArchimageError('EMULATOR_MISSING', `${failures.length} platforms do not run here`, { parts: failures })
  return 0
}

function installedRow({ platform, state, ability }: Installed): string[] {
  const { how, handler } = ability
  if (state === 'failed') return [platform, 'failed']
  if (how === 'native') return [platform, 'runs natively']
  return [platform, state, handler?.name ?? '', handler?.interpreter ?? '', handler?.flags ?? '']
}

/** One platform for each architecture that an emulator is found for, without this machine's own. */
function everyPlatform(folders: readonly string[]): readonly Platform[] {
  const found = Object.keys(QEMU_NAMES).filter(
    name => name !== buildPlatform().architecture && findQemu(name, folders).found !== undefined,
  )
  if (found.length === 0)
    throw new ArchimageError('EMULATOR_MISSING', `there is no QEMU in ${folders.join(', ')}`, {
      hint: 'install it, or let it come out of an image: archimage emulators install --all --image',
    })
  return parsePlatforms(found)
}

/** Where emulators are looked for: in the image that was asked for, else on this machine and in what is kept of images. */
async function emulatorFolders(options: Options, { signal }: Invocation): Promise<readonly string[]> {
  const { store, registry } = open(options, say)
  try {
    const home = join(store.root, NAMES.emulators)
    const image = options['image']
    if (image === undefined) return [...QEMU_FOLDERS, ...keptFolders(home)]
    const reference = parseReference(image === true ? EMULATOR_IMAGE : String(image))
    const name = formatReference(reference)
    const repository = registry.repository(reference)
    if (reference.digest === undefined) {
      const now = await repository.head(reference.tag ?? 'latest', { signal })
      throw new ArchimageError('USAGE', `${name} is not pinned: what runs as root is named by its digest`, {
        hint: now === undefined ? 'add @sha256:…' : `today it is ${name}@${now.digest}`,
      })
    }
    if (options['yes'] !== true && !existsSync(keptFolder(home, reference.digest)))
      await agree(`Fetch emulators from ${name}, to be run by the kernel for every user?`)
    return [await fetchEmulators(repository, reference.digest, home, { name, signal })]
  } finally {
    store.close()
  }
}

async function agree(question: string): Promise<void> {
  if (!process.stdin.isTTY)
    throw new ArchimageError(
      'USAGE',
      'an image is fetched only when somebody agrees, and there is no terminal to ask on',
      {
        hint: 'give --yes',
      },
    )
  const input = createInterface({ input: process.stdin, output: process.stderr })
  try {
    if (/^y(?:es)?$/i.test((await input.question(`${question} [y/N] `)).trim())) return
  } finally {
    input.close()
  }
  throw new ArchimageError('CANCELLED', 'nothing was fetched')
}

/** Words are platforms, or names of handlers as they stand in binfmt_misc. */
function uninstall(words: readonly string[], options: Options): number {
  const named = words.filter(word => !word.includes('/') && existsSync(join(BINFMT_MISC, word)))
  const others = words.filter(word => !named.includes(word))
  const architectures = others.length === 0 ? [] : parsePlatforms(others).map(({ architecture }) => architecture)
  const gone = [
    ...named.filter(name => unregister(name)),
    ...(words.length === 0 ? uninstallEmulators() : uninstallEmulators([...new Set(architectures)])),
  ]
  if (options['json'] === true) print(JSON.stringify(gone))
  else for (const name of gone) print(`removed ${name}`)
  if (gone.length === 0) say('nothing that archimage registered is there')
  return 0
}
