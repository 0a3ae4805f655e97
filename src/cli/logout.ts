import { ArchimageError } from '../errors/error.ts'
import { removeLogin } from '../registry/login.ts'
import { command, type Invocation, parse, say } from './command.ts'

export async function run(invocation: Invocation): Promise<number> {
  const parsed = parse(
    command(invocation, 'REGISTRY', 'Forgets the credentials for a registry, wherever docker or podman keep them.'),
    invocation,
  )
  if (!parsed) return 0
  const [registry] = parsed.args
  if (registry === undefined || parsed.args.length > 1)
    throw new ArchimageError('USAGE', 'archimage logout needs one registry', {
      hint: 'for Docker Hub: archimage logout docker.io',
    })
  say((await removeLogin(registry)) ? `logged out of ${registry}` : `there were no credentials for ${registry}`)
  return 0
}
