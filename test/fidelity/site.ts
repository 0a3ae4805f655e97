import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Repositories } from '../remote/repositories.ts'
import { startWeb, type Web } from '../remote/web.ts'
import { dir, file, hard, link } from './bases.ts'
import { type Compressor, compressors } from './compress.ts'
import { sha256 } from './push.ts'
import { type Entry, writeTar } from './tar.ts'

/** The web server that cases take files, archives and repositories from, and an OCI layout. */
export interface Site extends Pick<Web, 'url' | 'stop'> {
  /** Commits by name. */
  readonly commits: ReadonlyMap<string, string>
  readonly layout: Layout
}

/** An OCI layout on the disk with the image that base:1 names in the registry. */
export interface Layout {
  readonly folder: string
  /** Of the index in it. */
  readonly digest: string
}

const MODIFIED = { 'last-modified': 'Tue, 14 Nov 2023 22:13:20 GMT' }
const APP = { uid: 1000, gid: 1001 }
const CAPABILITY = Buffer.from('0100000200040000000000000000000000000000', 'hex')

/** A context as an archive: owners, modes, links, attributes, folders that no entry names. */
export const archive: readonly Entry[] = [
  dir('.', 0o700, { uid: 3, gid: 4 }),
  file('Dockerfile', 'FROM scratch\nCOPY . /all/\nCOPY top/one top/link /some/\n'),
  file('other.Dockerfile', 'FROM scratch AS one\nCOPY top /\nFROM scratch\nCOPY --from=one / /\nCOPY top/*e /x/\n'),
  file('sub/Dockerfile.sub', 'FROM scratch\nCOPY --parents sub/./Dockerfile.sub top/**/x /p/\nADD inner.tar /i/\n'),
  file('.dockerignore', 'top\n'),
  dir('top', 0o2750, APP),
  file('top/one', 'one\n', 0o640, APP),
  file('top/suid', 'suid\n', 0o4711),
  file('top/cap', 'cap\n', 0o755, { pax: { 'SCHILY.xattr.security.capability': CAPABILITY } }),
  link('top/link', 'one', APP),
  link('top/abs', '/top/one'),
  hard('top/hard', 'top/one', 0o640, APP),
  file('no/entry/for/x', 'x\n', 0o600, { uid: 7, gid: 8 }),
  file('top/deep/er/x'),
  link('linked', 'top'),
  { path: 'fifo', type: 'fifo', mode: 0o622 },
  file('inner.tar', String(writeTar([dir('in', 0o711, APP), file('in/side')])), 0o600),
  file('script', '#!/bin/sh\n', 0o755),
]

/** An archive whose newest file is not its newest entry. */
const dated: readonly Entry[] = [
  { ...dir('x'), mtime: 1_800_000_000 },
  { ...file('a', 'a\n'), mtime: 1_710_000_123 },
  { ...link('l', 'a'), mtime: 1_800_000_000 },
  { ...file('Dockerfile', 'FROM scratch\nARG SOURCE_DATE_EPOCH\nENV E=$SOURCE_DATE_EPOCH\nCOPY . /x/\n'), mtime: 0 },
]

/** Everything that the cases of cases/remote.ts name. */
export async function startSite(folder: string, registry: string): Promise<Site> {
  const repositories = new Repositories(join(folder, 'git'))
  const commits = makeRepositories(repositories)
  const web = await startWeb({ repositories: repositories.folder })
  const page = (path: string, body: string | Uint8Array, headers: Readonly<Record<string, string>> = {}): void =>
    void web.pages.set(path, { body, headers })
  page('/hello.txt', 'hello\n', MODIFIED)
  page('/etag.txt', 'etag\n', { etag: '"1"' })
  page('/', 'index\n')
  page('/folder/', 'folder\n')
  page('/name%20with%2Fslash', 'odd name\n')
  page('/query?a=b&c=d', 'query\n')
  page('/disposition', 'disposition\n', { 'content-disposition': 'attachment; filename="other.txt"' })
  page('/empty', '')
  web.pages.set('/moved', { status: 302, headers: { location: '/hello.txt' } })
  for (const compressor of Object.keys(compressors) as Compressor[])
    page(`/context.${compressor}`, compressors[compressor](writeTar(archive)), MODIFIED)
  page('/files.tar', writeTar([dir('d', 0o750, APP), file('d/f', 'f\n', 0o640, APP), link('l', 'd/f')]))
  page('/dated.tar.gz', compressors.gzip(writeTar(dated)))
  page('/Dockerfile', 'FROM scratch\nCOPY context /the-dockerfile\nADD context /added/\n')
  page('/text.gz', compressors.gzip(Buffer.from('no archive\n'.repeat(100))))
  const layout = await copyToLayout(registry, join(folder, 'layout'))
  return { url: web.url, stop: () => web.stop(), commits, layout }
}

function makeRepositories(repositories: Repositories): Map<string, string> {
  const commits = new Map<string, string>()
  const files = {
    Dockerfile: 'FROM scratch\nCOPY . /all/\n',
    'app/Dockerfile': 'FROM scratch\nCOPY . /app/\n',
    'app/main.txt': 'main\n',
    'app/run.sh': { program: '#!/bin/sh\n' },
    link: { link: 'app/main.txt' },
    outside: { link: '/etc/passwd' },
    '.dockerignore': 'app\n',
    'named/other.Dockerfile': 'FROM scratch\nCOPY app/*.txt /only/\n',
    'crlf.txt': 'a\nb\n',
    '.gitattributes': 'crlf.txt text eol=crlf\nignored.txt export-ignore\n',
    'ignored.txt': 'in the checkout\n',
  }
  commits.set('first', repositories.create('app', files))
  commits.set('tag', repositories.tag('app', 'v1', true))
  repositories.tag('app', 'light')
  repositories.branch('app', 'feature/x')
  commits.set('feature', repositories.commit('app', { 'app/main.txt': 'feature\n' }))
  repositories.branch('app', 'main')
  repositories.git(repositories.work('app'), 'reset', '-q', '--hard', commits.get('first')!)
  commits.set('main', repositories.commit('app', { 'app/main.txt': 'newer\n' }))
  commits.set('library', repositories.create('library', { 'library.txt': 'library\n' }))
  repositories.create('with-modules', { 'top.txt': 'top\n' })
  repositories.submodule('with-modules', 'lib', '../library.git', commits.get('library')!)
  commits.set('with-modules', repositories.record('with-modules'))
  return commits
}

interface Json {
  readonly manifests?: readonly { readonly digest: string }[]
  readonly config?: { readonly digest: string }
  readonly layers?: readonly { readonly digest: string }[]
}

/** As a program would that is none of ours: over HTTP, blob by blob. */
async function copyToLayout(registry: string, folder: string): Promise<Layout> {
  const blobs = join(folder, 'blobs/sha256')
  mkdirSync(blobs, { recursive: true })
  const get = async (kind: string, reference: string): Promise<Buffer> => {
    const accept = ['index', 'manifest'].map(one => `application/vnd.oci.image.${one}.v1+json`).join()
    const answer = await fetch(`http://${registry}/v2/base/${kind}/${reference}`, { headers: { accept } })
    const bytes = Buffer.from(await answer.arrayBuffer())
    writeFileSync(join(blobs, sha256(bytes).slice(7)), bytes)
    return bytes
  }
  const index = await get('manifests', '1')
  for (const { digest } of (JSON.parse(String(index)) as Json).manifests ?? []) {
    const { config, layers = [] } = JSON.parse(String(await get('manifests', digest))) as Json
    for (const blob of [config!, ...layers]) await get('blobs', blob.digest)
  }
  const digest = sha256(index)
  const type = 'application/vnd.oci.image.index.v1+json'
  const named = { 'org.opencontainers.image.ref.name': 'one' }
  const manifests = [{ mediaType: type, digest, size: index.length, annotations: named }]
  writeFileSync(join(folder, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}')
  writeFileSync(join(folder, 'index.json'), JSON.stringify({ schemaVersion: 2, mediaType: type, manifests }))
  return { folder, digest }
}
