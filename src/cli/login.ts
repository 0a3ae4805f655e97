import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline/promises'
import { ArchimageError } from '../errors/error.ts'
import { secret } from '../errors/redact.ts'
import { saveLogin, verifyLogin } from '../registry/login.ts'
import { command, type Invocation, insecureOption, parse, say } from './command.ts'

const ABOUT =
  'Checks credentials with a registry and keeps them where docker keeps them (its helper, or its config.json).'

export async function run(invocation: Invocation): Promise<number> {
  const program = command(invocation, '[options] REGISTRY', ABOUT)
    .option('-u, --username <name>', 'the user')
    .option(
      '-p, --password <password>',
      'the password; --password-stdin does not show it to other users of this machine',
    )
    .option('--password-stdin', 'take the password from standard input')
    .addOption(insecureOption())
  const parsed = parse(program, invocation)
  if (!parsed) return 0
  const { args, options } = parsed
  const [registry] = args
  if (registry === undefined || args.length > 1)
    throw new ArchimageError('USAGE', 'archimage login needs one registry', {
      hint: 'for Docker Hub: archimage login docker.io',
    })
  const username = (options['username'] as string | undefined) ?? (await ask('Username: '))
  const password =
    options['passwordStdin'] === true
      ? readFileSync(0, 'utf8').replace(/\r?\n$/, '')
      : ((options['password'] as string | undefined) ?? (await ask('Password: ')))
  secret(password)
  if (username === '' || password === '')
    throw new ArchimageError('USAGE', 'a user and a password are needed', {
      hint: `archimage login -u USER --password-stdin ${registry}`,
    })
  const insecure = options['insecure']
  await verifyLogin(registry, username, password, {
    signal: invocation.signal,
    ...(insecure ? { insecure: true } : {}),
  })
  const { file, helper } = await saveLogin(registry, username, password)
  say(
    `logged in to ${registry} as ${username}; kept ${helper === undefined ? `in ${file}` : `by docker-credential-${helper}`}`,
  )
  return 0
}

async function ask(question: string): Promise<string> {
  if (!process.stdin.isTTY)
    throw new ArchimageError('USAGE', 'there is no terminal to ask on', {
      hint: 'give --username and --password-stdin',
    })
  const hidden = question.startsWith('Password')
  const input = createInterface({ input: process.stdin, output: process.stderr, terminal: true })
  try {
    if (hidden) {
      // readline echoes what is typed: a password is written over with nothing.
      Object.assign(input, { _writeToOutput: () => {} })
      process.stderr.write(question)
    }
    return (await input.question(hidden ? '' : question)).trim()
  } finally {
    if (hidden) process.stderr.write('\n')
    input.close()
  }
}
