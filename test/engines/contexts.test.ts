import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { FaultyRegistry } from '../../src/registry/faulty/start.ts'
import type { Image } from '../fidelity/image.ts'
import { canRun, requirePeers } from '../peers/require.ts'
import { Repositories } from '../remote/repositories.ts'
import { startWeb, type Web } from '../remote/web.ts'
import type { Sandbox } from '../run/command.ts'
import { tarOf } from '../run/images.ts'
import { ENGINE_KINDS, engineSandbox, imagesIn, type RealEngine } from './setup.ts'

const dockerfile = (web: string): string => `FROM busybox:1
COPY main /x/main
COPY --from=repo --chmod=600 b /x/repo
COPY --from=archive in /x/archive
COPY --from=url context /x/url
ADD --chmod=604 ${web}/added.txt /x/added
ADD ${web}/git/app.git#main:sub /x/git
ADD --unpack --chown=7:8 \\
    ${web}/other.tar \\
    /x/unpacked/
ADD --exclude=sub main ${web}/git/app.git ${web}/url /x/mixed/
RUN --mount=from=repo,target=/r cat /r/b > /x/mounted
`

/** What each kind of engine made of it. */
const made = new Map<string, Image>()

for (const { title, engine, network, needs, start } of ENGINE_KINDS)
  describe(title, () => {
    const real = requirePeers('git', ...needs)
    let sandbox: Sandbox
    let registry: FaultyRegistry
    let web: Web
    let peer: RealEngine | undefined

    beforeAll(async () => {
      const setup = await engineSandbox(`contexts-${engine}`)
      sandbox = setup.sandbox
      registry = setup.registry
      const repositories = new Repositories(join(sandbox.folder, 'git'))
      web = await startWeb({ repositories: repositories.folder })
      if (!canRun('git', ...needs)) return
      repositories.create('app', { b: 'of a repository\n', 'sub/c': 'below\n' })
      web.pages.set('/main.tar', { body: tarOf({ Dockerfile: dockerfile(web.url), main: 'of the archive\n' }) })
      web.pages.set('/added.txt', { body: 'added\n' })
      web.pages.set('/other.tar', { body: tarOf({ in: undefined, 'in/a': 'unpacked' }) })
      web.pages.set('/url', { body: 'of a URL\n' })
      writeFileSync(join(sandbox.folder, 'archive.tar'), tarOf({ in: 'of another archive\n' }))
      peer = await start()
    }, 120_000)
    afterAll(async () => {
      await peer?.stop()
      await web.stop()
      await registry.close()
      await sandbox.dispose()
    }, 60_000)

    real(
      'contexts and sources from elsewhere',
      async () => {
        const contexts = { repo: `${web.url}/git/app.git`, url: `${web.url}/url`, archive: 'archive.tar' }
        const args = [
          ...['build', '--engine', engine, '--network', network, '--platform', 'linux/amd64', '-t', 'made:1'],
          ...Object.entries(contexts).flatMap(([name, at]) => ['--build-context', `${name}=${at}`]),
          `${web.url}/main.tar`,
        ]
        await sandbox.must(args, { env: peer!.env })
        made.set(title, imagesIn(sandbox, 'docker.io/library/made:1').get('linux/amd64')!)
        expect((await sandbox.must(args, { env: peer!.env })).stderr).toContain('unchanged')
      },
      120_000,
    )
  })

test('all engines take the same', () => {
  const [first, ...others] = [...made.values()].map(image =>
    [...image.tree].filter(([path]) => /^x(?:\/|$)/.test(path)),
  )
  if (first !== undefined) expect(first.map(([path]) => path)).toEqual(expect.arrayContaining(['x/git/c', 'x/mounted']))
  for (const other of others) expect(other).toEqual(first!)
})
