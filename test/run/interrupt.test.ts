import { afterAll, describe, expect, test } from 'bun:test'
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { startFaultyRegistry } from '../../src/registry/faulty/start.ts'
import { digests, resultOf, Sandbox, simpleServices, states } from './command.ts'
import { putBase, Remote } from './images.ts'

const sandbox = new Sandbox('interrupt')
afterAll(() => sandbox.dispose())

const noise = (size: number): Buffer => {
  const blocks: Buffer[] = []
  for (let i = 0; i * 32 < size; i++) blocks.push(createHash('sha256').update(String(i)).digest())
  return Buffer.concat(blocks).subarray(0, size)
}

/** A blob under its digest's name is that content, whatever happened to those that wrote it. */
function expectWholeStore(home: string): void {
  const dir = join(home, 'blobs/sha256')
  for (const name of existsSync(dir) ? readdirSync(dir) : [])
    expect(
      createHash('sha256')
        .update(readFileSync(join(dir, name)))
        .digest('hex'),
    ).toBe(name)
  if (existsSync(join(home, 'index.json'))) JSON.parse(readFileSync(join(home, 'index.json'), 'utf8'))
}

/** True while a process of this number runs; one that only waits to be buried does not. */
function alive(pid: number): boolean {
  try {
    process.kill(pid, 0)
  } catch {
    return false
  }
  const stat = `/proc/${pid}/stat`
  return !existsSync(stat) || !/\) Z /.test(readFileSync(stat, 'utf8'))
}

describe('Ctrl-C', () => {
  test('ends a prebuild and what it started: 130, matrix, incomplete result', async () => {
    const project = sandbox.project('prebuild', {
      ...simpleServices('slow', 'other'),
      'archimage.yaml': 'services:\n  slow:\n    prebuild: "echo begun; sleep 600 & echo $! > pid; wait"\n',
    })
    const started = sandbox.start(['build', '--progress', 'plain'], { cwd: project })
    await started.said(/begun/)
    while (!existsSync(join(project, 'src/slow/pid'))) await Bun.sleep(5)
    const pid = Number(readFileSync(join(project, 'src/slow/pid'), 'utf8'))
    expect(alive(pid)).toBe(true)
    started.child.kill('SIGINT')
    const { code, stdout, stderr } = await started.ended
    expect(code).toBe(130)
    expect(stdout).toBe('')
    expect(stderr).toMatch(/service +linux\//)
    expect(stderr).toContain('interrupted')
    // Killed, and gone as soon as the kernel comes to it; by itself it would stay for ten minutes.
    while (alive(pid)) await Bun.sleep(10)
    const result = resultOf(project)
    expect([result.complete, result.exitCode]).toEqual([false, 130])
    expect(result.cells.map(cell => cell.state)).toEqual(['cancelled', 'cancelled'])
  })

  test('also when the registry of the base does not answer', async () => {
    const registry = await startFaultyRegistry({ faults: { slow: { milliseconds: 600_000, match: /manifests/ } } })
    sandbox.mirror(registry.address)
    const project = sandbox.project('base', { 'src/a/Dockerfile': 'FROM alpine:3\n', ...simpleServices('b') })
    const started = sandbox.start(['build', '--progress', 'plain'], { cwd: project })
    await started.said(/b linux\/\S+ \| built/)
    started.child.kill('SIGTERM')
    const { code, stderr } = await started.ended
    expect(code).toBe(130)
    expect(stderr).toMatch(/service +linux\//)
    expect(states(project)).toMatchObject({ 'a linux/amd64': 'cancelled', 'b linux/amd64': 'built' })
    await registry.close()
  })

  test('in the middle of a big layer', async () => {
    const project = sandbox.project('big', {
      'src/a/Dockerfile': 'FROM scratch\nCOPY big /big\n',
      'src/a/big': noise(30_000_000),
    })
    const started = sandbox.start(['build', '--progress', 'plain'], { cwd: project })
    await started.said(/COPY big/)
    started.child.kill('SIGINT')
    const { code } = await started.ended
    expect(code).toBe(130)
    expect(resultOf(project).complete).toBe(false)
    expectWholeStore(sandbox.home)
    await sandbox.must(['build'], { cwd: project })
    expect(states(project)).toEqual({ 'a linux/amd64': 'built' })
  })

  test('before anything began', async () => {
    const project = sandbox.project('early', simpleServices('a'))
    const started = sandbox.start(['build'], { cwd: project })
    started.child.kill('SIGINT')
    const { code, stderr } = await started.ended
    expect(code).toBe(130)
    expect(stderr).not.toContain('bug in archimage')
  })
})

describe('kill -9', () => {
  test('in the middle of a build, several times: nothing half written, the next run gives the same', async () => {
    const files = {
      ...simpleServices('a', 'b', 'c'),
      'src/a/Dockerfile': 'FROM scratch\nCOPY big /big\nCOPY app.txt /\n',
      'src/a/big': noise(12_000_000),
    }
    const reference = await sandbox.must(['build'], {
      cwd: sandbox.project('reference', files),
      env: { ARCHIMAGE_HOME: join(sandbox.folder, 'reference-store') },
    })
    const project = sandbox.project('killed', files)
    const home = join(sandbox.folder, 'killed-store')
    const env = { ARCHIMAGE_HOME: home }
    for (const pause of [60, 140, 220, 300, 400]) {
      const started = sandbox.start(['build', '--force'], { cwd: project, env })
      await Bun.sleep(pause)
      started.child.kill('SIGKILL')
      await started.ended
      expectWholeStore(home)
    }
    const { stdout } = await sandbox.must(['build'], { cwd: project, env })
    expect(stdout).toBe(reference.stdout)
    expectWholeStore(home)
    expect(readdirSync(join(home, 'tmp'))).toEqual([])
    expect(resultOf(project).complete).toBe(true)
  })

  test('leaves a result file that says the run is not complete', async () => {
    const registry = await startFaultyRegistry({ faults: { slow: { milliseconds: 600_000, match: /manifests/ } } })
    sandbox.mirror(registry.address)
    const project = sandbox.project('result', { ...simpleServices('a'), 'src/b/Dockerfile': 'FROM alpine:3\n' })
    const started = sandbox.start(['build', '--progress', 'plain'], { cwd: project })
    await started.said(/a linux\/\S+ \| built/)
    await Bun.sleep(150)
    started.child.kill('SIGKILL')
    expect((await started.ended).code).toBe(137)
    expect(resultOf(project).complete).toBe(false)
    expect(states(project)).toEqual({ 'a linux/amd64': 'built', 'b linux/amd64': 'not-run' })
    await registry.close()
  })

  test('in the middle of a push: no tag, then the next run works', async () => {
    const registry = await startFaultyRegistry()
    const project = sandbox.project('push', {
      'src/a/Dockerfile': 'FROM scratch\nCOPY big /big\n',
      'src/a/big': noise(20_000_000),
    })
    const push = ['build', '--push', '--registry', `${registry.address}/team`]
    await sandbox.must(['build'], { cwd: project })
    for (const pause of [120, 180, 240]) {
      const started = sandbox.start(push, { cwd: project })
      await Bun.sleep(pause)
      started.child.kill('SIGKILL')
      const { code } = await started.ended
      const tags = await new Remote(registry, 'team/a').tags()
      if (code === 137 && tags.length > 0) expect(await new Remote(registry, 'team/a').manifest('latest')).toBeDefined()
    }
    await sandbox.must(push, { cwd: project })
    await sandbox.must(['verify', '--registry', `${registry.address}/team`], { cwd: project })
    await registry.close()
  })
})

describe('two at once', () => {
  test('build the same project in the same store', async () => {
    const registry = await startFaultyRegistry()
    sandbox.mirror(registry.address)
    await putBase(new Remote(registry, 'library/debian'), '12')
    const names = ['a', 'b', 'c', 'd']
    const project = sandbox.project('twice', {
      ...simpleServices(...names),
      'src/d/Dockerfile': 'FROM debian:12\nCOPY --from=a /app.txt /a.txt\n',
    })
    const push = ['build', '--push', '--registry', `${registry.address}/team`, '--platform', 'amd64,arm64']
    const [one, two] = await Promise.all([sandbox.must(push, { cwd: project }), sandbox.must(push, { cwd: project })])
    expect(one.stdout).toBe(two.stdout)
    expect(Object.keys(digests(one.stdout))).toEqual(names)
    expect(resultOf(project).complete).toBe(true)
    await sandbox.must(['verify', '--registry', `${registry.address}/team`, '--platform', 'amd64,arm64'], {
      cwd: project,
    })
    await registry.close()
  })
})

describe('prebuild', () => {
  test('sees its platform, in the context, before anything is hashed; a list is not a shell', async () => {
    const project = sandbox.project('environment', {
      'archimage.yaml': `platforms: [linux/amd64, linux/arm/v7]
services:
  text:
    prebuild: 'mkdir -p out && echo "$GOOS $GOARCH $GOARM $TARGETPLATFORM $TARGETOS $TARGETARCH $TARGETVARIANT" > "out/$TARGETOS-$TARGETARCH$TARGETVARIANT"'
  list:
    prebuild: [cp, "input $GOARCH; true", "output-$TARGETARCH\${TARGETVARIANT}"]
`,
      'src/text/Dockerfile':
        'FROM scratch\nARG TARGETOS TARGETARCH TARGETVARIANT\nCOPY out/$TARGETOS-$TARGETARCH$TARGETVARIANT /platform\n',
      'src/list/Dockerfile':
        'FROM scratch\nARG TARGETARCH TARGETVARIANT\nCOPY output-$TARGETARCH$TARGETVARIANT /file\n',
      'src/list/input amd64; true': 'for amd64\n',
      'src/list/input arm; true': 'for arm\n',
    })
    const registry = await startFaultyRegistry()
    await sandbox.must(['build', '--push', '--registry', `${registry.address}/team`], { cwd: project })
    const text = new Remote(registry, 'team/text')
    expect(await text.files('latest', 'linux/amd64')).toEqual({ platform: 'linux amd64  linux/amd64 linux amd64 \n' })
    expect(await text.files('latest', 'linux/arm/v7')).toEqual({ platform: 'linux arm 7 linux/arm/v7 linux arm v7\n' })
    expect(await new Remote(registry, 'team/list').files('latest', 'linux/arm/v7')).toEqual({ file: 'for arm\n' })
    await registry.close()
  })

  test('that fails: its last lines, its command, exit code 1; other services go on', async () => {
    const project = sandbox.project('fails', {
      ...simpleServices('bad', 'good'),
      'archimage.yaml':
        'services:\n  bad:\n    prebuild: "echo compiling; echo cannot find it >&2; exit 7"\n  good: {}\n',
    })
    const { code, stdout, stderr } = await sandbox.run(['build', '-q'], { cwd: project })
    expect(code).toBe(1)
    expect(stderr).toContain('PREBUILD_FAILED')
    expect(stderr).toContain('exit code 7')
    expect(stderr).toContain('cannot find it')
    expect(stderr).not.toContain('bug in archimage')
    expect(stdout).toContain('good@')
    expect(states(project)).toEqual({ 'bad linux/amd64': 'failed', 'good linux/amd64': 'built' })
    writeFileSync(join(project, 'archimage.yaml'), 'services:\n  bad:\n    prebuild: [no-such-program-here]\n')
    const missing = await sandbox.run(['build'], { cwd: project })
    expect(missing.code).toBe(1)
    expect(missing.stderr).toContain('no-such-program-here')
  })

  test('runs in build only', async () => {
    const project = sandbox.project('only', {
      ...simpleServices('a'),
      'archimage.yaml': 'services:\n  a:\n    prebuild: touch ran\n',
    })
    await sandbox.must(['plan'], { cwd: project })
    await sandbox.run(['verify'], { cwd: project })
    await sandbox.must(['build', './src/a'], { cwd: project })
    expect(existsSync(join(project, 'src/a/ran'))).toBe(false)
    await sandbox.must(['build'], { cwd: project })
    expect(existsSync(join(project, 'src/a/ran'))).toBe(true)
  })
})
