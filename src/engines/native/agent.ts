import { chmodSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import { createConnection, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ArchimageError, systemError } from '../../errors/error.ts'
import { builtin } from '../../sys/builtin.ts'
import { runProgram } from '../../sys/spawn.ts'

/** SSH_AGENTC_REQUEST_IDENTITIES, SSH_AGENTC_SIGN_REQUEST (draft-ietf-sshm-ssh-agent, 6). */
const ALLOWED = [11, 13]
/** A message that no agent knows: it answers SSH_AGENT_FAILURE, in the order in which it was asked. */
const REFUSED = Buffer.from([0, 0, 0, 1, 255])
/** OpenSSH's limit. */
const LONGEST = 256 * 1024

interface Agent {
  close(): void
}

/** The agents that steps of a run reach: each is served once, on a socket of our own. */
export class Agents {
  readonly #served = new Map<string, Promise<string>>()
  readonly #open: Agent[] = []
  #folder: string | undefined

  /** The socket that leads to an agent, or to one of our own that has these keys. Throws USAGE, ENGINE_MISSING. */
  socket(paths: readonly string[]): Promise<string> {
    const key = paths.join('\0')
    const served = this.#served.get(key) ?? this.#serve(paths, this.#served.size)
    this.#served.set(key, served)
    return served
  }

  async #serve(paths: readonly string[], n: number): Promise<string> {
    // Paths of sockets are short, those of stores need not be.
    this.#folder ??= mkdtempSync(join(tmpdir(), 'archimage-ssh-'))
    const socket = join(this.#folder, `${n}.sock`)
    let [upstream] = paths
    if (paths.length > 1 || !statSync(upstream!).isSocket()) {
      upstream = join(this.#folder, `${n}.keys`)
      this.#open.push(await startAgent(upstream, paths))
    }
    this.#open.push(await serveAgent(socket, upstream!))
    return socket
  }

  close(): void {
    for (const agent of this.#open) agent.close()
    if (this.#folder !== undefined) rmSync(this.#folder, { recursive: true, force: true })
  }
}

/**
 * Serves the agent at `upstream` on a socket of our own. Steps may list its keys and let it sign; what would change the agent of
 * whoever builds (add and remove keys, lock it) is answered with a failure.
 */
function serveAgent(path: string, upstream: string): Promise<Agent> {
  const open = new Set<Socket>()
  const server = createServer(client => {
    const agent = createConnection(upstream)
    const filter = new Requests(message => agent.write(message))
    for (const [one, other] of [
      [client, agent],
      [agent, client],
    ] as const) {
      open.add(one)
      one.on('error', () => other.destroy())
      one.on('close', () => {
        open.delete(one)
        other.destroy()
      })
    }
    client.on('data', (chunk: Buffer) => {
      if (!filter.push(chunk)) client.destroy()
    })
    agent.on('data', chunk => client.write(chunk))
  })
  return new Promise((resolve, reject) => {
    server.once('error', error => reject(systemError(error, `listening on ${path}`)))
    server.listen(path, () => {
      chmodSync(path, 0o600)
      resolve({
        close: () => {
          server.close()
          for (const socket of open) socket.destroy()
        },
      })
    })
  })
}

/** Cuts what a client sends into messages, and lets those pass that are allowed. */
export class Requests {
  readonly #pass: (message: Buffer) => void
  #rest: Buffer = Buffer.alloc(0)

  constructor(pass: (message: Buffer) => void) {
    this.#pass = pass
  }

  /** False when it is no agent's protocol. */
  push(chunk: Uint8Array): boolean {
    this.#rest = Buffer.concat([this.#rest, chunk])
    while (this.#rest.length >= 5) {
      const length = this.#rest.readUInt32BE()
      if (length === 0 || length > LONGEST) return false
      if (this.#rest.length < length + 4) return true
      this.#pass(ALLOWED.includes(this.#rest[4]!) ? this.#rest.subarray(0, length + 4) : REFUSED)
      this.#rest = this.#rest.subarray(length + 4)
    }
    return true
  }
}

/** Starts an agent with these keys, listening at `path`. Throws USAGE for what is no key, or one with a passphrase. */
async function startAgent(path: string, keys: readonly string[]): Promise<Agent> {
  const child = builtin.childProcess.spawn('ssh-agent', ['-D', '-a', path], { stdio: ['ignore', 'pipe', 'ignore'] })
  try {
    await new Promise<void>((resolve, reject) => {
      child.on('error', reject)
      child.on('close', code => reject(new Error(`ssh-agent ended with exit code ${code}`)))
      child.stdout.once('data', () => resolve())
    })
    const env = { ...process.env, SSH_AUTH_SOCK: path, SSH_ASKPASS_REQUIRE: 'never', DISPLAY: '' }
    const { code, stderr } = await runProgram('ssh-add', ['-q', '--', ...keys], { env, timeout: 30_000 })
    if (code !== 0)
      throw new ArchimageError('USAGE', `--ssh: ${keys.join(', ')} cannot be used: ${stderr.toString().trim()}`, {
        hint: 'name private keys without a passphrase, or the socket of an agent that has them',
      })
    return { close: () => void child.kill('SIGKILL') }
  } catch (error) {
    child.kill('SIGKILL')
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    throw new ArchimageError('ENGINE_MISSING', '--ssh with a key needs ssh-agent and ssh-add, which are not here', {
      hint: 'install openssh-client, or name the socket of an agent: --ssh default=$SSH_AUTH_SOCK',
      cause: error,
    })
  }
}
