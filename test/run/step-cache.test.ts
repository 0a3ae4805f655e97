import { afterAll, beforeAll, describe, expect } from 'bun:test'
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { type Registry, startRegistry } from '../../src/registry/server/start.ts'
import { canRun, requirePeers } from '../peers/require.ts'
import { digests, resultOf, Sandbox } from './command.ts'
import { howByLine, pushBusybox, stepsOf } from './steps.ts'

const sandbox = new Sandbox('step-cache')
let registry: Registry

beforeAll(async () => {
  if (!canRun('root', 'busybox')) return
  registry = await startRegistry({ port: 0 })
  await pushBusybox(registry.address, sandbox)
})
afterAll(async () => {
  await registry?.close()
  await sandbox.dispose()
})

const test = requirePeers('root', 'busybox')
const DOCKERFILE = `FROM busybox:1 AS build
RUN head -c 100000 /dev/urandom > /made
RUN true
FROM busybox:1
RUN mkdir -p /d/e && head -c 9 /dev/urandom > /d/a && ln /d/a /d/e/b && rm /bin/vi; ln -s a /d/l; chmod 4711 /d/a; : > /empty
COPY --from=build /made /made
RUN cat /made /d/e/b > /both && rm /d/l && rm -r /d/e && mkdir /d/e
`
let count = 0
const project = (platforms = 'linux/amd64', dockerfile = DOCKERFILE): string =>
  sandbox.project(`project-${++count}`, {
    'archimage.yaml': `platforms: [${platforms}]\n`,
    'src/app/Dockerfile': dockerfile,
  })
/** A build on a machine of its own: its store begins empty, its project is a copy. */
async function machine(name: string, from: string, args: readonly string[]) {
  const cwd = sandbox.copy(from, `on-${name}-${++count}`)
  const env = { ARCHIMAGE_HOME: join(sandbox.folder, `store-${name}`) }
  const ended = await sandbox.run(['build', '--progress', 'plain', ...args], { cwd, env })
  return { ...ended, cwd, digest: digests(ended.stdout)['app'] }
}
const all = (...how: string[]): Record<number, string> =>
  Object.fromEntries([2, 3, 5, 7].map((line, i) => [line, how[i] ?? how[0]!]))

describe('caches of RUN steps', () => {
  test('max, registry: a second machine runs nothing and makes the same image, also of another platform', async () => {
    const source = project('linux/amd64, linux/arm64')
    const ref = `${registry.address}/team/cache`
    const first = await machine('a1', source, ['--cache-to', `type=registry,ref=${ref},mode=max`])
    expect(first.code).toBe(0)
    const second = await machine('a2', source, ['--cache-from', ref])
    expect(second.code).toBe(0)
    expect(second.digest).toBe(first.digest!)
    for (const platform of ['linux/amd64', 'linux/arm64'])
      expect(howByLine(second.cwd, 'app', platform)).toEqual(all('cached'))
    const [step] = stepsOf(second.cwd, 'app', 'linux/arm64')
    expect(step?.from).toBe(`${ref}:app-linux-arm64`)
    expect(second.stderr).toContain(`(cached, from the cache ${ref}:app-linux-arm64)`)

    // what a machine has taken over it can pass on, and what is known here asks no cache
    const again = await machine('a2', source, ['--cache-from', 'registry.invalid/none', '--label', 'a=b'])
    expect([again.code, howByLine(again.cwd)]).toEqual([0, all('cached')])
    expect(again.stderr).not.toContain('registry.invalid')
    const third = await machine('a2', source, ['--cache-to', `type=registry,ref=${ref}:passed,mode=max`])
    expect([third.code, third.digest]).toEqual([0, first.digest!])
    const fourth = await machine('a4', source, ['--cache-from', `${ref}:passed`, '--platform', 'linux/amd64'])
    expect(howByLine(fourth.cwd)).toEqual(all('cached'))
    expect(stepsOf(fourth.cwd)[0]?.from).toBe(`${ref}:passed-app-linux-amd64`)
  })

  test('min, local: stages that only give files run, and a step that sees other files runs', async () => {
    const source = project('linux/amd64', DOCKERFILE.replace('head -c 100000 /dev/urandom', 'echo made'))
    const folder = join(sandbox.folder, 'min-cache')
    const first = await machine('b1', source, ['--cache-to', `type=local,dest=${folder}`])
    expect(first.code).toBe(0)
    expect(readdirSync(folder).sort()).toEqual(['blobs', 'index.json', 'index.lock', 'oci-layout'])
    const second = await machine('b2', source, ['--cache-from', `type=local,src=${folder}`])
    expect(howByLine(second.cwd)).toMatchObject({ 2: 'ran', 3: 'ran', 5: 'cached' })
    // the file of the first stage has another time, which is part of what the last step sees
    expect(second.code).toBe(0)
  })

  test('a step that needs a real root goes on upon what was taken over', async () => {
    const source = project()
    const folder = join(sandbox.folder, 'root-cache')
    const args = ['--cache-to', `type=local,dest=${folder},mode=max`]
    expect((await machine('c1', source, args)).code).toBe(0)
    const more = project('linux/amd64', `${DOCKERFILE}RUN ls -l /d/e /both /empty && ! test -e /bin/vi && ls -l /d/a\n`)
    const second = await machine('c2', more, ['--cache-from', `type=local,src=${folder}`])
    expect(second.code).toBe(0)
    expect(howByLine(second.cwd)).toEqual({ ...all('cached'), 8: 'ran' })
    expect(second.stderr).toMatch(/-rws--x--x .* 9 .*\/d\/a/)
  })

  test('of secrets and of values that no step sees nothing is in it; --no-cache takes nothing', async () => {
    const secret = 'correct-horse-battery'
    const step = 'RUN --mount=type=secret,id=s wc -c < /run/secrets/s > /length'
    const source = project('linux/amd64', `FROM busybox:1\n${step}\n`)
    writeFileSync(join(source, 'secret'), secret)
    const folder = join(sandbox.folder, 'secret-cache')
    const given = ['--secret', 'id=s,src=secret', '--progress', 'plain']
    const first = await machine('s1', source, [...given, '--cache-to', `type=local,dest=${folder},mode=max`])
    expect(first.code).toBe(0)
    const blobs = join(folder, 'blobs/sha256')
    for (const name of readdirSync(blobs)) {
      const bytes = readFileSync(join(blobs, name))
      const text = bytes.readUInt16BE() === 0x1f8b ? gunzipSync(bytes) : bytes
      expect(text.includes(secret)).toBe(false)
    }
    const second = await machine('s2', source, [...given, '--no-cache', '--cache-from', `type=local,src=${folder}`])
    expect(howByLine(second.cwd)).toEqual({ 2: 'ran' })
  })

  test('a missing, a foreign and a damaged cache cost a line, and steps run', async () => {
    const source = project()
    const folder = join(sandbox.folder, 'damaged')
    const first = await machine('d1', source, ['--cache-to', `type=local,dest=${folder},mode=max`])
    expect(first.code).toBe(0)
    const missing = await machine('d2', source, ['--cache-from', `${registry.address}/no/cache`])
    expect([missing.code, howByLine(missing.cwd)]).toEqual([0, all('ran')])
    expect(missing.stderr).toContain(`the cache ${registry.address}/no/cache:app-linux-amd64 is not there yet`)

    const foreign = join(sandbox.folder, 'foreign')
    cpSync(folder, foreign, { recursive: true })
    const index = readFileSync(join(foreign, 'index.json'), 'utf8')
    writeFileSync(join(foreign, 'index.json'), index.replace('"size":', '"size":1'))
    const wrong = await machine('d3', source, ['--cache-from', `type=local,src=${foreign}`])
    expect([wrong.code, howByLine(wrong.cwd)]).toEqual([0, all('ran')])
    expect(wrong.stderr).toContain('is not used: ')

    const blobs = join(folder, 'blobs/sha256')
    const largest = readdirSync(blobs).sort((a, b) => statSync(join(blobs, b)).size - statSync(join(blobs, a)).size)[0]!
    const bytes = readFileSync(join(blobs, largest))
    bytes[bytes.length >> 1]! ^= 1
    writeFileSync(join(blobs, largest), bytes)
    const damaged = await machine('d4', source, ['--cache-from', `type=local,src=${folder}`])
    expect(damaged.code).toBe(0)
    expect(howByLine(damaged.cwd)).toEqual(all('cached', 'cached', 'cached', 'ran'))
    expect(resultOf(damaged.cwd).warnings.join()).toMatch(/a step is not taken from this cache: .*sha256:/)
  })

  test('what cannot be written fails the run, unless it shall not', async () => {
    const source = project('linux/amd64', 'FROM busybox:1\nRUN : > /x\n')
    const place = join(sandbox.folder, 'taken')
    writeFileSync(place, 'a file')
    const failed = await machine('e1', source, ['--cache-to', `type=local,dest=${place}`])
    expect(failed.code).not.toBe(0)
    expect(failed.stderr).toContain('was not written')
    const ignored = await machine('e1', source, ['--cache-to', `type=local,dest=${place},ignore-error=true`])
    expect(ignored.code).toBe(0)
    rmSync(place)
    // an unchanged image has its steps exported too; one image by its path has no service in its name
    const unchanged = await machine('e1', source, ['--cache-to', `type=local,dest=${place}`])
    expect(unchanged.code).toBe(0)
    expect(resultOf(unchanged.cwd).cells[0]?.state).toBe('unchanged')
    mkdirSync(join(unchanged.cwd, 'one'))
    writeFileSync(join(unchanged.cwd, 'one/Dockerfile'), 'FROM busybox:1\nRUN : > /y\n')
    const env = { ARCHIMAGE_HOME: join(sandbox.folder, 'store-e1') }
    await sandbox.must(['build', '--cache-to', `type=local,dest=${place}`, './one'], { cwd: unchanged.cwd, env })
    const names = [...readFileSync(join(place, 'index.json'), 'utf8').matchAll(/ref\.name":"([^"]+)"/g)].map(m => m[1])
    expect(names).toEqual(['app-linux-amd64', 'linux-amd64'])
  })
})
