import { ArchimageError } from '../errors/error.ts'
import { startRegistry } from '../registry/server/start.ts'
import { command, type Invocation, parse, print, say } from './command.ts'

const ABOUT = `Runs a registry (OCI distribution 1.1, plain HTTP) over a folder: docker, podman, skopeo, crane and archimage push to it and
pull from it. Without a folder everything is gone when it ends.`

export async function run(invocation: Invocation): Promise<number> {
  const program = command(invocation, '[options] [DIR]', ABOUT)
    .option('--addr <address>', 'address to listen on', '127.0.0.1')
    .option('--port <port>', 'port; 0 takes a free one', '5000')
    .option('--read-only', 'refuse every write')
    .option('--verbose', 'a line for every request')
  const parsed = parse(program, invocation)
  if (!parsed) return 0
  const { args, options } = parsed
  if (args.length > 1) throw new ArchimageError('USAGE', 'archimage serve takes one folder')
  const port = Number(options['port'])
  if (!Number.isInteger(port) || port < 0 || port > 65535)
    throw new ArchimageError('USAGE', `--port ${String(options['port'])} is not a port`)
  const addr = String(options['addr'])
  const [dir] = args
  const registry = await startRegistry({
    addr,
    port,
    readOnly: options['readOnly'] === true,
    ...(dir === undefined ? {} : { dir }),
    ...(options['verbose'] === true ? { log: say } : {}),
  })
  print(registry.address)
  say(
    `a registry listens on ${registry.url}${dir === undefined ? ', kept until it ends' : `, kept in ${dir}`}; Ctrl-C ends it`,
  )
  if (!/^(127\.|localhost$|::1$|\[::1\]$)/.test(addr))
    say(`warning: ${addr} is open to other machines, without a password`)
  await new Promise<void>(resolve => invocation.signal.addEventListener('abort', () => resolve(), { once: true }))
  await registry.close()
  return 0
}
