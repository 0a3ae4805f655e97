import type { Command } from 'commander'
import { ArchimageError, isArchimageError } from '../../errors/error.ts'
import { renderError } from '../../errors/render.ts'
import { styleFor } from '../../errors/render-style.ts'
import { platformName } from '../../manifests/edit.ts'
import { chooseEntries, findList, mustFindList } from '../../manifests/lists.ts'
import { type Descriptor, describe, isAttestation, type Manifest } from '../../oci/manifest.ts'
import { DOCKER } from '../../oci/media-types.ts'
import { familiarReference, formatReference, parseReference } from '../../oci/reference.ts'
import { escapeControls, stringify } from '../../report/json.ts'
import { openStore, type Store } from '../../store/store.ts'
import { terminal } from '../../sys/terminal.ts'
import { formatLocation } from '../../transports/location.ts'
import type { Transport } from '../../transports/transport.ts'
import { command, type Invocation, parse, print, say } from '../command.ts'
import type { Options } from '../request.ts'
import { table } from '../table.ts'
import { addRegistryFlags, locate, type ManifestTools, manifestTools, needsArguments } from './tools.ts'

interface Show {
  readonly usage: string
  readonly about: string
  readonly flags: (program: Command) => void
  readonly run: (args: readonly string[], options: Options, tools: Tools) => Promise<number>
}

interface Tools {
  readonly store: () => Store
  readonly manifest: () => Promise<ManifestTools>
}

const SHOWS: Readonly<Record<string, Show>> = {
  inspect: {
    usage: '[options] [LIST] IMAGE',
    about: 'Prints a manifest or an index: a list, an image of the store, of a registry, a file or a daemon.',
    flags: program => {
      addRegistryFlags(program.option('-v, --verbose', 'with the manifests behind it, as docker manifest inspect -v'))
    },
    run: inspect,
  },
  exists: {
    usage: 'LIST',
    about: 'Exit code 0 when there is such a list here, 1 when there is none, 125 after an error.',
    flags: () => {},
    run: async ([name], _options, tools) => {
      try {
        needsArguments('manifest exists', name === undefined ? [] : [name], 1, 1, 'LIST')
        return findList(tools.store(), name!) === undefined ? 1 : 0
      } catch (error) {
        if (!isArchimageError(error)) throw error
        const out = terminal(2)
        out.write(`${renderError(error, styleFor(out, process.env))}\n`)
        return 125
      }
    },
  },
  ls: {
    usage: '[options]',
    about: 'Lists what is being put together.',
    flags: program => {
      program.option('--json', 'print as JSON').option('-q, --quiet', 'print names only')
    },
    run: async (_args, options, tools) => {
      const lists = tools
        .store()
        .refs()
        .filter(({ origin }) => origin === 'list')
      const rows = lists.flatMap(ref => findList(tools.store(), ref.name) ?? [])
      const familiar = (name: string): string => familiarReference(parseReference(name))
      if (options['json'] === true)
        print(
          stringify(
            rows.map(({ name, index }) => ({ name, ...plain(index) })),
            2,
          ),
        )
      else if (options['quiet'] === true) for (const { name } of rows) print(familiar(name))
      else if (rows.length === 0) say('there are no lists; archimage manifest create makes one')
      else
        for (const line of table([
          ['NAME', 'DIGEST', 'IMAGES'],
          ...rows.map(({ name, index }) => [
            familiar(name),
            index.digest.slice(7, 19),
            index.manifests
              .filter(entry => !isAttestation(entry))
              .map(platformName)
              .join(', '),
          ]),
        ]))
          print(line)
      return 0
    },
  },
  rm: {
    usage: '[options] LIST…',
    about: 'Forgets lists. What was pushed stays where it is.',
    flags: program => {
      program.option('-i, --ignore', 'lists that are not there are no error')
    },
    run: remove,
  },
}

export async function run(invocation: Invocation, verb: string): Promise<number> {
  const { usage, about, flags, run } = SHOWS[verb]!
  const program = command(invocation, usage, about)
  flags(program)
  const parsed = parse(program, invocation)
  if (!parsed) return 0
  const { args, options } = parsed
  let store: Store | undefined
  let opened: ManifestTools | undefined
  try {
    return await run(args, options, {
      store: () => {
        store ??= openStore({ warn: say })
        return store
      },
      manifest: async () => {
        opened ??= await manifestTools(options, args, invocation.signal)
        return opened
      },
    })
  } finally {
    await opened?.close()
    store?.close()
  }
}

function plain(index: Manifest): Record<string, unknown> {
  return { digest: index.digest, ...(JSON.parse(Buffer.from(index.raw).toString('utf8')) as object) }
}

/** All that can go goes, and what could not is one error, as docker does it. */
async function remove(args: readonly string[], options: Options, { store }: Tools): Promise<number> {
  if (args.length === 0) needsArguments('manifest rm', args, 1, Number.POSITIVE_INFINITY, 'LIST…')
  const failures: ArchimageError[] = []
  for (const name of args)
    try {
      const list = mustFindList(store(), name)
      if (list.origin !== 'list')
        throw new ArchimageError('USAGE', `${name} is an image that was ${list.origin} here, not a list`, {
          hint: `archimage rm ${name} removes it`,
        })
      store().untag(list.name)
      print(`Untagged: ${list.name}`)
    } catch (error) {
      if (!isArchimageError(error)) throw error
      if (error.code !== 'NOT_FOUND' || options['ignore'] !== true) failures.push(error)
    }
  if (failures.length === 1) throw failures[0]!
  if (failures.length > 1)
    throw new ArchimageError('NOT_FOUND', failures.map(({ message }) => message).join('\n'), { parts: failures })
  return 0
}

async function inspect(args: readonly string[], options: Options, { manifest }: Tools): Promise<number> {
  needsArguments('manifest inspect', args, 1, 2, '[LIST] IMAGE')
  const tools = await manifest()
  const { signal } = tools.copy
  const verbose = options['verbose'] === true
  if (args.length === 2) {
    const list = mustFindList(tools.store(), args[0]!)
    for (const entry of chooseEntries(list, args[1]!).entries) {
      const { digest, mediaType } = entry
      const found = tools.store().manifest(digest, mediaType)
      show(verbose ? details(found, entry, args[1]!) : found)
    }
    return 0
  }
  const location = locate(args[0]!, tools)
  const { place, name } = await tools.places.image(location)
  const found = await place.transport.manifest(name, { signal })
  if (found === undefined)
    throw new ArchimageError('NOT_FOUND', `no such manifest: ${formatLocation(location)}`, {
      hint: 'check its name and its tag; archimage manifest ls lists what is being put together here',
    })
  const of = 'reference' in location ? formatReference(location.reference) : formatLocation(location)
  if (!verbose) show(found)
  else if (found.kind === 'image') show(details(found, describe(found), of))
  else show(await Promise.all(found.manifests.map(entry => child(entry, place.transport, of, signal))))
  return 0
}

async function child(entry: Descriptor, transport: Transport, of: string, signal: AbortSignal): Promise<unknown> {
  const manifest = await transport.manifest(entry.digest, { signal })
  const ref = `${of.replace(/@.*$/, '')}@${entry.digest}`
  return manifest === undefined ? { Ref: ref, Descriptor: entry } : details(manifest, entry, ref)
}

/** What `docker manifest inspect -v` prints of one. */
function details(manifest: Manifest, entry: Descriptor, ref: string): unknown {
  return {
    Ref: ref,
    Descriptor: entry,
    Raw: Buffer.from(manifest.raw).toString('base64'),
    [manifest.mediaType === DOCKER.manifest ? 'SchemaV2Manifest' : 'OCIManifest']: JSON.parse(
      Buffer.from(manifest.raw).toString('utf8'),
    ),
  }
}

/** Indented as docker does it: lists by three spaces, all else by tabs. */
function show(what: Manifest | unknown): void {
  const manifest = isManifest(what) ? what : undefined
  const json = manifest === undefined ? what : JSON.parse(Buffer.from(manifest.raw).toString('utf8'))
  print(escapeControls(JSON.stringify(json, null, manifest?.kind === 'index' ? 3 : '\t')))
}

function isManifest(value: unknown): value is Manifest {
  return typeof value === 'object' && value !== null && 'raw' in value && 'kind' in value
}
