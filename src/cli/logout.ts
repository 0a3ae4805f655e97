import { ArchimageError } from '../errors/error.ts'
import { removeAllLogins, removeLogin } from '../registry/login.ts'
import { command, type Invocation, parse, say } from './command.ts'

export async function run(invocation: Invocation): Promise<number> {
  const parsed = parse(
    command(invocation, 'REGISTRY', 'Forgets the credentials for a registry, wherever docker or podman keep them.')
      .option('--authfile <file>', 'forget them in this file alone')
      .option('-a, --all', 'forget those of every registry'),
    invocation,
  )
  if (!parsed) return 0
  const { args, options } = parsed
  const [registry] = args
  const where = typeof options['authfile'] === 'string' ? { file: options['authfile'] } : {}
  if (options['all'] === true && registry === undefined) {
    const count = await removeAllLogins(where)
    say(count === 0 ? 'there were no credentials' : `logged out of ${count} ${count === 1 ? 'registry' : 'registries'}`)
    return 0
  }
  if (registry === undefined || args.length > 1 || options['all'] === true)
    throw new ArchimageError('USAGE', 'archimage logout needs one registry, or --all', {
      hint: 'for Docker Hub: archimage logout docker.io',
    })
  const removed = await removeLogin(registry, where)
  say(removed ? `logged out of ${registry}` : `there were no credentials for ${registry}`)
  return 0
}
