import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { FaultyRegistry } from '../../src/registry/faulty/start.ts'
import type { Image } from '../fidelity/image.ts'
import { canRun, requirePeers } from '../peers/require.ts'
import { type Ended, type Options, resultOf, type Sandbox, states } from '../run/command.ts'
import { ENGINE_KINDS, engineSandbox, imagesIn, type RealEngine } from './setup.ts'

/** Services upon services, stages of both machines, a named folder, ignored files, everything that a config holds. */
const PROJECT: Readonly<Record<string, string>> = {
  'archimage.yaml': `platforms: [linux/amd64, linux/arm64]
services:
  base: {}
  web: { args: { GREETING: hello }, labels: { by: us }, build-contexts: { docs: docs } }
`,
  'docs/a.md': 'of a named folder\n',
  'src/base/Dockerfile': `FROM busybox:1
ARG TARGETARCH
RUN echo "base for $TARGETARCH" > /base && uname -m > /machine
USER nobody
`,
  'src/web/.dockerignore': 'secret.txt\n',
  'src/web/secret.txt': 'not for images\n',
  'src/web/app.sh': '#!/bin/sh\necho app\n',
  'src/web/Dockerfile': `FROM --platform=$BUILDPLATFORM busybox:1 AS build
ARG TARGETARCH
RUN mkdir /out && echo "made for $TARGETARCH" > /out/made && echo "on $(uname -m)" > /out/on && ln -s made /out/link

FROM busybox:1 AS unused
RUN exit 1

FROM base
ARG GREETING
ENV GREETING=$GREETING
USER root
WORKDIR /app
COPY . /app/files/
COPY --from=build --chown=nobody:nogroup /out/ /app/out/
COPY --from=docs a.md /app/
RUN --mount=type=bind,from=busybox:1,source=/bin,target=/mounted \\
    ls /mounted | grep -c busybox > /app/mounted && rm /base && chmod 4755 /app/files/app.sh
USER nobody
EXPOSE 8080/tcp
HEALTHCHECK --interval=5s CMD true
ENTRYPOINT ["/app/files/app.sh"]
CMD ["one"]
`,
}

const LIMITS = ['--ulimit', 'nofile=333:444', '--shm-size', '32m']

/** What each kind of engine made of the project. */
const made = new Map<string, Map<string, Image>>()

/** Lines of a flattened root that say something of the project; empty places where engines mount their own files do not. */
function project(image: Image): string[] {
  const ours = /^(?:app|base|machine)(?:\/|$)/
  return [...image.tree].filter(([path]) => ours.test(path)).map(([path, line]) => `${path} ${line}`)
}

for (const { title, engine, network, limits, needs, start } of ENGINE_KINDS)
  describe(title, () => {
    const real = requirePeers(...needs)
    let sandbox: Sandbox
    let registry: FaultyRegistry
    let peer: RealEngine | undefined
    let cwd: string
    const build = (args: readonly string[], options: Options = {}): Promise<Ended> =>
      sandbox.run(['build', '--engine', engine, '--network', network, '--progress', 'plain', ...args], {
        ...options,
        env: { ...peer!.env, ...options.env },
      })
    const must = async (args: readonly string[], options?: Options): Promise<Ended> => {
      const ended = await build(args, options)
      if (ended.code !== 0) throw new Error(`exit code ${ended.code}\n${ended.stdout}${ended.stderr}`)
      return ended
    }

    beforeAll(async () => {
      const setup = await engineSandbox(engine)
      sandbox = setup.sandbox
      registry = setup.registry
      cwd = sandbox.project('project', PROJECT)
      if (canRun(...needs)) peer = await start()
    }, 120_000)
    afterAll(async () => {
      await peer?.stop()
      await registry.close()
      await sandbox.dispose()
    }, 60_000)

    real(
      'the whole matrix, published and read back',
      async () => {
        const { stderr } = await must(['--push', '--registry', `${registry.address}/${engine}`], { cwd })
        const cells = ['base', 'web'].flatMap(name => [`${name} linux/amd64`, `${name} linux/arm64`])
        expect(states(cwd)).toEqual(Object.fromEntries(cells.map(name => [name, 'built'])))
        expect(resultOf(cwd)).toMatchObject({ complete: true, warnings: [] })
        for (const cell of resultOf(cwd).cells) expect(cell.engine).toBe(engine)
        // Steps that do not wait for each other begin in any order.
        expect(stderr).toMatch(/web linux\/arm64 \| \[[1-3]\/6\] RUN mkdir \/out/)
        const images = imagesIn(sandbox, `${registry.address}/${engine}/web:latest`)
        made.set(title, images)
        expect([...images.keys()]).toEqual(['linux/amd64', 'linux/arm64'])
        const arm = images.get('linux/arm64')!
        expect(arm.config['config']).toEqual({
          User: 'nobody',
          ExposedPorts: { '8080/tcp': {} },
          Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'GREETING=hello'],
          Entrypoint: ['/app/files/app.sh'],
          Cmd: ['one'],
          Healthcheck: { Test: ['CMD-SHELL', 'true'], Interval: 5e9 },
          ArgsEscaped: true,
          WorkingDir: '/app',
          Labels: { by: 'us' },
        })
        expect(project(arm).map(line => line.split(' ')[0]!)).toEqual([
          ...['app', 'app/a.md', 'app/files', 'app/files/.dockerignore', 'app/files/Dockerfile', 'app/files/app.sh'],
          ...['app/mounted', 'app/out', 'app/out/link', 'app/out/made', 'app/out/on', 'machine'],
        ])
      },
      180_000,
    )

    real('the second time nothing is to do, and the engine is not asked for anything', async () => {
      await must([], {
        cwd,
        env: { DOCKER_HOST: 'unix:///nowhere', BUILDX_BUILDER: 'nowhere', PATH: process.env['PATH'] },
      })
      expect(new Set(Object.values(states(cwd)))).toEqual(new Set(['unchanged']))
    })

    real(
      'a file changes, its cells are built; steps before it come from the cache',
      async () => {
        writeFileSync(join(cwd, 'src/web/app.sh'), '#!/bin/sh\necho changed\n')
        await must([], { cwd })
        expect(states(cwd)).toMatchObject({ 'base linux/arm64': 'unchanged', 'web linux/arm64': 'built' })
        const [cell] = resultOf(cwd).cells.filter(one => one.service === 'web')
        expect(cell!.reason).toBe('files of COPY . /app/files/ changed')
      },
      120_000,
    )

    real('a step fails: place, exit code, the last words; the other cells are right', async () => {
      const broken = sandbox.project('broken', {
        'src/good/Dockerfile': 'FROM scratch\nCOPY Dockerfile /\n',
        'src/bad/Dockerfile': `FROM busybox:1 AS first
RUN echo fine
FROM busybox:1
RUN echo "said: this" && \\
    echo "and \\"that\\"" >&2 && \\
    exit 7
COPY --from=first /bin/busybox /
`,
      })
      const { code, stderr } = await build([], { cwd: broken })
      expect(code).toBe(1)
      const failed = resultOf(broken).cells.find(cell => cell.service === 'bad')!
      expect(failed.failure).toMatchObject({
        code: 'STEP_FAILED',
        message: 'exit code 7',
        ...{ file: 'src/bad/Dockerfile', line: 4, endLine: 6 },
        log: expect.arrayContaining(['said: this', 'and "that"']),
      })
      expect(states(broken)['good linux/amd64']).toBe('built')
      expect(stderr).toContain('│ said: this')
    })

    real('what the command line gives to steps, and a Dockerfile on standard input', async () => {
      const context = join(sandbox.folder, 'flags')
      mkdirSync(context)
      writeFileSync(join(context, 'token'), 'hunter22-is-the-token\n')
      writeFileSync(join(context, 'file'), 'of the context\n')
      const dockerfile = `FROM busybox:1 AS build
ARG WHO=nobody
COPY file /file
RUN --mount=type=secret,id=token grep -c hunter22 /run/secrets/token > /secret && cat /run/secrets/token
RUN grep -w db /etc/hosts > /hosts && ulimit -n > /files && df -k /dev/shm | tail -1 | awk '{print $2}' > /shm && echo $WHO > /who
FROM build AS other
RUN exit 1
`
      const { stderr } = await must(
        [
          ...['-f', '-', '--target', 'build', '--build-arg', 'WHO=me', '--secret', `id=token,src=${context}/token`],
          ...['--add-host', 'db:10.0.0.7', '-t', `flags/${engine}:1`, ...(limits ? LIMITS : [])],
          context,
        ],
        { input: dockerfile },
      )
      // What a step prints of a secret is hidden.
      expect(stderr).not.toContain('hunter22-is-the-token')
      const [image] = imagesIn(sandbox, `docker.io/flags/${engine}:1`).values()
      const entries = new Map(image!.layers.flat().map(entry => [entry.path, entry.data?.toString()]))
      const text = (path: string): string | undefined => entries.get(path)?.trim().replace(/\s+/g, ' ')
      expect(['secret', 'hosts', 'files', 'shm', 'who', 'file'].map(text)).toEqual([
        ...['1', '10.0.0.7 db', limits ? '333' : text('files'), limits ? '32768' : text('shm'), 'me', 'of the context'],
      ])
      if (limits) return
      const refused = await build([...LIMITS, '-f', '-', context], { input: 'FROM busybox:1\nRUN true\n' })
      expect([refused.code, refused.stderr]).toEqual([3, expect.stringContaining('does not know --shm-size')])
    })

    real('interrupted, it takes everything along', async () => {
      const seconds = String(100_000 + Math.floor(Math.random() * 100_000))
      const slow = sandbox.project('slow', {
        'src/slow/Dockerfile': `FROM busybox:1\nRUN echo begun; sleep ${seconds}; echo not reached\n`,
      })
      const { child, ended, said } = sandbox.start(
        [
          'build',
          '--engine',
          engine,
          '--network',
          'none',
          '--progress',
          'plain',
          '--platform',
          'linux/amd64,linux/arm64',
        ],
        { cwd: slow, env: peer!.env },
      )
      await said(/amd64 \| begun[\s\S]*arm64 \| begun|arm64 \| begun[\s\S]*amd64 \| begun/)
      child.kill('SIGINT')
      expect((await ended).code).toBe(130)
      expect(new Set(Object.values(states(slow)))).toEqual(new Set(['cancelled']))
      const running = async (): Promise<boolean> =>
        (await Bun.$`ps -eo args`.text())
          .split('\n')
          .some(line => line.includes(`sleep ${seconds}`) && !line.includes('echo'))
      while (await running()) await new Promise(resolve => setTimeout(resolve, 50))
    })

    real('other media types and compressions are made of what the engine gives', async () => {
      const plain = sandbox.project('format', {
        'src/app/Dockerfile': 'FROM busybox:1\nRUN echo x > /x\n',
      })
      const typesOf = async (...args: string[]): Promise<string[]> => {
        await must([...args, '--platform', 'linux/arm64'], { cwd: plain })
        const [cell] = resultOf(plain).cells
        const blob = (digest: string): string => join(sandbox.home, 'blobs', digest.replace(':', '/'))
        const manifest = JSON.parse(readFileSync(blob(cell!.digest!), 'utf8'))
        const [image] = imagesIn(sandbox, 'docker.io/library/app:latest').values()
        expect(image!.tree.get('x')).toBe('file 0644 0:0 2 bytes 73cb3858a687a849')
        return [manifest.mediaType, ...manifest.layers.map((layer: { mediaType: string }) => layer.mediaType)]
      }
      const [docker, oci] = ['application/vnd.docker.', 'application/vnd.oci.image.']
      expect(await typesOf('--docker-format')).toEqual([
        `${docker}distribution.manifest.v2+json`,
        ...Array(2).fill(`${docker}image.rootfs.diff.tar.gzip`),
      ])
      const zstd = join(sandbox.folder, 'zstd.tar')
      expect(await typesOf('-o', `type=oci,compression=zstd,dest=${zstd}`)).toEqual([
        ...[`${oci}manifest.v1+json`, `${oci}layer.v1.tar+gzip`, `${oci}layer.v1.tar+zstd`],
      ])
    })

    real('SOURCE_DATE_EPOCH: built anew it is the same', async () => {
      const dated = sandbox.project('dated', {
        'src/dated/Dockerfile': 'FROM busybox:1\nRUN echo x > /x && mkdir /d && echo $SOURCE_DATE_EPOCH > /epoch\n',
      })
      const env = { SOURCE_DATE_EPOCH: '1000000000' }
      const made: string[] = []
      for (let i = 0; i < 2; i++) {
        await must(['--no-cache'], { cwd: dated, env })
        made.push(resultOf(dated).cells[0]!.digest!)
        await new Promise(resolve => setTimeout(resolve, 1100))
      }
      expect(made[0]).toBe(made[1]!)
    })

    real('nothing of it stays but the engine’s own cache', async () => {
      expect((await peer!.leavings()).trim()).toBe('')
    })
  })

test('all engines make the same of the project', () => {
  const [first, ...others] = made.values()
  for (const other of others)
    for (const [platform, image] of first!) {
      expect(project(other.get(platform)!)).toEqual(project(image))
      expect(other.get(platform)!.config).toEqual(image.config)
    }
})
