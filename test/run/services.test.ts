import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type FaultyRegistry, startFaultyRegistry } from '../../src/registry/faulty/start.ts'
import { resultOf, Sandbox, simpleServices, states } from './command.ts'
import { putBase, Remote } from './images.ts'

const sandbox = new Sandbox('services')
let registry: FaultyRegistry
const BOTH = ['--platform', 'linux/amd64,linux/arm64']
const push = (name: string): string[] => ['build', '--push', '--registry', `${registry.address}/${name}`]

beforeAll(async () => {
  registry = await startFaultyRegistry()
  sandbox.mirror(registry.address)
  await putBase(new Remote(registry, 'library/nginx'), 'alpine')
  await putBase(new Remote(registry, 'library/redis'), '7')
})
afterAll(async () => {
  await registry.close()
  await sandbox.dispose()
})

describe('images of other services', () => {
  test('FROM and COPY --from get the image of the same platform, built first, from the store', async () => {
    const project = sandbox.project('chain', {
      // By name the last is first: the order comes from the Dockerfiles.
      'src/zbase/Dockerfile':
        'FROM scratch\nARG TARGETPLATFORM\nCOPY <<EOF /etc/platform\nbase for $TARGETPLATFORM\nEOF\n',
      'src/app/Dockerfile': 'FROM zbase\nCOPY app.txt /app.txt\n',
      'src/app/app.txt': 'app\n',
      'src/copies/Dockerfile':
        'FROM scratch\nCOPY --from=zbase /etc/platform /base-platform\nCOPY --from=app:latest /app.txt /\n',
    })
    registry.requests.length = 0
    await sandbox.must([...push('chain'), ...BOTH], { cwd: project })
    for (const platform of ['linux/amd64', 'linux/arm64']) {
      const app = await new Remote(registry, 'chain/app').files('latest', platform)
      expect(app).toEqual({ 'etc/platform': `base for ${platform}\n`, 'app.txt': 'app\n' })
      const copies = await new Remote(registry, 'chain/copies').files('latest', platform)
      expect(copies).toEqual({ 'base-platform': `base for ${platform}\n`, 'app.txt': 'app\n' })
    }
    const asked = registry.requests.filter(request => request.path.includes('/library/'))
    expect(asked).toEqual([])
    const order = resultOf(project).cells.map(cell => cell.service)
    expect(order.indexOf('zbase')).toBeLessThan(order.indexOf('app'))
  })

  test('what a service leaves to those who build upon it may name other services', async () => {
    const project = sandbox.project('triggers', {
      'src/zbase/Dockerfile': 'FROM scratch\nONBUILD COPY --from=zfiles /f /from-files\nCOPY a /a\n',
      'src/zbase/a': 'a\n',
      'src/zfiles/Dockerfile': 'FROM scratch\nCOPY f /f\n',
      'src/zfiles/f': 'f\n',
      'src/app/Dockerfile': 'FROM zbase\nLABEL a=b\n',
    })
    await sandbox.must(['build', 'app', '--platform', 'linux/arm64'], { cwd: project })
    expect(states(project)).toEqual({
      'zbase linux/arm64': 'built',
      'zfiles linux/arm64': 'built',
      'app linux/arm64': 'built',
    })
  })

  test('one service asked for brings what it needs, and only that', async () => {
    const project = sandbox.project('needs', {
      ...simpleServices('other'),
      'src/base/Dockerfile': 'FROM scratch\nCOPY a /a\n',
      'src/base/a': 'a\n',
      'src/app/Dockerfile': 'FROM base\nCOPY b /b\n',
      'src/app/b': 'b\n',
    })
    const { stdout } = await sandbox.must(['build', 'app', '--platform', 'linux/arm64'], { cwd: project })
    expect(stdout).toMatch(/^app@\S+\n$/)
    expect(states(project)).toEqual({ 'base linux/arm64': 'built', 'app linux/arm64': 'built' })
  })

  test('a circle is shown as one, with a place', async () => {
    const project = sandbox.project('circle', {
      'src/a/Dockerfile': 'FROM b\n',
      'src/b/Dockerfile': 'FROM scratch\nCOPY --from=c /x /x\n',
      'src/c/Dockerfile': 'FROM a\n',
    })
    for (const command of ['build', 'plan']) {
      const { code, stderr } = await sandbox.run([command], { cwd: project })
      expect(code).toBe(2)
      expect(stderr).toContain('a → b → c → a')
      expect(stderr).toMatch(/src\/[abc]\/Dockerfile:[12]/)
      expect(stderr).not.toContain('bug in archimage')
    }
  })

  test('src/nginx FROM nginx:alpine and src/redis FROM redis:7 stand on the registry’s images, and plan says so', async () => {
    const project = sandbox.project('named', {
      'src/nginx/Dockerfile': 'FROM nginx:alpine\nCOPY a /a\n',
      'src/nginx/a': 'a\n',
      'src/redis/Dockerfile': 'FROM redis:7\nCOPY a /a\n',
      'src/redis/a': 'a\n',
      'src/web/Dockerfile': 'FROM nginx\nCOPY --from=redis:7 /etc/base /redis\n',
    })
    const plan = await sandbox.must(['plan', ...BOTH], { cwd: project })
    expect(plan.stdout).toContain('line 1: nginx:alpine is an image of its registry')
    expect(plan.stdout).toContain('line 1: redis:7 is an image of its registry')
    expect(plan.stdout).toContain('line 1: nginx is service nginx of this project')
    expect(plan.stdout).toContain('line 2: redis:7 is an image of its registry (')
    expect(plan.stderr).toContain('looks like service redis')
    await sandbox.must([...push('named'), ...BOTH], { cwd: project })
    const web = await new Remote(registry, 'named/web').files('latest', 'linux/arm64')
    expect(web).toEqual({
      'etc/base': 'library/nginx:alpine linux/arm64\n',
      a: 'a\n',
      redis: 'library/redis:7 linux/arm64\n',
    })
  })

  test('the project’s own name with registry and tag is the service as well', async () => {
    const project = sandbox.project('full', {
      'archimage.yaml': `registry: ${registry.address}/full\ntag: v2\n`,
      'src/base/Dockerfile': 'FROM scratch\nCOPY a /a\n',
      'src/base/a': 'a\n',
      'src/app/Dockerfile': `FROM ${registry.address}/full/base:v2\n`,
      'src/old/Dockerfile': `FROM ${registry.address}/full/base:v1\n`,
    })
    await putBase(new Remote(registry, 'full/base'), 'v1')
    const plan = await sandbox.must(['plan'], { cwd: project })
    expect(plan.stdout).toContain(`${registry.address}/full/base:v2 is service base of this project`)
    expect(plan.stdout).toContain(`${registry.address}/full/base:v1 is an image of its registry`)
  })
})

describe('when a cell fails', () => {
  const files = {
    ...simpleServices('good', 'base'),
    'archimage.yaml': 'platforms: [linux/amd64, linux/arm64]\n',
    // Only one platform of it can be built.
    'src/base/Dockerfile': 'FROM scratch\nARG TARGETARCH\nCOPY app-${TARGETARCH}.txt /app.txt\n',
    'src/base/app-amd64.txt': 'amd64\n',
    'src/app/Dockerfile': 'FROM base\nCOPY app.txt /\n',
    'src/app/app.txt': 'app\n',
    'src/last/Dockerfile': 'FROM app\nCOPY app.txt /\n',
    'src/last/app.txt': 'last\n',
  }

  test('independent cells go on, dependents are named, complete services are published', async () => {
    const project = sandbox.project('failing', files)
    const { code, stdout, stderr } = await sandbox.run(push('failing'), { cwd: project })
    expect(code).toBe(1)
    expect(states(project)).toEqual({
      'base linux/amd64': 'built',
      'base linux/arm64': 'failed',
      'app linux/amd64': 'built',
      'app linux/arm64': 'not-run',
      'last linux/amd64': 'built',
      'last linux/arm64': 'not-run',
      'good linux/amd64': 'built',
      'good linux/arm64': 'built',
    })
    expect(stdout.trim().split('\n')).toEqual([expect.stringContaining(`${registry.address}/failing/good@`)])
    expect(stderr).toContain('app linux/arm64; last linux/arm64: needs base linux/arm64, which failed')
    expect(stderr).toContain('src/base/Dockerfile:3')
    expect(await new Remote(registry, 'failing/good').tags()).toEqual(['latest'])
    for (const name of ['base', 'app', 'last']) expect(await new Remote(registry, `failing/${name}`).tags()).toEqual([])
    const result = resultOf(project)
    expect([result.complete, result.exitCode]).toEqual([false, 1])
    // What was right is not built again once the rest is mended.
    writeFileSync(join(project, 'src/base/app-arm64.txt'), 'arm64\n')
    await sandbox.must(push('failing'), { cwd: project })
    expect(states(project)).toMatchObject({
      'base linux/amd64': 'unchanged',
      'base linux/arm64': 'built',
      'last linux/amd64': 'unchanged',
      'last linux/arm64': 'built',
    })
  })

  test('--atomic then publishes nothing', async () => {
    const project = sandbox.project('atomic', files)
    const { code, stderr } = await sandbox.run([...push('atomic'), '--atomic'], { cwd: project })
    expect(code).toBe(1)
    expect(stderr).toContain('--atomic')
    for (const name of ['base', 'app', 'last', 'good'])
      expect(await new Remote(registry, `atomic/${name}`).tags()).toEqual([])
    expect(resultOf(project).services.find(service => service.service === 'good')!.failure).toMatchObject({
      code: 'INCOMPLETE',
    })
    writeFileSync(join(project, 'src/base/app-arm64.txt'), 'arm64\n')
    await sandbox.must([...push('atomic'), '--atomic'], { cwd: project })
    for (const name of ['base', 'app', 'last', 'good'])
      expect(await new Remote(registry, `atomic/${name}`).tags()).toEqual(['latest'])
  })

  test('--fail-fast stops what has not begun', async () => {
    const project = sandbox.project('fast', {
      ...Object.fromEntries(Object.entries(simpleServices('z1', 'z2', 'z3', 'z4')).map(([k, v]) => [k, v])),
      'src/a/Dockerfile': 'FROM scratch\nCOPY nothing /\n',
    })
    const { code, stderr } = await sandbox.run(['build', '--fail-fast', '--jobs', '1'], { cwd: project })
    expect(code).toBe(1)
    expect(states(project)).toMatchObject({ 'a linux/amd64': 'failed', 'z4 linux/amd64': 'not-run' })
    expect(stderr).toContain('--fail-fast')
    // Complete services are not published then.
    const late = sandbox.project('late', {
      ...simpleServices('a1'),
      'src/b/Dockerfile': 'FROM scratch\nCOPY nothing /\n',
    })
    const pushed = await sandbox.run([...push('fast'), '--fail-fast', '--jobs', '1'], { cwd: late })
    expect(pushed.code).toBe(1)
    expect(await new Remote(registry, 'fast/a1').tags()).toEqual([])
    expect(pushed.stderr).toContain('a1 not published')
    rmSync(join(project, 'src/a'), { recursive: true })
    await sandbox.must(['build', '--fail-fast'], { cwd: project })
  })
})
