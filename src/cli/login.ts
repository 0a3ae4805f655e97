import { readFileSync } from 'node:fs'
import { Option } from 'commander'
import { ArchimageError } from '../errors/error.ts'
import { secret } from '../errors/redact.ts'
import { fileCredentials } from '../registry/credentials.ts'
import { saveLogin, verifyLogin } from '../registry/login.ts'
import { ask } from './ask.ts'
import { command, type Invocation, insecureOption, parse, print, say } from './command.ts'
import { addTlsFlags, tlsOptions } from './registry-flags.ts'

const ABOUT =
  'Checks credentials with a registry and keeps them where docker keeps them (its helper, or its config.json).'

const NO_TERMINAL = 'give --username and --password-stdin'

export async function run(invocation: Invocation): Promise<number> {
  const program = addTlsFlags(
    command(invocation, '[options] REGISTRY', ABOUT)
      .option('-u, --username <name>', 'the user')
      .option(
        '-p, --password <password>',
        'the password; --password-stdin does not show it to other users of this machine',
      )
      .option('--password-stdin', 'take the password from standard input')
      .option('--authfile <file>', "keep it in this file of docker's or podman's form")
      .option('--get-login', 'say as whom one is logged in, and do nothing')
      .addOption(insecureOption())
      .addOption(new Option('-v, --verbose').hideHelp())
      .addOption(new Option('--secret <name>').hideHelp()),
  )
  const parsed = parse(program, invocation)
  if (!parsed) return 0
  const { args, options } = parsed
  const [registry] = args
  if (registry === undefined || args.length > 1)
    throw new ArchimageError('USAGE', 'archimage login needs one registry', {
      hint: 'for Docker Hub: archimage login docker.io',
    })
  if (options['secret'] !== undefined)
    throw new ArchimageError('USAGE', "--secret names one of podman's secrets, which archimage does not keep", {
      hint: 'give --password-stdin',
    })
  const file = options['authfile'] as string | undefined
  if (options['getLogin'] === true) {
    const found = await fileCredentials(process.env, file).find(registry)
    if (found?.username === undefined)
      throw new ArchimageError('CREDENTIALS', `nobody is logged in to ${registry}`, {
        hint: `archimage login ${registry}`,
      })
    print(found.username)
    return 0
  }
  const username = (options['username'] as string | undefined) ?? (await ask('Username: ', NO_TERMINAL))
  const password =
    options['passwordStdin'] === true
      ? readFileSync(0, 'utf8').replace(/\r?\n$/, '')
      : ((options['password'] as string | undefined) ?? (await ask('Password: ', NO_TERMINAL)))
  secret(password)
  if (username === '' || password === '')
    throw new ArchimageError('USAGE', 'a user and a password are needed', {
      hint: `archimage login -u USER --password-stdin ${registry}`,
    })
  await verifyLogin(registry, username, password, { ...tlsOptions(options), signal: invocation.signal })
  const kept = await saveLogin(registry, username, password, file === undefined ? {} : { file })
  say(
    `logged in to ${registry} as ${username}; kept ${kept.helper === undefined ? `in ${kept.file}` : `by docker-credential-${kept.helper}`}`,
  )
  return 0
}
