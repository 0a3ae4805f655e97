import { describe, expect } from 'bun:test'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { requirePeers } from '../peers/require.ts'
import { digests, Sandbox } from './command.ts'
import { cellOf, withBusybox } from './steps.ts'

const sandbox = new Sandbox('steps-interrupt')
withBusybox(sandbox)

const test = requirePeers('root', 'busybox')

/** Processes of this machine with a word among their arguments. */
function processesWith(word: string): number[] {
  return readdirSync('/proc')
    .filter(name => /^\d+$/.test(name))
    .filter(pid => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').includes(word)
      } catch {
        return false
      }
    })
    .map(Number)
}

const mounts = (): string[] =>
  readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter(line => line.includes(sandbox.folder))

describe('Ctrl-C', () => {
  test('ends a step and all that it started, at once', async () => {
    const project = sandbox.project('ctrl-c', {
      'archimage.yaml': 'platforms: [linux/amd64]\n',
      'src/app/Dockerfile':
        'FROM busybox:1\nRUN trap "" INT TERM; (trap "" INT TERM HUP; sleep 98761) & echo begun; sleep 98762\n',
    })
    const started = sandbox.start(['build', '--progress', 'plain'], { cwd: project })
    await started.said(/\| begun/)
    while (processesWith('98761').length === 0 || processesWith('98762').length === 0) await Bun.sleep(10)
    started.child.kill('SIGINT')
    const { code, stderr } = await started.ended
    expect(code).toBe(130)
    expect(stderr).toContain('interrupted')
    expect(cellOf(project).state).toBe('cancelled')
    while (processesWith('98761').length > 0 || processesWith('98762').length > 0) await Bun.sleep(10)
    expect(mounts()).toEqual([])
  })
})

describe('kill -9', () => {
  test('at several moments: nothing stays behind, and the next build gives what an undisturbed one gives', async () => {
    const files = {
      'archimage.yaml': 'platforms: [linux/amd64]\n',
      'src/app/Dockerfile': `FROM busybox:1 AS one
RUN mkdir /d && head -c 3000000 /dev/zero > /d/zero && sleep 0.1 && echo one > /d/one
FROM busybox:1
RUN rm /bin/vi && echo two > /two && sleep 0.1
COPY --from=one /d /d
RUN --mount=type=cache,target=/c echo x >> /c/log; cat /d/one /two > /three && sleep 0.1
`,
    }
    const build = (home: string) => ({
      args: ['build', '-q'],
      options: {
        cwd: sandbox.project(home, files),
        env: { SOURCE_DATE_EPOCH: '1000000000', ARCHIMAGE_HOME: join(sandbox.folder, `store-${home}`) },
      },
    })
    const calm = build('calm')
    const begun = performance.now()
    const expected = digests((await sandbox.must(calm.args, calm.options)).stdout)['app']
    const time = performance.now() - begun
    for (let i = 0; i < 6; i++) {
      const { args, options } = build(`killed-${i}`)
      const started = sandbox.start(args, options)
      await Bun.sleep((time * (i + 1)) / 7)
      started.child.kill('SIGKILL')
      await started.ended
      const again = sandbox.run(args, options)
      // What the killed one ran is gone before the next one has to care.
      expect(mounts()).toEqual([])
      const { code, stdout, stderr } = await again
      expect([code, stderr.replaceAll(/^in the store as.*\n?/gm, '')]).toEqual([0, ''])
      expect(digests(stdout)['app']).toBe(expected!)
      const tmp = join(options.env.ARCHIMAGE_HOME, 'tmp')
      expect(existsSync(tmp) ? readdirSync(tmp) : []).toEqual([])
    }
  })
})
