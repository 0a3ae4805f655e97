import { afterAll, afterEach, beforeEach, expect, test } from 'bun:test'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Faults } from '../../src/registry/faulty/faults.ts'
import { type FaultyRegistry, startFaultyRegistry } from '../../src/registry/faulty/start.ts'
import { Sandbox, simpleServices } from '../run/command.ts'

const USER = 'robot$ci'
const PASSWORD = 'Tr0ub4dor&3/zürich+x'
const BASIC = Buffer.from(`${USER}:${PASSWORD}`).toString('base64')

const sandbox = new Sandbox('secrets')
const authFile = join(sandbox.folder, 'home/.docker/config.json')
let registry: FaultyRegistry
let elsewhere: FaultyRegistry
/** A token server; it gets the password, and is no other host for this. */
let tokens: FaultyRegistry
let serial = 0
const output: string[] = []

beforeEach(async () => {
  registry = await startFaultyRegistry()
  elsewhere = await startFaultyRegistry({ faults: { answer: echo(200) } })
  tokens = await startFaultyRegistry({ faults: { answer: echo(403) } })
  output.length = 0
  serial++
})
afterEach(async () => {
  await registry.close()
  await elsewhere.close()
  await tokens.close()
})
afterAll(() => sandbox.dispose())

/** Says back all that it was sent, in the ways that servers and proxies have of saying something. */
function echo(status: number, type = 'application/json'): NonNullable<Faults['answer']> {
  return async request => {
    const sent = request.headers.get('authorization') ?? 'nothing'
    const [, pair = ''] = /^Basic (.+)$/.exec(sent) ?? []
    const plain = Buffer.from(pair, 'base64').toString('utf8')
    const said = `you sent ${sent}, which is ${plain}, to ${request.url}`
    const body =
      type === 'text/html'
        ? `<html><title>${said}</title></html>`
        : JSON.stringify({ errors: [{ code: 'DENIED', message: said, detail: { authorization: sent, plain } }] })
    const headers = { 'content-type': type, warning: `299 - "${sent} ${encodeURIComponent(plain)}"` }
    return new Response(body, { status, headers })
  }
}

/** Everything that could give the user away: as it is, and as it travels. */
function secrets(): string[] {
  const tokens = registry.requests.map(request => /^Bearer (.+)$/.exec(request.headers['authorization'] ?? '')?.[1])
  return [PASSWORD, BASIC, encodeURIComponent(PASSWORD), ...new Set(tokens.filter(token => token !== undefined))]
}

async function archimage(args: readonly string[], options: { cwd?: string; input?: string } = {}): Promise<number> {
  const { code, stdout, stderr } = await sandbox.run([...args], { ...options, env: { ARCHIMAGE_TRACE: '1' } })
  output.push(`$ ${args[0]}\n${stdout}${stderr}`)
  return code
}

function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true, encoding: 'utf8' })
    .filter(entry => entry.isFile())
    .map(entry => join(entry.parentPath, entry.name))
}

function expectNothingTold(): void {
  const all = [
    ['the output', output.join('\n')],
    ...filesBelow(sandbox.folder)
      .filter(file => file !== authFile)
      .map(file => [file, readFileSync(file, 'latin1')]),
    ...elsewhere.requests.map(request => ['another host', JSON.stringify(request)]),
  ] as const
  for (const [where, text] of all)
    for (const secret of secrets())
      if (text.includes(secret) || text.includes(Buffer.from(secret).toString('latin1')))
        throw new Error(`${where} shows ${secret}:\n${text.slice(0, 4000)}`)
}

/** Every command that talks to a registry, with credentials from a file and from the command line. */
async function everything(): Promise<number[]> {
  const project = sandbox.project(`app-${serial}`, simpleServices('a'))
  const image = `${registry.address}/team/a:v1`
  const creds = ['--creds', `${USER}:${PASSWORD}`]
  mkdirSync(join(sandbox.folder, 'home/.docker'), { recursive: true })
  writeFileSync(authFile, JSON.stringify({ auths: { [registry.address]: { auth: BASIC } } }))
  return [
    await archimage(['login', '-u', USER, '--password-stdin', registry.address], { input: PASSWORD }),
    await archimage(['login', '-u', USER, '-p', PASSWORD, registry.address]),
    await archimage(['build', '--push', '--progress', 'json', '--registry', `${registry.address}/team`, '-t', 'v1'], {
      cwd: project,
    }),
    await archimage(['push', ...creds, image, `${registry.address}/team/b:v1`]),
    await archimage(['verify', ...creds, image]),
    await archimage(['verify', '--no-creds', image]),
    await archimage(['copy', '--src-creds', `${USER}:${PASSWORD}`, image, `${registry.address}/team/c:v1`]),
    await archimage(['inspect', '--remote', image]),
    await archimage(['logout', registry.address]),
  ]
}
const basic = { kind: 'basic', user: USER, password: PASSWORD } as const
const bearer = { kind: 'bearer', user: USER, password: PASSWORD } as const

test('when all is well', async () => {
  registry.faults.requireAuth = bearer
  expect(await everything()).toEqual([0, 0, 0, 0, 0, 3, 0, 0, 0])
  expectNothingTold()
})

test.each<[string, () => Faults]>([
  ['refuses and says back what it was sent', () => ({ requireAuth: basic, answer: refusing(echo(403)) })],
  ['fails and says back what it was sent', () => ({ requireAuth: basic, answer: refusing(echo(501)) })],
  [
    'stands behind a proxy that does so on a web page',
    () => ({ requireAuth: basic, answer: refusing(echo(400, 'text/html')) }),
  ],
  ['answers wrong credentials', () => ({ requireAuth: { ...basic, password: 'another' } })],
  [
    'has a token server that says back what it was sent',
    () => ({ requireAuth: { ...bearer, realm: `${tokens.url}/token` } }),
  ],
  ['redirects blobs', () => ({ requireAuth: bearer, redirectBlobsTo: elsewhere.url })],
])('when the registry %s', async (_name, faults) => {
  Object.assign(registry.faults, faults())
  await everything()
  const asked = [...registry.requests, ...tokens.requests]
  expect(asked.some(request => request.headers['authorization'] !== undefined)).toBe(true)
  expectNothingTold()
})

/** Only requests with credentials are answered this way, so that these are sent. */
function refusing(answer: NonNullable<Faults['answer']>): NonNullable<Faults['answer']> {
  return request => (request.headers.has('authorization') ? answer(request) : undefined)
}
