import { afterAll, expect } from 'bun:test'
import { spawnSync } from 'node:child_process'
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { archimage } from '../../scripts/archimage.ts'
import { busyboxFile } from '../peers/index.ts'
import { requirePeers } from '../peers/require.ts'

const step = requirePeers('root', 'busybox')

// Hard links to a changed file, and directories made anew, are told in other words on an overlay.
const DOCKERFILE = `FROM scratch
COPY busybox /bin/busybox
SHELL ["/bin/busybox", "sh", "-ec"]
RUN /bin/busybox --install -s /bin; mkdir -p -m 711 /data/a /data/b; echo one > /data/a/1; echo two > /data/b/2; ln /data/b/2 /data/b/too
RUN --mount=type=cache,target=/cache rm -r /data/a; echo new > /data/3; chown 5:6 /data/3; touch /cache/x
RUN --mount=type=secret,id=token,target=/etc/token wc -c < /etc/token > /count; rm /data/3; chmod 4755 /bin/busybox
`

const folder = mkdtempSync(join(tmpdir(), 'archimage-builds-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** The digest of the image, built through `before` in a store of its own. */
function build(home: string, before: readonly string[], flags: readonly string[]): string {
  const context = join(folder, 'context')
  mkdirSync(context, { recursive: true })
  copyFileSync(busyboxFile(process.arch === 'arm64' ? 'arm64' : 'amd64'), join(context, 'busybox'))
  writeFileSync(join(context, 'Dockerfile'), DOCKERFILE)
  const [command, ...args] = [
    ...[...before, ...archimage, 'build', '-t', 'whole', '--progress', 'quiet'],
    ...['--secret', 'id=token,env=TOKEN', ...flags, context],
  ] as [string, ...string[]]
  const { stdout, stderr, status } = spawnSync(command, args, {
    encoding: 'utf8',
    env: { ...process.env, ARCHIMAGE_HOME: home, TOKEN: 'hunter22', SOURCE_DATE_EPOCH: '1700000000' },
  })
  if (status !== 0) throw new Error(stderr)
  return /sha256:\w+/.exec(stdout)![0]
}

step('the same image with overlays, on an overlay, and without namespaces', () => {
  for (const name of ['lower', 'upper', 'work', 'on']) mkdirSync(join(folder, name))
  const mount =
    'cd "$0" && mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work on && cd / && exec "$@"'
  const usual = build(join(folder, 'usual'), [], [])
  const onOverlay = ['unshare', '--mount', '--propagation', 'private', 'sh', '-c', mount, folder]
  expect(build(join(folder, 'on/store'), onOverlay, [])).toBe(usual)
  const powerless = ['setpriv', '--bounding-set=-sys_admin', '--inh-caps=-sys_admin']
  expect(build(join(folder, 'powerless'), powerless, ['--sandbox=chroot'])).toBe(usual)
  expect(() => build(join(folder, 'refused'), powerless, ['--engine', 'native'])).toThrow('--sandbox=chroot')
})
