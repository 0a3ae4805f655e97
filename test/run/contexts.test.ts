import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { layoutOfFolder, readImages } from '../fidelity/image.ts'
import { type Entry, writeTar } from '../fidelity/tar.ts'
import { canRun, requirePeers } from '../peers/require.ts'
import { Repositories } from '../remote/repositories.ts'
import { startWeb, type Web } from '../remote/web.ts'
import { digests, Sandbox } from './command.ts'
import { tarOf, untar } from './images.ts'

const sandbox = new Sandbox('contexts')
const git = requirePeers('git')
let web: Web
let repositories: Repositories

const files = {
  Dockerfile: 'FROM scratch\nCOPY a /x/\n',
  a: 'from the archive',
  'sub/Dockerfile': 'FROM scratch\nCOPY sub /y/\n',
}
const archive = tarOf(files)

beforeAll(async () => {
  repositories = new Repositories(join(sandbox.folder, 'git'))
  web = await startWeb({ repositories: repositories.folder })
  if (canRun('git')) repositories.create('app', { ...files, a: 'from git' })
  writeFileSync(join(sandbox.folder, 'context.tar'), archive)
  mkdirSync(join(sandbox.folder, 'empty'))
})
afterAll(async () => {
  await web.stop()
  await sandbox.dispose()
})

/** Files of the image, by path. */
async function filesOf(
  args: readonly string[],
  options: Parameters<Sandbox['run']>[1] = {},
): Promise<Record<string, string>> {
  const out = join(sandbox.folder, `out-${Math.random().toString(36).slice(2)}.tar`)
  await sandbox.must(['build', '-q', '-o', `type=tar,dest=${out}`, ...args], options)
  return untar(readFileSync(out))
}
const refusal = async (args: readonly string[], options: Parameters<Sandbox['run']>[1] = {}): Promise<string> => {
  const { code, stderr } = await sandbox.run(['build', ...args], options)
  return `${code} ${stderr}`
}

describe('archives', () => {
  test('on standard input, plain and compressed, and by path', async () => {
    const wanted = { 'x/a': 'from the archive' }
    expect(await filesOf(['-'], { input: archive })).toMatchObject(wanted)
    expect(await filesOf(['-'], { input: gzipSync(archive) })).toMatchObject(wanted)
    expect(await filesOf(['./context.tar'])).toMatchObject(wanted)
    expect(await filesOf(['context.tar'])).toMatchObject(wanted)
    expect(await filesOf(['-f', 'sub/Dockerfile', '-'], { input: archive })).toHaveProperty('y/Dockerfile')
    const { stdout } = await sandbox.must(['build', '-q', './context.tar'])
    expect(Object.keys(digests(stdout))).toEqual(['context'])
  })

  test('are read once: what did not change is not built again, however it is packed', async () => {
    const state = async (input: Uint8Array) =>
      (await sandbox.must(['build', '--progress', 'plain', '-'], { input })).stderr
    await state(tarOf({ ...files, a: 'packed twice' }))
    expect(await state(gzipSync(tarOf({ ...files, a: 'packed twice' })))).toContain('unchanged')
    expect(await state(tarOf({ ...files, a: 'packed twice', unused: 'x' }))).toContain('unchanged')
    expect(await state(tarOf({ ...files, a: 'another' }))).toContain('built')
  })

  test('that are hostile, cut or no archive are refused', async () => {
    expect(await refusal(['-'], { input: tarOf({ '../out': 'x', ...files }) })).toContain('leaves the root')
    expect(await refusal(['-'], { input: archive.subarray(0, 700) })).toContain('cut off')
    expect(await refusal(['-'], { input: gzipSync(Buffer.from('text')) })).toContain('no archive')
    expect(await refusal(['-f', 'none', '-'], { input: archive })).toContain('has no none')
    expect(await refusal(['-'], { input: tarOf({ b: 'x' }) })).toContain('has no Dockerfile')
    expect(await refusal(['./nothing.tar'])).toStartWith('2 ')
    writeFileSync(join(sandbox.folder, 'text'), 'FROM scratch')
    expect(await refusal(['./text'])).toContain('archimage build -f')
    expect(existsSync(join(sandbox.folder, 'out'))).toBe(false)
  })

  test('and Dockerfiles from elsewhere', async () => {
    const dockerfile = 'FROM scratch\nCOPY a /own/\n'
    const wanted = { 'own/a': 'from the archive' }
    expect(await filesOf(['-f', '-', './context.tar'], { input: dockerfile })).toMatchObject(wanted)
    const path = join(sandbox.folder, 'own.Dockerfile')
    writeFileSync(path, dockerfile)
    expect(await filesOf(['-f', path, '-'], { input: archive })).toMatchObject(wanted)
    web.pages.set('/Dockerfile', { body: dockerfile })
    expect(await filesOf(['-f', `${web.url}/Dockerfile`, '-'], { input: archive })).toMatchObject(wanted)
    expect(await refusal(['-f', '-', '-'], { input: archive })).toStartWith('2 ')
    expect(await refusal(['-f', '-', '.'], { input: archive })).toContain('is an archive')
    expect(await refusal(['-f', 'x', '-'], { input: dockerfile })).toContain('there are no files in it')
  })

  test('are named contexts too', async () => {
    const input = 'FROM scratch\nCOPY --from=n a /z/\n'
    expect(await filesOf(['--build-context', 'n=context.tar', '-f', '-', './empty'], { input })).toMatchObject({
      'z/a': 'from the archive',
    })
  })
})

describe('URLs', () => {
  test('of archives and of Dockerfiles; -f - goes with them', async () => {
    web.pages.set('/app.tgz', { body: gzipSync(archive), etag: '"1"' })
    expect(await filesOf([`${web.url}/app.tgz`])).toMatchObject({ 'x/a': 'from the archive' })
    const { stdout } = await sandbox.must(['build', '-q', `${web.url}/app.tgz?token=x`.replace('?token=x', '')])
    expect(Object.keys(digests(stdout))).toEqual(['app'])
    web.pages.set('/only', { body: 'FROM scratch\nCOPY context /the-dockerfile\n' })
    expect(Object.keys(await filesOf([`${web.url}/only`]))).toContain('the-dockerfile')
    const input = 'FROM scratch\nCOPY sub /\n'
    expect(Object.keys(await filesOf(['-f', '-', `${web.url}/app.tgz`], { input }))).toContain('Dockerfile')
  })

  test('cost one conditional request, and none with --offline', async () => {
    web.pages.set('/again.tar', { body: archive, etag: '"1"' })
    const url = `${web.url}/again.tar`
    expect(await refusal(['--offline', url])).toStartWith('3 error: ')
    await sandbox.must(['build', url])
    web.asked.length = 0
    expect((await sandbox.must(['build', url])).stderr).toContain('unchanged')
    expect(web.asked.map(({ headers }) => headers['if-none-match'])).toEqual(['"1"'])
    expect((await sandbox.must(['build', '--offline', url])).stderr).toContain('unchanged')
    expect(web.asked).toHaveLength(1)
    // The same content from elsewhere, and under another ETag, is the same image.
    web.pages.set('/moved/again.tar', { body: archive, etag: '"2"' })
    expect((await sandbox.must(['build', `${web.url}/moved/again.tar`])).stderr).toContain('unchanged')
  })

  test('take secrets, which stay out of what is said', async () => {
    web.pages.set('/private.txt', { body: 'x', authorization: 'Bearer s3cr3t-token' })
    const project = sandbox.project('private', { Dockerfile: `FROM scratch\nADD ${web.url}/private.txt /\n` })
    const secret = 'id=HTTP_AUTH_TOKEN_127.0.0.1,env=TOKEN'
    const options = { cwd: project, env: { TOKEN: 's3cr3t-token' } }
    await sandbox.must(['build', '--secret', secret, '.'], options)
    const wrong = await refusal(['--secret', secret, '.'], { cwd: project, env: { TOKEN: 's3cr3t-wrong' } })
    expect(wrong).toContain('SOURCE_FAILED')
    expect(wrong).toContain('Dockerfile:2')
    expect(wrong).not.toContain('s3cr3t')
    const [, host] = web.url.split('//')
    const own = await refusal(['-f', '-', './empty'], {
      input: `FROM scratch\nADD http://us%zzer:pa55word@${host}/private.txt /\n`,
    })
    expect(own).toContain('SOURCE_FAILED')
    expect(own).not.toContain('pa55word')
  })
})

describe('repositories', () => {
  git('as contexts, by branch and folder, with -f inside', async () => {
    const url = `${web.url}/git/app.git`
    expect(await filesOf([url])).toMatchObject({ 'x/a': 'from git' })
    expect(await refusal([`${url}#main:sub`])).toContain('"sub" does not exist')
    expect(await filesOf(['-f', 'sub/Dockerfile', `${url}#main`])).toHaveProperty('y/Dockerfile')
    const { stdout } = await sandbox.must(['build', '-q', url])
    expect(Object.keys(digests(stdout))).toEqual(['app'])
  })

  git('keep .git where it is wanted', async () => {
    const input = 'FROM scratch\nCOPY . /x/\n'
    const url = `${web.url}/git/app.git`
    const names = async (...args: string[]) => Object.keys(await filesOf(['-f', '-', ...args], { input }))
    expect(await names(url)).not.toContain('x/.git/HEAD')
    expect(await names(`${url}?keep-git-dir=1`)).toContain('x/.git/HEAD')
    expect(await names('--build-arg', 'BUILDKIT_CONTEXT_KEEP_GIT_DIR=1', url)).toContain('x/.git/HEAD')
  })

  git('a folder of that name counts before github.com', async () => {
    const folder = sandbox.project('github.com/team/app', { Dockerfile: 'FROM scratch\nCOPY a /here/\n', a: 'local' })
    expect(folder).toEndWith('app')
    expect(await filesOf(['github.com/team/app'])).toMatchObject({ 'here/a': 'local' })
  })

  git('refs that could be options, and protocols that run programs, are refused', async () => {
    for (const [path, why] of [
      [`${web.url}/git/app.git#--upload-pack=touch`, 'no branch'],
      ['ssh://-oProxyCommand=touch/x.git', 'like an option'],
      ['ext::sh -c touch', 'no context that archimage can read'],
      ['file:///srv/app.git', 'no context that archimage can read'],
    ] as const)
      expect(await refusal([path])).toContain(why)
  })

  git('links in them lead nowhere outside', async () => {
    repositories.create('links', { Dockerfile: 'FROM scratch\nCOPY out /x\n', out: { link: '/etc/passwd' } })
    expect(await refusal([`${web.url}/git/links.git`])).toContain('NOT_FOUND')
  })
})

describe('images', () => {
  test('in an OCI layout: each platform has the files of its own', async () => {
    const source = sandbox.project('source', {
      Dockerfile: 'FROM scratch\nARG TARGETARCH\nCOPY context.Dockerfile /Dockerfile\nCOPY $TARGETARCH /file\n',
      'context.Dockerfile': 'FROM scratch\nCOPY --chown=5 file /copied\n',
      amd64: 'for amd64',
      arm64: 'for arm64',
    })
    const layout = join(sandbox.folder, 'image-context')
    const platforms = ['--platform', 'linux/amd64,linux/arm64']
    await sandbox.must(['build', '-o', `type=oci,tar=false,dest=${layout}`, ...platforms, '.'], { cwd: source })
    const context = `oci-layout://${layout}`
    expect(await filesOf(['--platform', 'linux/arm64', context])).toEqual({ copied: 'for arm64' })
    const out = join(sandbox.folder, 'from-image')
    const { stdout } = await sandbox.must([
      'build',
      '-q',
      '-o',
      `type=oci,tar=false,dest=${out}`,
      ...platforms,
      context,
    ])
    expect(Object.keys(digests(stdout))).toEqual(['image-context'])
    const images = readImages(layoutOfFolder(out))
    expect([...images.values()].map(({ tree }) => tree.get('copied')).sort()).toHaveLength(2)
    expect(images.get('linux/amd64')!.tree.get('copied')).not.toBe(images.get('linux/arm64')!.tree.get('copied'))
    const input = 'FROM scratch\nCOPY file Dockerfile /x/\n'
    expect(await filesOf(['-f', '-', '--platform', 'linux/amd64', context], { input })).toMatchObject({
      'x/file': 'for amd64',
    })
    expect(await refusal(['--platform', 'linux/s390x', context])).toContain('no image for linux/s390x')
    expect(await refusal(['-f', 'none', '--platform', 'linux/amd64', context])).toContain('has no none')
  })

  test('that the store has, by name', async () => {
    const source = sandbox.project('named-image', {
      Dockerfile: 'FROM scratch\nCOPY Dockerfile inside /\n',
      inside: 'x',
    })
    await sandbox.must(['build', '-t', 'example.com/team/files:1', '.'], { cwd: source })
    const input = 'FROM scratch\nCOPY inside /copied\n'
    const { stdout } = await sandbox.must(['build', '-q', '-f', '-', 'docker-image://example.com/team/files:1'], {
      input,
    })
    expect(Object.keys(digests(stdout))).toEqual(['files'])
    expect(await refusal(['docker-image://scratch'])).toContain('cannot be the context')
    expect(await refusal(['service:x'])).toContain('cannot be the context')
  })
})

describe('SOURCE_DATE_EPOCH', () => {
  const made = async (args: readonly string[], options: Parameters<Sandbox['run']>[1] = {}): Promise<string> => {
    const layout = join(sandbox.folder, `epoch-${Math.random().toString(36).slice(2)}`)
    await sandbox.must(['build', '-q', '-o', `type=oci,tar=false,dest=${layout}`, ...args], options)
    const [image] = readImages(layoutOfFolder(layout)).values()
    return image!.created as string
  }
  const NONE = '1980-02-01T00:00:00Z'

  test('of the environment may be a name', async () => {
    web.pages.set('/dated', { body: archive, headers: { 'last-modified': 'Tue, 14 Nov 2023 22:13:20 GMT' } })
    const epoch = (SOURCE_DATE_EPOCH: string) => ({ env: { SOURCE_DATE_EPOCH } })
    expect(await made([`${web.url}/dated`], epoch('context'))).toBe('2023-11-14T22:13:20Z')
    const named = ['--build-context', `n=${web.url}/dated`, './context.tar']
    expect(await made(named, epoch('n'))).toBe('2023-11-14T22:13:20Z')
    expect(await made(named, epoch('1700000000'))).toBe('2023-11-14T22:13:20Z')
    expect(await refusal(named, epoch('m'))).toMatch(/^2 .*did you mean "n"/s)
  })

  test('of folders and images is none', async () => {
    const project = sandbox.project('undated', files)
    const args = ['--build-context', 'n=.', '--build-context', 'i=docker-image://scratch', '.']
    for (const name of ['context', 'n', 'i'])
      expect(await made(['--build-arg', `SOURCE_DATE_EPOCH=${name}`, ...args], { cwd: project })).toBe(NONE)
  })
})

describe('hostile archives', () => {
  const link = (path: string, target: string): Entry => ({ path, type: 'symlink', link: target })
  const file = (path: string, data: string): Entry => ({ path, type: 'file', data: Buffer.from(data) })
  const dockerfile = (...lines: string[]): Entry => file('Dockerfile', ['FROM scratch', ...lines, ''].join('\n'))

  test('reach no file of this machine', async () => {
    const input = writeTar([
      ...[
        { path: 'etc', type: 'dir', mode: 0o755 } as const,
        link('in', '/etc'),
        link('up', '../../../../etc/hostname'),
        link('abs', '/etc/hostname'),
      ],
      ...[link('Dockerfile', 'real'), file('real', 'FROM scratch\nCOPY up /1\nCOPY abs /2\n')],
      // Through the link it lands below the root of the archive.
      file('in/hostname', 'of the archive'),
    ])
    expect(await filesOf(['-'], { input })).toEqual({ '1': 'of the archive', '2': 'of the archive' })
    const out = writeTar([link('Dockerfile', '/etc/hostname')])
    expect(await refusal(['-'], { input: out })).toContain('has no Dockerfile')
    const circle = writeTar([link('a', 'b'), link('b', 'a'), dockerfile('COPY a /x')])
    expect(await refusal(['-'], { input: circle })).toContain('circle')
    const self = writeTar([link('in', '/in'), file('in/x', ''), dockerfile()])
    expect(await refusal(['-'], { input: self })).toContain('standard input: /in: too many links')
  })

  test('with hard links to nothing, devices, endless names', async () => {
    const hard = writeTar([{ path: 'a', type: 'hardlink', link: '/etc/passwd' }, dockerfile('COPY a /x')])
    expect(await refusal(['-'], { input: hard })).toContain(
      'standard input: "a" is a hard link to "etc/passwd", which does not exist',
    )
    const device: Entry = { path: 'zero', type: 'char', mode: 0o666, major: 1, minor: 5 }
    const out = await sandbox.must(['build', '-q', '-'], { input: writeTar([device, dockerfile('COPY zero /x')]) })
    expect(out.stdout).toContain('sha256:')
    const long = writeTar([file('x/'.repeat(5000), ''), dockerfile('COPY . /x')])
    expect(await refusal(['-'], { input: long })).toMatch(/^[012] /)
    const directory = writeTar([{ path: 'Dockerfile', type: 'dir' }])
    expect(await refusal(['-'], { input: directory })).toContain('is no file')
  })
})

describe('the store', () => {
  git('gives back what contexts took, and builds again', async () => {
    const own = { env: { ARCHIMAGE_HOME: join(sandbox.folder, 'pruned') } }
    web.pages.set('/pruned.tar', { body: archive, etag: '"1"' })
    const args = ['-f', '-', '--build-context', `n=${web.url}/git/app.git`, `${web.url}/pruned.tar`]
    const build = (...more: string[]) =>
      sandbox.run(['build', '--progress', 'plain', ...more, ...args], {
        ...own,
        input: 'FROM scratch\nCOPY a /1\nCOPY --from=n a /2\n',
      })
    expect((await build()).stderr).toContain('built')
    expect((await build('--offline')).code).toBe(0)
    await sandbox.must(['cache', 'prune', '--all'], own)
    expect((await build('--offline')).code).toBe(3)
    web.asked.length = 0
    expect((await build()).code).toBe(0)
    expect(web.asked.map(({ path }) => path.split('?')[0])).toEqual(
      expect.arrayContaining(['/pruned.tar', '/git/app.git/git-upload-pack']),
    )
  })
})

describe('in a project', () => {
  git('named contexts of every kind', async () => {
    web.pages.set('/named.txt', { body: 'from the web' })
    const project = sandbox.project('named', {
      'archimage.yaml': [
        'services:',
        '  api:',
        '    build-contexts:',
        `      web: ${web.url}/named.txt`,
        `      repo: ${web.url}/git/app.git`,
        '      folder: assets',
        '      archive: files.tar',
        '      lib: service:lib',
      ].join('\n'),
      'assets/b': 'from a folder',
      'files.tar': archive,
      'src/lib/Dockerfile': 'FROM scratch\nCOPY Dockerfile /lib\n',
      'src/api/Dockerfile': [
        'FROM scratch',
        'COPY --from=web context /web',
        'COPY --from=repo a /repo',
        'COPY --from=folder b /folder',
        'COPY --from=archive a /archive',
        'COPY --from=lib lib /lib',
      ].join('\n'),
    })
    const out = join(sandbox.folder, 'named.tar')
    await sandbox.must(['build', 'api', '-o', `type=tar,dest=${out}`], { cwd: project })
    expect(untar(readFileSync(out))).toMatchObject({
      web: 'from the web',
      repo: 'from git',
      folder: 'from a folder',
      archive: 'from the archive',
    })
    expect((await sandbox.must(['plan', 'api'], { cwd: project })).stdout).toContain('unchanged')
  })

  test('the Dockerfile of a service may be behind a URL', async () => {
    const project = sandbox.project('by-url', {
      'src/api/Dockerfile': 'FROM scratch\n',
      'src/api/a': 'of the project',
      // It goes with the Dockerfile beside it, which does not count here.
      'src/api/Dockerfile.dockerignore': 'a\n',
      'src/base/Dockerfile': 'FROM scratch\nCOPY Dockerfile /base\n',
    })
    web.pages.set('/service', { body: 'FROM base\nCOPY a /x\n' })
    const out = join(sandbox.folder, 'by-url.tar')
    const args = ['build', 'api', '-f', `${web.url}/service`, '-o', `type=tar,dest=${out}`]
    await sandbox.must(args, { cwd: project })
    expect(untar(readFileSync(out))).toMatchObject({ x: 'of the project', base: expect.anything() })
    web.pages.set('/service', { body: 'FROM base\nCOPYY a /x\n' })
    const { stderr } = await sandbox.run(args, { cwd: project })
    expect(stderr).toContain(`${web.url}/service:2`)
    const lint = await sandbox.run(['lint', 'api', '-f', `${web.url}/service`], { cwd: project })
    expect(lint.stdout + lint.stderr).toContain('COPYY')
  })

  test('an OCI layout as named context, and what is wrong with others', async () => {
    const layout = join(sandbox.folder, 'layout')
    const base = sandbox.project('base', { Dockerfile: 'FROM scratch\nENV OF=layout\nCOPY Dockerfile /base\n' })
    await sandbox.must(['build', '-t', 'base:1', '-o', `type=oci,tar=false,dest=${layout}`, '.'], { cwd: base })
    const input = 'FROM base\nCOPY --from=other /base /copied\n'
    const args = ['-f', '-', '--build-context', 'base=oci-layout://layout', './empty']
    const both = [...args, '--build-context', 'other=oci-layout://layout:1']
    expect(Object.keys(await filesOf(both, { input }))).toEqual(expect.arrayContaining(['base', 'copied']))
    const other = (value: string) => refusal([...args, '--build-context', `other=${value}`], { input })
    expect(await other('oci-layout://layout:2')).toMatch(/NOT_FOUND|unchanged|built/)
    expect(await other('oci-layout://empty')).toContain('no OCI layout')
    expect(await other(`oci-layout://layout@sha256:${'0'.repeat(64)}`)).toContain('has no image')
    expect(await other('ftp://x/y')).toContain('no context that archimage can read')
    symlinkSync('/etc/hostname', join(layout, 'blobs/sha256', '1'.repeat(64)))
    expect(await other(`oci-layout://layout@sha256:${'1'.repeat(64)}`)).toContain('DIGEST_MISMATCH')
  })
})
