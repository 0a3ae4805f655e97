import { describe, expect } from 'bun:test'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { root } from '../../scripts/archimage.ts'
import { hasNamespaces, hasQemu, inNamespace } from '../emulation/namespace.ts'
import { run } from '../peers/process.ts'
import { requirePeers } from '../peers/require.ts'
import { digests, resultOf, Sandbox } from './command.ts'
import { cellOf, stepsOf, withBusybox } from './steps.ts'

const sandbox = new Sandbox('steps-machines')
withBusybox(sandbox)

const test = requirePeers('root', 'busybox')
const emulated = requirePeers('root', 'busybox', 'emulation')

describe('platforms that are not this machine’s', () => {
  emulated('are emulated, marked with their time and with what would make them native', async () => {
    const project = sandbox.project('emulated', {
      'archimage.yaml': 'platforms: [linux/amd64, linux/arm64, linux/arm/v7]\n',
      'src/app/Dockerfile': 'FROM busybox:1\nRUN uname -m > /machine && cat /machine && [ -e /src ] && make || true\n',
    })
    const { stderr } = await sandbox.must(['build', '--progress', 'plain'], { cwd: project })
    for (const platform of ['linux/arm64', 'linux/arm/v7']) {
      expect(cellOf(project, 'app', platform)).toMatchObject({ engine: 'native', emulated: true })
      expect(stepsOf(project, 'app', platform)[0]).toMatchObject({ emulated: true, seconds: expect.any(Number) })
    }
    expect(cellOf(project)).toMatchObject({ emulated: false })
    expect(stderr).toContain('| aarch64\n')
    expect(stderr).toMatch(
      /~ emulated: 2 steps, [\d.]+s; [\d.]+s of it natively: run make in a stage FROM --platform=\$BUILDPLATFORM/,
    )
    // They were emulated when they ran; now nothing of them runs.
    await sandbox.must(['build', '--no-cache'], { cwd: project })
    expect(cellOf(project, 'app', 'linux/arm64')).toMatchObject({ emulated: true })
    expect(resultOf(project).warnings).toEqual([])
  })

  const alone = test
  if (hasNamespaces && hasQemu)
    alone('without an emulator: known before the first step; --install-emulators; what is there counts', async () => {
      const project = sandbox.project('none', {
        'archimage.yaml': 'platforms: [linux/amd64, linux/arm64]\n',
        'src/base/Dockerfile':
          'FROM --platform=$BUILDPLATFORM busybox:1 AS first\nRUN echo first > /first\nFROM busybox:1\nCOPY --from=first /first /\n',
        'src/app/Dockerfile': 'FROM base\nRUN uname -m > /machine\n',
        'src/pinned/Dockerfile':
          'FROM --platform=$BUILDPLATFORM busybox:1 AS b\nRUN uname -m > /m\nFROM scratch\nCOPY --from=b /m /\n',
      })
      const build = (more: string, env: Record<string, string> = {}, before = '') =>
        inNamespace(`cd ${project}\n${before} ${join(root, 'bin/archimage')} build ${more}`, {
          ...(sandbox.env() as Record<string, string>),
          ARCHIMAGE_HOME: join(sandbox.folder, 'namespace-store'),
          ...env,
        })
      const first = await build('--engine native --progress json')
      expect(first.code).toBe(3)
      const events = first.stderr.split('\n').flatMap(line => (line.startsWith('{') ? [JSON.parse(line)] : []))
      const failed = events.findIndex(({ type, state }) => type === 'cell-ended' && state === 'failed')
      expect(failed).toBeGreaterThan(0)
      expect(events.findIndex(({ type }) => type === 'cell-step')).toBeGreaterThan(failed)
      const states = (): Record<string, string> =>
        Object.fromEntries(
          resultOf(project).cells.map(({ service, platform, state }) => [`${service} ${platform}`, state]),
        )
      const right = {
        'base linux/amd64': 'built',
        'base linux/arm64': 'built',
        'app linux/amd64': 'built',
        'pinned linux/amd64': 'built',
        'pinned linux/arm64': 'built',
      }
      expect(states()).toEqual({ ...right, 'app linux/arm64': 'failed' })
      const { failure } = cellOf(project, 'app', 'linux/arm64')
      expect(failure).toMatchObject({ code: 'EMULATOR_MISSING', line: 2, file: expect.stringContaining('src/app') })
      expect(failure!.message).toContain('no emulator is registered for it')
      expect(failure!.hint).toContain('archimage emulators install linux/arm64')

      const second = await build('--engine native --install-emulators')
      expect([second.code, second.code === 0 ? '' : second.stderr]).toEqual([0, ''])
      expect(cellOf(project, 'app', 'linux/arm64')).toMatchObject({ state: 'built', emulated: true })
      // The image is there: nobody asks for an emulator.
      const third = await build('--engine native')
      expect([third.code, third.code === 0 ? '' : third.stderr]).toEqual([0, ''])
      expect(cellOf(project, 'app', 'linux/arm64')).toMatchObject({ state: 'unchanged' })
      // In a namespace of its own archimage needs to ask nobody.
      const fourth = await build('--engine native --no-cache', { ARCHIMAGE_ENTERED: '1' }, 'unshare -Urm')
      expect([fourth.code, fourth.code === 0 ? '' : fourth.stderr]).toEqual([0, ''])
      expect(cellOf(project, 'app', 'linux/arm64')).toMatchObject({ state: 'built', emulated: true })
    })
})

const COPIED = `FROM busybox:1 AS base
RUN mkdir /d && echo a > /d/a && ln /d/a /d/b && ln -s a /d/c && chown 3:4 /d/a && chmod 4711 /d/a && mkfifo /fifo
RUN echo new > /d/b && rm /bin/vi && mkdir /e && chown 5 /e
FROM base
COPY Dockerfile /d/
RUN --mount=type=cache,target=/c --mount=target=/ctx,rw \\
  touch /c/x /ctx/y && rm -r /d && mkdir /d && cp /ctx/Dockerfile /d/copy && date > /date && rm /date
`

/** A build through another program, with SOURCE_DATE_EPOCH so that the same steps make the same bytes. */
async function buildThrough(before: readonly string[], project: string, home: string, ...more: string[]) {
  const command = [...before, join(root, 'bin/archimage'), 'build', '--progress', 'plain', ...more]
  mkdirSync(home, { recursive: true })
  const env = { ...sandbox.env({ SOURCE_DATE_EPOCH: '1700000000' }), ARCHIMAGE_HOME: join(home, 'store') }
  const { code, stderr } = await run(command, { cwd: project, env, timeout: 45_000 })
  return { code, stderr, result: () => resultOf(project) }
}

describe('machines that lack something: the same image', () => {
  const project = (): string =>
    sandbox.project('copied', { 'archimage.yaml': 'platforms: [linux/amd64]\n', 'src/app/Dockerfile': COPIED })
  const usual = async (): Promise<string[]> => {
    const { code, stderr } = await buildThrough([], project(), join(sandbox.folder, 'usual'))
    expect([code, code === 0 ? '' : stderr]).toEqual([0, ''])
    return Object.values(digests(project()))
  }

  test('a store on an overlay: roots are copied', async () => {
    const folder = join(sandbox.folder, 'on-overlay')
    for (const name of ['lower', 'upper', 'work', 'on']) mkdirSync(join(folder, name), { recursive: true })
    const mount = 'cd "$0" && mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work on && exec "$@"'
    // The shell stays in the folder of the store, and the project is where it was.
    const back = ['sh', '-c', `cd "$0" && exec "$@"`, project()]
    const before = ['unshare', '--mount', '--propagation', 'private', 'sh', '-c', mount, folder, ...back]
    const { code, stderr, result } = await buildThrough(before, project(), join(folder, 'on'))
    expect([code, code === 0 ? '' : stderr]).toEqual([0, ''])
    expect(result().sandbox).toMatchObject({ runtime: 'namespaces', roots: 'copy' })
    expect(result().warnings.join()).toContain('roots are copied')
    expect(Object.values(digests(project()))).toEqual(await usual())
  })

  test('without CAP_SYS_ADMIN: an error with the remedy, which works', async () => {
    const before = ['setpriv', '--bounding-set=-sys_admin', '--inh-caps=-sys_admin']
    const home = join(sandbox.folder, 'unprivileged')
    const refused = await buildThrough(before, project(), home, '--engine', 'native')
    expect(refused.code).toBe(3)
    expect(refused.stderr).toContain('CAP_SYS_ADMIN')
    expect(refused.stderr).toContain('build with --sandbox=chroot')
    const { code, stderr, result } = await buildThrough(before, project(), home, '--sandbox=chroot')
    expect([code, code === 0 ? '' : stderr]).toEqual([0, ''])
    expect(result().sandbox).toMatchObject({ runtime: 'chroot', roots: 'copy' })
    expect(stderr).toContain('confined by chroot(2) alone')
    expect(Object.values(digests(project()))).toEqual(await usual())
  })

  test('with runc: the same image', async () => {
    const { code, stderr, result } = await buildThrough([], project(), join(sandbox.folder, 'runc'), '--sandbox=runc')
    expect([code, code === 0 ? '' : stderr]).toEqual([0, ''])
    expect(result().sandbox).toMatchObject({ runtime: 'runc' })
    expect(Object.values(digests(project()))).toEqual(await usual())
  })
})

describe('programs that do not start', () => {
  const failing = async (name: string, dockerfile: string, files: Record<string, string | Uint8Array> = {}) => {
    const project = sandbox.project(name, {
      'archimage.yaml': 'platforms: [linux/amd64]\n',
      'src/app/Dockerfile': dockerfile,
      ...files,
    })
    const { code } = await sandbox.run(['build'], { cwd: project })
    expect(code).toBe(1)
    return cellOf(project).failure!
  }

  test('the file is looked at', async () => {
    const windows = await failing('windows', 'FROM busybox:1\nCOPY --chmod=755 run.exe /run.exe\nRUN /run.exe\n', {
      'src/app/run.exe': portableExecutable(),
    })
    expect(windows.message).toContain('/run.exe is a program for Windows')
  })
})

/** As much of a program for Windows as shows what it is: MZ, and PE with the machine x86-64. */
function portableExecutable(): Uint8Array {
  const bytes = Buffer.alloc(512)
  bytes.write('MZ')
  bytes.writeUInt32LE(0x80, 0x3c)
  bytes.write('PE\0\0', 0x80)
  bytes.writeUInt16LE(0x8664, 0x84)
  return bytes
}
