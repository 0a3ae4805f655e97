import { removeLogin } from '../registry/login.ts'
import { command, type Invocation, parse, say } from './command.ts'

export async function run(invocation: Invocation): Promise<number> {
  const parsed = parse(
    command(invocation, 'REGISTRY', 'Forgets the credentials for a registry, wherever docker or podman keep them.'),
    invocation,
  )
  if (!parsed) return 0
  const [registry = 'docker.io'] = parsed.args
  say((await removeLogin(registry)) ? `logged out of ${registry}` : `there were no credentials for ${registry}`)
  return 0
}
