import { afterAll, beforeAll, expect } from 'bun:test'
import { join } from 'node:path'
import { type FaultyRegistry, startFaultyRegistry } from '../../src/registry/faulty/start.ts'
import { canRun, requirePeers } from '../peers/require.ts'
import { Repositories } from '../remote/repositories.ts'
import { startWeb, type Web } from '../remote/web.ts'
import { Sandbox } from './command.ts'
import { tarOf } from './images.ts'
import { pushBusybox } from './steps.ts'

const test = requirePeers('root', 'busybox', 'git')
const sandbox = new Sandbox('context-mounts')
let registry: FaultyRegistry | undefined
let web: Web | undefined

const DOCKERFILE = `FROM busybox:1
RUN --mount=target=/c,rw cat /c/a && stat -c 'context %u:%g %a' /c/a && touch /c/new
RUN --mount=from=url,target=/u cat /u/context && ! touch /u/new 2> /dev/null
RUN --mount=from=repo,source=sub,target=/r cat /r/b && stat -c 'repo %u:%g %a' /r/b
RUN --mount=from=files,target=/f cat /f/a
RUN --mount=type=cache,from=repo,source=sub,target=/cache,id=one cat /cache/b
`

beforeAll(async () => {
  if (!canRun('root', 'busybox', 'git')) return
  const repositories = new Repositories(join(sandbox.folder, 'git'))
  repositories.create('app', { 'sub/b': 'of a repository\n' })
  web = await startWeb({ repositories: repositories.folder })
  web.pages.set('/text', { body: 'of a URL\n' })
  web.pages.set('/main.tar', { body: tarOf({ Dockerfile: DOCKERFILE, a: 'of the archive\n' }) })
  registry = await startFaultyRegistry()
  await pushBusybox(registry.address, sandbox)
})
afterAll(async () => {
  await registry?.close()
  await web?.stop()
  await sandbox.dispose()
})

test('steps mount archives, URLs and repositories, and run again only when those changed', async () => {
  sandbox.project('other', { a: 'of a folder\n' })
  const args = [
    ...['build', '--progress', 'plain', '--platform', 'linux/amd64', '--build-context', `url=${web!.url}/text`],
    ...['--build-context', `repo=${web!.url}/git/app.git`, '--build-context', 'files=other', `${web!.url}/main.tar`],
  ]
  const { stderr } = await sandbox.must(args)
  for (const line of [
    'of the archive',
    'of a URL',
    'of a repository',
    'of a folder',
    'context 0:0 644',
    'repo 0:0 644',
  ])
    expect(stderr).toContain(line)
  expect((await sandbox.must(args)).stderr).toContain('unchanged')
  web!.pages.set('/text', { body: 'another text\n' })
  const again = (await sandbox.must(args)).stderr
  expect(again).toContain('another text')
  expect(again).not.toContain('of the archive')
})
