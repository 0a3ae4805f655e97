import { describe, expect } from 'bun:test'
import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, lstatSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { requirePeers } from '../peers/require.ts'
import { digests, resultOf, Sandbox, states } from './command.ts'
import { Remote } from './images.ts'
import { cellOf, filesOf, howByLine, readCacheMount, stepsOf, withBusybox } from './steps.ts'

const sandbox = new Sandbox('steps')
const registry = withBusybox(sandbox)

const test = requirePeers('root', 'busybox')
const app = (name: string, dockerfile: string, files: Record<string, string | Uint8Array> = {}): string =>
  sandbox.project(name, {
    'archimage.yaml': 'platforms: [linux/amd64]\n',
    'src/app/Dockerfile': dockerfile,
    ...Object.fromEntries(Object.entries(files).map(([path, content]) => [`src/app/${path}`, content])),
  })
const read = (...path: string[]): string => readFileSync(join(...path), 'utf8')

/** Files below a folder that hold a text. */
function filesWith(folder: string, text: string): string[] {
  const { stdout } = spawnSync('grep', ['-rlaF', '--', text, folder], { encoding: 'utf8' })
  return stdout.split('\n').filter(Boolean)
}

describe('what a step sees and leaves', () => {
  test('forms, shells, folders, users, variables', async () => {
    const files = await filesOf(
      sandbox,
      app(
        'forms',
        `FROM busybox:1
RUN echo one > /one && ln -s one /link && mkdir -p /dir/empty && chmod 1777 /dir
RUN ["/bin/sh", "-c", "echo $0 > /two", "zero"]
SHELL ["/bin/sh", "-eu", "-c"]
RUN <<EOF
echo three > /three
echo more >> /three
EOF
RUN <<EOF
#!/bin/busybox cat
this is printed
EOF
RUN cat <<A > /both && cat <<B >> /both
a $HOME
A
b
B
ENV A=a B="b c"
ARG V=v
WORKDIR /w/x
RUN pwd > here && echo "$A $B $V $HOME $(hostname)" > vars && id -u > id
RUN echo app:x:1234:1234::/:/bin/sh >> /etc/passwd && mkdir /own && chown app:1234 /own
USER app
RUN cd /own && id -un > name && touch file && stat -c '%u:%g' file > id
`,
      ),
    )
    expect([read(files, 'one'), read(files, 'two'), read(files, 'three')]).toEqual(['one\n', 'zero\n', 'three\nmore\n'])
    expect(read(files, 'both')).toBe('a /root\nb\n')
    expect([read(files, 'w/x/here'), read(files, 'w/x/vars'), read(files, 'w/x/id')]).toEqual([
      '/w/x\n',
      'a b c v /root buildkitsandbox\n',
      '0\n',
    ])
    expect([read(files, 'own/name'), read(files, 'own/id')]).toEqual(['app\n', '1234:1234\n'])
    expect(lstatSync(join(files, 'dir')).mode & 0o7777).toBe(0o1777)
    expect(lstatSync(join(files, 'link')).isSymbolicLink()).toBe(true)
    // What was made for mounts leaves no trace.
    expect(existsSync(join(files, 'etc/resolv.conf'))).toBe(false)
    expect(existsSync(join(files, 'dev'))).toBe(false)
  })

  test('deletions and replacements reach the image; stages are copied from and mounted', async () => {
    const files = await filesOf(
      sandbox,
      app(
        'changes',
        `FROM busybox:1 AS made
RUN mkdir -p /out/sub && cd /out && echo program > program && chmod 750 program && ln program again && echo x > sub/x
FROM busybox:1
RUN mkdir /gone /kept && echo 1 > /gone/one && echo 1 > /kept/one && echo 2 > /kept/two
RUN rm -r /gone /kept/one && rm /bin/vi && echo new > /kept/two
COPY --from=made /out /copied
RUN --mount=from=made,source=/out/sub,target=/m cp /m/x /mounted && ! touch /m/y 2>/dev/null
RUN --mount=from=made,source=/out,target=/m,rw touch /m/y && rm /m/program
`,
      ),
    )
    expect(existsSync(join(files, 'gone'))).toBe(false)
    expect(existsSync(join(files, 'kept/one'))).toBe(false)
    expect(existsSync(join(files, 'bin/vi'))).toBe(false)
    expect(read(files, 'kept/two')).toBe('new\n')
    expect([read(files, 'copied/program'), read(files, 'mounted')]).toEqual(['program\n', 'x\n'])
    const program = lstatSync(join(files, 'copied/program'))
    expect([program.mode & 0o777, program.nlink]).toEqual([0o750, 2])
    expect(existsSync(join(files, 'm'))).toBe(false)
  })

  test('a step that only asks for the owner that files have adds nothing', async () => {
    const project = app(
      'nothing',
      'FROM busybox:1\nRUN mkdir /d && for i in $(seq 1000); do echo $i > /d/$i; done\nRUN chown -R 0:0 /d\nRUN true\n',
    )
    await sandbox.must(['build', '--push', '--registry', `${registry().address}/nothing`], { cwd: project })
    const remote = new Remote(registry(), 'nothing/app')
    const { layers } = await remote.manifest((await remote.entry('latest', 'linux/amd64')).digest)
    // An empty tar, which gzip makes small.
    expect(layers!.slice(-2).map(layer => layer.size < 100)).toEqual([true, true])
    expect(layers!.length).toBe(4)
  })

  test('the history is that of BuildKit; proxies and secrets are not in it', async () => {
    const project = app(
      'history',
      `FROM busybox:1
ARG V=v
ENV E=e
RUN --mount=type=secret,id=s --mount=type=cache,target=/c test "$http_proxy" && test "$(wc -c < /run/secrets/s)" = 9
RUN ["true"]
`,
    )
    const args = ['build', '--push', '--registry', `${registry().address}/history`]
    args.push('--build-arg', 'HTTP_PROXY=http://nowhere:1', '--secret', 'id=s,env=SECRET')
    await sandbox.must(args, { cwd: project, env: { SECRET: 'hush-hush' } })
    const remote = new Remote(registry(), 'history/app')
    const config = await remote.config((await remote.entry('latest', 'linux/amd64')).digest)
    const lines = (config as unknown as { history: { created_by: string }[] }).history.map(entry => entry.created_by)
    expect(lines.slice(-2)).toEqual([
      'RUN |1 V=v /bin/sh -c test "$http_proxy" && test "$(wc -c < /run/secrets/s)" = 9 # buildkit',
      'RUN |1 V=v true # buildkit',
    ])
    expect(JSON.stringify(config)).not.toMatch(/nowhere|hush/)
  })
})

describe('steps are cached by content', () => {
  test('what does not change what a step sees does not run it again', async () => {
    const project = app(
      'content',
      `FROM busybox:1
COPY a /a
RUN cat /a > /made
COPY b /b
RUN --mount=target=/ctx,source=sub cat /ctx/file /b > /both
`,
      { a: '1\n', b: '2\n', 'sub/file': '3\n', other: '4\n' },
    )
    const build = async (): Promise<Record<number, string>> => {
      await sandbox.must(['build'], { cwd: project })
      return howByLine(project)
    }
    const change = (file: string, text: string): void => writeFileSync(join(project, 'src/app', file), text)
    expect(await build()).toEqual({ 3: 'ran', 5: 'ran' })
    const first = cellOf(project)
    utimesSync(join(project, 'src/app/a'), 7, 7)
    change('other', 'changed\n')
    change('Dockerfile', `# a comment\n${read(project, 'src/app/Dockerfile')}`)
    await build()
    expect(cellOf(project)).toMatchObject({ state: 'unchanged', digest: first.digest! })
    change('sub/file', 'changed\n')
    expect(await build()).toEqual({ 4: 'cached', 6: 'ran' })
    change('b', 'changed\n')
    expect(await build()).toEqual({ 4: 'cached', 6: 'ran' })
    change('b', '2\n')
    change('sub/file', '3\n')
    await build()
    expect(cellOf(project).digest).toBe(first.digest!)
    change('a', 'changed\n')
    expect(await build()).toEqual({ 4: 'ran', 6: 'ran' })
  })

  test('arguments count where they are visible, secrets and caches do not', async () => {
    const project = app(
      'args',
      `FROM busybox:1
RUN echo before > /before
ARG V
RUN --mount=type=secret,id=s --mount=type=cache,target=/c echo $V >> /c/log
ARG W
RUN echo $W > /w
`,
    )
    const build = async (v: string, w: string, secret: string): Promise<Record<number, string>> => {
      const args = ['build', '--build-arg', `V=${v}`, '--build-arg', `W=${w}`, '--secret', 'id=s,env=SECRET']
      await sandbox.must(args, { cwd: project, env: { SECRET: secret } })
      return howByLine(project)
    }
    expect(await build('1', '1', 'one')).toEqual({ 2: 'ran', 4: 'ran', 6: 'ran' })
    expect(await build('1', '2', 'two')).toEqual({ 2: 'cached', 4: 'cached', 6: 'ran' })
    expect(await build('2', '2', 'two')).toEqual({ 2: 'cached', 4: 'ran', 6: 'ran' })
    expect(readCacheMount(sandbox.home, '/c', 'log')).toBe('1\n2\n')
  })

  test('--no-cache runs all steps again, --no-cache-filter those of a stage', async () => {
    const project = app(
      'fresh',
      'FROM busybox:1 AS one\nRUN echo > /one\nFROM busybox:1\nCOPY --from=one /one /one\nRUN echo > /two\n',
    )
    await sandbox.must(['build'], { cwd: project })
    await sandbox.must(['build', '--no-cache-filter', 'ONE'], { cwd: project })
    expect(howByLine(project)).toEqual({ 2: 'ran', 5: 'cached' })
    await sandbox.must(['build', '--no-cache'], { cwd: project })
    expect(howByLine(project)).toEqual({ 2: 'ran', 5: 'ran' })
    await sandbox.must(['build'], { cwd: project })
    expect(states(project)).toEqual({ 'app linux/amd64': 'unchanged' })
  })

  test('without the database, without the directories: the same image, and no step of it runs', async () => {
    const project = app(
      'memory',
      `FROM busybox:1 AS one
RUN date +%N > /one
FROM busybox:1
RUN mkdir /d && date +%N > /d/two && rm /bin/vi
COPY --from=one /one /
`,
    )
    const home = join(sandbox.folder, 'store-memory')
    const build = async (): Promise<string> => {
      const { stdout } = await sandbox.must(['build', '-q'], { cwd: project, env: { ARCHIMAGE_HOME: home } })
      return digests(stdout)['app']!
    }
    const forget = (...names: string[]): void => {
      for (const name of names) rmSync(join(home, name), { recursive: true, force: true })
    }
    const first = await build()
    forget('archimage.db', 'archimage.db-wal', 'archimage.db-shm')
    expect(await build()).toBe(first)
    expect(howByLine(project)).toEqual({ 2: 'cached', 4: 'cached' })
    // The layer of the final stage is in the store, that of the other one never was.
    forget('snapshots')
    const dockerfile = join(project, 'src/app/Dockerfile')
    writeFileSync(dockerfile, `${read(dockerfile)}RUN cat /d/two /one > /three\n`)
    await build()
    expect(howByLine(project)).toEqual({ 2: 'ran', 4: 'cached', 6: 'ran' })
  })
})

describe('a step that several need runs once', () => {
  test('on the build platform it is shared by all targets, up to what one of them alone can see', async () => {
    const project = sandbox.project('once', {
      'archimage.yaml': 'platforms: [linux/amd64, linux/arm64, linux/arm/v7]\n',
      'src/app/Dockerfile': `FROM --platform=$BUILDPLATFORM busybox:1 AS build
RUN --mount=type=cache,id=once-first,target=/c echo ran >> /c/log && date +%N > /first
ARG TARGETARCH
RUN --mount=type=cache,id=once-second,target=/c echo $TARGETARCH >> /c/log && echo $TARGETARCH > /second
FROM scratch
COPY --from=build /first /second /
`,
    })
    await sandbox.must(['build'], { cwd: project })
    expect(readCacheMount(sandbox.home, 'once-first', 'log')).toBe('ran\n')
    expect(readCacheMount(sandbox.home, 'once-second', 'log').split('\n').sort()).toEqual(['', 'amd64', 'arm', 'arm64'])
    const platforms = ['linux/amd64', 'linux/arm64', 'linux/arm/v7']
    const all = platforms.map(platform => howByLine(project, 'app', platform))
    expect(all.map(how => how[2]).sort()).toEqual(['ran', 'shared', 'shared'])
    expect(all.map(how => how[4])).toEqual(['ran', 'ran', 'ran'])
    expect(stepsOf(project).every(step => !step.emulated)).toBe(true)
  })

  test('by services that begin alike, and by two processes', async () => {
    const dockerfile = (end: string): string =>
      `FROM busybox:1\nRUN --mount=type=cache,id=once-together,target=/c sleep 1; echo ran >> /c/log; date +%N > /x\n${end}`
    const files = ['a', 'b', 'c'].map(name => [`src/${name}/Dockerfile`, dockerfile(`LABEL n=${name}\n`)])
    const one = sandbox.project('together', {
      'archimage.yaml': 'platforms: [linux/amd64]\n',
      ...Object.fromEntries(files),
    })
    const two = sandbox.copy(one, 'together-too')
    await Promise.all([one, two].map(project => sandbox.must(['build'], { cwd: project })))
    expect(readCacheMount(sandbox.home, 'once-together', 'log')).toBe('ran\n')
  })

  test('when it fails, it fails for all of them, with its last lines', async () => {
    const dockerfile = 'FROM busybox:1\nRUN echo the reason; exit 7\n'
    const project = sandbox.project('fails', {
      'archimage.yaml': 'platforms: [linux/amd64]\n',
      'src/a/Dockerfile': dockerfile,
      'src/b/Dockerfile': dockerfile,
    })
    const { code, stderr } = await sandbox.run(['build', '--progress', 'plain'], { cwd: project })
    expect(code).toBe(1)
    for (const name of ['a', 'b'])
      expect(cellOf(project, name).failure).toMatchObject({
        ...{ code: 'STEP_FAILED', line: 2, message: 'exit code 7', log: ['the reason'] },
      })
    expect(stderr).toContain('RUN echo the reason; exit 7')
  })
})

describe('mounts', () => {
  test('of the context: without what is ignored, owned by root, read only unless asked', async () => {
    const project = app(
      'context',
      `FROM busybox:1
RUN --mount=target=/ctx cd /ctx && find . | sort > /list && stat -c '%u:%g %a %n' sub/run >> /list && ! touch new
RUN --mount=target=/ctx,rw echo changed > /ctx/file && cat /ctx/file > /written
RUN --mount=source=file,target=/one cat /one > /read
`,
      { file: 'file\n', 'sub/run': 'run\n', 'secret.key': 'no\n', '.dockerignore': '*.key\n**/Dockerfile\n' },
    )
    chmodSync(join(project, 'src/app/sub/run'), 0o750)
    const files = await filesOf(sandbox, project)
    expect(read(files, 'list')).toBe('.\n./.dockerignore\n./file\n./sub\n./sub/run\n0:0 750 sub/run\n')
    expect([read(files, 'written'), read(files, 'read')]).toEqual(['changed\n', 'file\n'])
    expect(read(project, 'src/app/file')).toBe('file\n')
  })

  test('cache: kept between builds, begun from a stage, with owner and mode', async () => {
    const project = app(
      'caches',
      `FROM busybox:1 AS begin
RUN mkdir -p /b/d && echo begun > /b/d/file
FROM busybox:1
ARG N
RUN --mount=type=cache,id=c-$N,target=/c,uid=12,gid=34,mode=0700 stat -c '%u:%g %a' /c > /owner; ls -a /c | wc -l >> /owner
RUN --mount=type=cache,id=seeded,target=/c,from=begin,source=/b cat /c/d/file > /begun; echo $N >> /c/d/file
`,
    )
    const files = await filesOf(sandbox, project, '--build-arg', 'N=1')
    expect([read(files, 'owner'), read(files, 'begun')]).toEqual(['12:34 700\n2\n', 'begun\n'])
    const again = await filesOf(sandbox, project, '--build-arg', 'N=2')
    expect(read(again, 'begun')).toBe('begun\n1\n')
    const usage = await sandbox.must(['cache', 'du', '--json'])
    const { categories } = JSON.parse(usage.stdout) as { categories: { category: string; count: number }[] }
    expect(categories.find(one => one.category === 'mounts')!.count).toBeGreaterThan(2)
  })

  test('tmpfs, and a target that lies in what another mount shows', async () => {
    const project = app(
      'tmpfs',
      `FROM busybox:1
RUN --mount=type=tmpfs,target=/t,size=1m --mount=type=cache,target=/t/below touch /t/x /t/below/y && df /t | tail -1 > /size
`,
    )
    const files = await filesOf(sandbox, project)
    expect(read(files, 'size')).toMatch(/^tmpfs +1024 /)
    expect(existsSync(join(files, 't'))).toBe(false)
  })

  test('of a service of the project: it is built first', async () => {
    const project = sandbox.project('service-mount', {
      'archimage.yaml': 'platforms: [linux/amd64]\n',
      'src/tools/Dockerfile': 'FROM busybox:1\nRUN echo made > /tool\n',
      'src/app/Dockerfile': 'FROM busybox:1\nRUN --mount=from=tools,target=/t cat /t/tool > /made\n',
    })
    expect(read(await filesOf(sandbox, project), 'made')).toBe('made\n')
  })
})

describe('secrets', () => {
  test('reach the step, and nothing else: no layer, no record, no log, no result', async () => {
    const value = 'correct-horse-battery-staple'
    const project = app(
      'secrets',
      `FROM busybox:1
RUN --mount=type=secret,id=file,target=/root/.netrc,mode=0440,uid=3 cd /root && stat -c '%a %u' .netrc > /mode && wc -c < .netrc > /length && cat .netrc
RUN --mount=type=secret,id=var,env=TOKEN echo "\${#TOKEN}" > /length2; echo "$TOKEN"
RUN --mount=type=secret,id=none ls /run/secrets/none || echo none > /none
`,
    )
    const netrc = join(sandbox.folder, 'netrc')
    writeFileSync(netrc, `${value}\n`)
    const args = ['build', '--progress', 'plain', '--push', '--registry', `${registry().address}/secrets`]
    args.push('--secret', `id=file,src=${netrc}`, '--secret', 'id=var,env=SECRET')
    const { stderr, stdout } = await sandbox.must(args, { cwd: project, env: { SECRET: value } })
    rmSync(netrc)
    expect(stderr + stdout).not.toContain(value)
    const image = await new Remote(registry(), 'secrets/app').files('latest', 'linux/amd64')
    const seen = ['mode', 'length', 'length2', 'none'].map(name => image[name])
    expect(seen).toEqual(['440 3\n', '29\n', '28\n', 'none\n'])
    expect(JSON.stringify(image)).not.toContain(value)
    for (const where of [sandbox.home, project]) expect(filesWith(where, value)).toEqual([])
  })

  test('one that is needed and not given is named', async () => {
    const project = app('no-secret', 'FROM busybox:1\nRUN --mount=type=secret,id=token,required true\n')
    const { code, stderr } = await sandbox.run(['build'], { cwd: project })
    expect(code).toBe(2)
    expect(stderr).toContain('the step needs the secret "token", which was not given')
    expect(stderr).toContain('--secret id=token,src=FILE')
  })
})

describe('failures', () => {
  const failure = async (name: string, dockerfile: string, ...more: string[]) => {
    const project = app(name, dockerfile)
    const { code } = await sandbox.run(['build', ...more], { cwd: project })
    expect(code).toBe(1)
    return cellOf(project).failure!
  }

  test('exit codes and signals are told apart, the place is shown', async () => {
    const exit = await failure('exit', 'FROM busybox:1\nRUN echo first\nRUN echo why >&2; exit 3\n')
    expect(exit).toMatchObject({ code: 'STEP_FAILED', message: 'exit code 3', line: 3, log: ['why'] })
    const killed = await failure('signal', "FROM busybox:1\nRUN sh -c 'kill -9 $$'; exit $?\n")
    expect(killed.message).toBe('exit code 137: a program was ended by SIGKILL')
  })

  test('what is missing is named', async () => {
    const { message, hint } = await failure('shell', 'FROM scratch\nRUN echo\n')
    expect(message).toContain('/bin/sh does not exist')
    expect(hint).toContain('RUN ["/program"')
    expect((await failure('program', 'FROM busybox:1\nRUN ["/nowhere"]\n')).message).toContain(
      '/nowhere does not exist',
    )
    const source = 'FROM busybox:1 AS a\nFROM busybox:1\nRUN --mount=from=a,source=/x,target=/y true\n'
    expect((await failure('source', source)).message).toBe('--mount: /x does not exist in stage a')
  })

  test('memory that is used up', async () => {
    const { message, hint } = await failure(
      'memory-limit',
      'FROM busybox:1\nRUN head -c 200m /dev/zero | tail -c 200m > /dev/null\n',
      ...['--resource', 'memory=32m'],
    )
    expect(message).toContain('its memory was used up (limit 32 MiB)')
    expect(hint).toContain('--resource memory=')
  })

  test('a stage that fails stops the others of its image; services that need it wait in vain', async () => {
    const project = sandbox.project('stages', {
      'archimage.yaml': 'platforms: [linux/amd64]\n',
      'src/base/Dockerfile': `FROM busybox:1 AS slow
RUN sleep 600
FROM busybox:1 AS bad
RUN exit 5
FROM scratch
COPY --from=slow / /
COPY --from=bad / /
`,
      'src/user/Dockerfile': 'FROM base\n',
    })
    const { code } = await sandbox.run(['build'], { cwd: project })
    expect(code).toBe(1)
    expect(cellOf(project, 'base').failure).toMatchObject({ message: 'exit code 5', line: 4 })
    expect(cellOf(project, 'user')).toMatchObject({ state: 'not-run' })
  })
})

test('times of steps are at most SOURCE_DATE_EPOCH, which they see; the same image at any time', async () => {
  const project = app(
    'epoch',
    'FROM busybox:1\nRUN echo $SOURCE_DATE_EPOCH > /seen; mkdir /d; touch -d "2001-01-01 00:00:00" /old\nCOPY a /d/a\n',
    { a: 'a\n' },
  )
  const build = async (home: string): Promise<string> => {
    const env = { SOURCE_DATE_EPOCH: '1000000000', ARCHIMAGE_HOME: join(sandbox.folder, home) }
    const args = ['build', '-q', '--push', '--registry', `${registry().address}/epoch`]
    return digests((await sandbox.must(args, { cwd: project, env })).stdout)['app']!
  }
  const first = await build('epoch-one')
  expect(await build('epoch-two')).toBe(first)
  expect((await new Remote(registry(), 'epoch/app').files('latest', 'linux/amd64'))['seen']).toBe('1000000000\n')
  expect(resultOf(project).sandbox?.runtime).toBeString()
})
