import { lstatSync, statSync } from 'node:fs'
import { hostname, networkInterfaces } from 'node:os'
import { join, resolve } from 'node:path'
import { ArchimageError } from '../errors/error.ts'
import { ownCertificate } from '../registry/server/certificate.ts'
import { collectGarbage } from '../registry/server/garbage.ts'
import { formatGarbage, type RegistryOptions, startRegistry } from '../registry/server/start.ts'
import { Storage } from '../registry/server/storage.ts'
import { readAuthority, readTls } from '../registry/server/tls-files.ts'
import { Users } from '../registry/server/users.ts'
import { NAMES, prepareHome, storeHome } from '../store/home.ts'
import type { ServerTls } from '../sys/http-server.ts'
import type { Served } from '../transports/served.ts'
import { command, type Invocation, parse, print, say, switchOrValue, workingDirectory } from './command.ts'

const ABOUT = `Runs a registry (OCI distribution 1.1) over a folder: docker, podman, skopeo, crane and archimage push to it and pull from it. Without
a folder everything is gone when it ends. Over an OCI layout or an archive of images, and with --store over the store of this
machine, it is read-only.`

type Options = Readonly<Record<string, unknown>>

export async function run(invocation: Invocation): Promise<number> {
  const program = command(invocation, '[options] [DIR | LAYOUT | ARCHIVE]', ABOUT)
    .option('--addr <address>', 'address to listen on', '127.0.0.1')
    .option('--port <port>', 'port; 0 takes a free one', '5000')
    .option('--read-only', 'refuse every write')
    .option('--store', 'serve the store of this machine, read-only')
    .option('--sparse', 'take manifests some of whose blobs or platforms are not there')
    .option('--tls', 'HTTPS with a certificate of its own, which is made once and kept')
    .option('--tls-cert <file>', 'HTTPS with this certificate (PEM)')
    .option('--tls-key <file>', 'the key of --tls-cert')
    .option('--tls-client-ca <file>', 'only let in clients with a certificate of this authority')
    .option('--htpasswd <file>', 'only let in the users of this file: htpasswd -B makes it')
    .option('--anonymous-pull', 'with --htpasswd: everybody may read')
    .addOption(
      switchOrValue('--gc [interval]', 'remove what no manifest names, every hour; --gc=15m: as often as that'),
    )
    .option('--gc-once', 'do it now and end; another process may be serving the folder')
    .option('--gc-delay <time>', 'what was pushed, asked for or lost its tag more recently stays', '1h')
    .option('--gc-untagged', 'also remove manifests to which no tag leads')
    .option('--dry-run', 'with --gc-once: only say what would go')
    .option('--verbose', 'a line for every request')
  const parsed = parse(program, invocation)
  if (!parsed) return 0
  const { args } = parsed
  const directory = workingDirectory(invocation, parsed.options)
  const options = inDirectory(parsed.options, directory)
  if (args.length > 1) throw usage('archimage serve takes one folder or archive')
  checkFlags(options)
  const place = args[0] === undefined ? undefined : resolve(directory, args[0])
  if (options['gcOnce'] === true) return collect(place, options)
  const served = await openServed(place, options, invocation.signal)
  try {
    return await serve(served, place, options, invocation.signal)
  } finally {
    served?.close()
  }
}

/** With the files of options where -C says that they are. */
function inDirectory(options: Options, directory: string): Options {
  if (directory === process.cwd()) return options
  const files = ['tlsCert', 'tlsKey', 'tlsClientCa', 'htpasswd'].filter(name => options[name] !== undefined)
  return { ...options, ...Object.fromEntries(files.map(name => [name, resolve(directory, String(options[name]))])) }
}

async function serve(
  served: Served | undefined,
  place: string | undefined,
  options: Options,
  signal: AbortSignal,
): Promise<number> {
  const addr = String(options['addr'])
  const { tls, ca } = tlsOf(options, addr)
  const gc = gcOf(options)
  const htpasswd = options['htpasswd'] as string | undefined
  const registry = await startRegistry({
    addr,
    port: Number(options['port']),
    readOnly: options['readOnly'] === true,
    sparse: options['sparse'] === true,
    anonymousPull: options['anonymousPull'] === true,
    ...(served ? { storage: served } : place === undefined ? {} : { dir: place }),
    ...(tls && { tls }),
    ...(htpasswd === undefined ? {} : { htpasswd }),
    ...(gc && { gc }),
    ...(options['verbose'] === true ? { log: say } : {}),
    note: say,
  })
  print(registry.address)
  const from = served
    ? `of ${place ?? storeHome()}, read-only`
    : place === undefined
      ? 'kept until it ends'
      : `kept in ${place}`
  say(`a registry listens on ${registry.url}, ${from}; Ctrl-C ends it`)
  if (ca !== undefined)
    say(
      `its certificate is ${ca}: docker trusts it as /etc/docker/certs.d/${registry.address}/ca.crt, podman as /etc/containers/certs.d/${registry.address}/ca.crt`,
    )
  if (htpasswd !== undefined && new Users(htpasswd).exposed)
    say(`warning: other users of this machine can read ${htpasswd}; chmod 600 makes it yours`)
  if (!isLoopback(addr)) warnOfOthers(addr, tls, htpasswd)
  await new Promise<void>(done => signal.addEventListener('abort', () => done(), { once: true }))
  await registry.close()
  return 0
}

function checkFlags(options: Options): void {
  const port = Number(options['port'])
  if (!Number.isInteger(port) || port < 0 || port > 65535)
    throw usage(`--port ${String(options['port'])} is not a port`)
  const needs = (flag: string, name: string, ...others: [string, string][]): void => {
    if (options[name] !== undefined && others.every(([, other]) => options[other] === undefined))
      throw usage(`${flag} goes with ${others.map(([other]) => other).join(' or ')}`)
  }
  needs('--tls-cert', 'tlsCert', ['--tls-key', 'tlsKey'])
  needs('--tls-key', 'tlsKey', ['--tls-cert', 'tlsCert'])
  needs('--tls-client-ca', 'tlsClientCa', ['--tls-cert', 'tlsCert'], ['--tls', 'tls'])
  needs('--anonymous-pull', 'anonymousPull', ['--htpasswd', 'htpasswd'])
  needs('--gc-untagged', 'gcUntagged', ['--gc', 'gc'], ['--gc-once', 'gcOnce'])
  needs('--dry-run', 'dryRun', ['--gc-once', 'gcOnce'])
  if (options['gc'] !== undefined && options['readOnly'] === true)
    throw usage('--gc writes, and --read-only forbids that')
}

/** Undefined for a folder of a registry, and for none. */
async function openServed(
  place: string | undefined,
  options: Options,
  signal: AbortSignal,
): Promise<Served | undefined> {
  const store = options['store'] === true
  if (store && place !== undefined)
    throw usage('--store serves the store of this machine; it takes no folder beside it')
  if (store) prepareHome(storeHome())
  const path = store ? storeHome() : place
  const stat = path === undefined ? undefined : statSync(path, { throwIfNoEntry: false })
  const archive = stat !== undefined && !stat.isDirectory()
  // A slip of the finger would begin a registry of that name.
  if (path !== undefined && stat === undefined && /\.(?:tar|tgz)(?:\.\w+)?$/.test(path))
    throw new ArchimageError('NOT_FOUND', `there is no archive ${path}`, {
      hint: 'to begin a registry in a folder that is called like an archive, make the folder first',
    })
  if (path === undefined || !(archive || lstatSync(join(path, 'oci-layout'), { throwIfNoEntry: false })))
    return undefined
  if (options['gc'] !== undefined) throw usage(`--gc is for registries; ${path} holds images, and is served read-only`)
  const { serveArchive, serveLayout } = await import('../transports/served.ts')
  return archive ? serveArchive(path, signal) : serveLayout(path)
}

async function collect(place: string | undefined, options: Options): Promise<number> {
  if (place === undefined) throw usage('--gc-once needs the folder of a registry')
  const isRegistry = ['repositories', 'uploads'].some(name => lstatSync(join(place, name), { throwIfNoEntry: false }))
  if (!isRegistry) throw new ArchimageError('NOT_FOUND', `${place} is not the folder of a registry`)
  const dryRun = options['dryRun'] === true
  const got = await collectGarbage(new Storage(place), { ...gcOf(options), dryRun })
  if (got === undefined)
    throw new ArchimageError('USAGE', `another process is collecting in ${place}`, { hint: 'wait for it' })
  print(`${dryRun ? 'would remove' : 'removed'} ${formatGarbage(got)}`)
  return 0
}

function gcOf(options: Options): RegistryOptions['gc'] {
  const { gc } = options
  if (gc === undefined && options['gcOnce'] !== true) return undefined
  return {
    delay: duration('--gc-delay', String(options['gcDelay'])),
    untagged: options['gcUntagged'] === true,
    ...(typeof gc === 'string' ? { interval: duration('--gc', gc) } : {}),
  }
}

function duration(flag: string, text: string): number {
  const units: Readonly<Record<string, number>> = { s: 1e3, m: 60e3, h: 3600e3, d: 86400e3, w: 604800e3 }
  const [, count, unit] = /^(\d+(?:\.\d+)?)(s|m|h|d|w)$/.exec(text) ?? []
  if (count !== undefined && Number(count) > 0) return Number(count) * units[unit!]!
  throw new ArchimageError('USAGE', `${flag} ${text} is not a time`, { hint: 'for instance 30m, 1h, 7d' })
}

/** `ca`: the file that clients need, where the certificate is our own. */
function tlsOf(options: Options, addr: string): { readonly tls?: ServerTls; readonly ca?: string } {
  const { tlsCert: cert, tlsKey: key, tlsClientCa } = options as Readonly<Record<string, string | undefined>>
  if (cert !== undefined && key !== undefined) return { tls: readTls({ cert, key, clientCa: tlsClientCa }) }
  if (options['tls'] !== true) return {}
  const home = storeHome()
  prepareHome(home)
  const wildcard = ['0.0.0.0', '::', '[::]', ''].includes(addr)
  const needed = ['localhost', '127.0.0.1', '::1', hostname(), ...(wildcard ? [] : [addr.replace(/^\[(.*)\]$/, '$1')])]
  const others = Object.values(networkInterfaces()).flatMap(list => (list ?? []).map(({ address }) => address))
  const own = ownCertificate(join(home, NAMES.tls), [...new Set(needed)], others)
  if (own.made)
    say(`a new certificate was made for ${[...new Set(needed)].join(', ')} and the addresses of this machine`)
  const clientCa = tlsClientCa === undefined ? {} : { clientCa: readAuthority(tlsClientCa) }
  return { tls: { cert: own.cert, key: own.key, ...clientCa }, ca: own.file }
}

function isLoopback(addr: string): boolean {
  return /^(127\.|localhost$|::1$|\[::1\]$)/.test(addr)
}

function warnOfOthers(addr: string, tls: ServerTls | undefined, htpasswd: string | undefined): void {
  if (htpasswd === undefined && tls?.clientCa === undefined)
    say(`warning: ${addr} is open to other machines, without a password`)
  else if (tls === undefined) say(`warning: passwords go to ${addr} in the clear: --tls`)
}

function usage(message: string): ArchimageError {
  return new ArchimageError('USAGE', message, { hint: 'archimage serve --help tells more' })
}
