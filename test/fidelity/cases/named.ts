import type { Case } from '../case.ts'
import type { Context } from '../context.ts'

type Contexts = NonNullable<Case['contexts']>

const copies = (name: string, contexts: Contexts, lines: string, more: Partial<Case> = {}): Case => ({
  name,
  dockerfile: `FROM scratch\n${lines}\n`,
  contexts,
  ...more,
})
const refuses = (name: string, contexts: Contexts, lines: string): Case =>
  copies(name, contexts, lines, { refused: true })
/** Files have no history of their own. */
const upon = (name: string, contexts: Contexts, dockerfile: string, more: Partial<Case> = {}): Case => ({
  name,
  dockerfile,
  contexts,
  differs: { section: 'History of old bases', only: /history/ },
  ...more,
})

const folder = (c: Context): void => {
  c.file('one')
    .file('d/two', 'two\n', 0o640)
    .file('left/out')
    .dir('d', 0o711)
    .symlink('to', 'one')
    .hardlink('again', 'one')
    .file('.dockerignore', 'left\n')
}

/** Named contexts of every kind, as sources of COPY and in place of stages and images. */
export const named: readonly Case[] = [
  copies('a named folder', { n: folder }, 'COPY --from=n . /1/\nCOPY --from=n d/t* to /2/'),
  copies('a named folder with its own ignore file', { n: folder }, 'COPY --from=n . /x/', {
    files: c => {
      c.file('one').file('.dockerignore', 'one\n')
    },
  }),
  copies('a named image', { n: 'docker-image://REG/base:1' }, 'COPY --from=n /etc /x/'),
  copies('a named image that is scratch', { n: 'docker-image://scratch' }, 'COPY --from=n . /x/'),
  copies('a named layout', { n: 'oci-layout://LAYOUT:one' }, 'COPY --from=n /etc /opt /x/'),
  copies('a named layout, two platforms', { n: 'oci-layout://LAYOUT:one' }, 'COPY --from=n /etc /x/', {
    platforms: ['linux/amd64', 'linux/arm64'],
  }),
  copies('a named repository', { n: 'WEB/git/app.git' }, 'COPY --from=n . /1/\nCOPY --from=n app/*.txt link /2/'),
  copies('a branch and a folder of a named repository', { n: 'WEB/git/app.git#feature/x:app' }, 'COPY --from=n . /x/'),
  copies(
    'a named repository by a query',
    { n: 'WEB/git/app.git?tag=v1&checksum=COMMIT(first)' },
    'COPY --from=n . /x/',
  ),
  copies(
    'a named repository with modes and owners',
    { n: 'WEB/git/app.git' },
    'COPY --from=n --chown=5:6 --chmod=700 app /x/',
  ),
  copies('a named URL', { n: 'WEB/hello.txt' }, 'COPY --from=n context /1/\nCOPY --from=n . /2/\nCOPY --from=n /c* /3'),
  copies('a named URL of an archive stays packed', { n: 'WEB/context.gzip' }, 'COPY --from=n context /x/'),
  refuses('a named URL has one file', { n: 'WEB/hello.txt' }, 'COPY --from=n hello.txt /x/'),
  refuses('a named URL that is not there', { n: 'WEB/none' }, 'COPY --from=n context /x/'),
  refuses('a named repository that is not there', { n: 'WEB/git/none.git' }, 'COPY --from=n . /x/'),
  refuses('a named image that is not there', { n: 'docker-image://REG/none:1' }, 'COPY --from=n . /x/'),
  copies(
    'named contexts that nobody uses are not looked at',
    { n: 'WEB/none', m: 'docker-image://REG/none:1' },
    'COPY a /',
  ),
  copies(
    'a named context in a long form',
    { things: 'WEB/git/library.git' },
    'COPY --from=docker.io/library/things . /x/',
  ),
  copies(
    'a named context for one platform',
    { 'n::linux/arm64': 'WEB/git/library.git', n: folder },
    'COPY --from=n . /x/',
    {
      platforms: ['linux/amd64', 'linux/arm64'],
    },
  ),
  copies('links of a named repository stay inside', { n: 'WEB/git/app.git' }, 'COPY --from=n link /x/'),
  refuses('a link of a named repository that leads out', { n: 'WEB/git/app.git' }, 'COPY --from=n outside /x/'),
  copies(
    '--parents and --exclude of a named repository',
    { n: 'WEB/git/app.git' },
    'COPY --parents --from=n app/./main.txt named/* /1/\nCOPY --exclude=m*.txt --from=n app /2/',
  ),
  copies('--link from a named URL', { n: 'WEB/hello.txt' }, 'COPY --link --from=n context /x'),
  {
    name: 'a repository in place of a stage',
    dockerfile: 'FROM scratch AS files\nCOPY missing /\nFROM scratch\nCOPY --from=files library.txt /\n',
    contexts: { files: 'WEB/git/library.git' },
  },
  {
    name: 'a layout in place of a stage and of an image',
    dockerfile: 'FROM scratch AS one\nCOPY missing /\nFROM one\nCOPY a /\nCOPY --from=two /etc/hosts /two\n',
    contexts: { one: 'oci-layout://LAYOUT:one', two: 'oci-layout://LAYOUT' },
  },
  {
    name: 'a layout in place of a base',
    dockerfile: 'FROM alpine:3.20 AS base\nUSER app\nWORKDIR here\nFROM base\nCOPY a /\n',
    contexts: { 'alpine:3.20': 'oci-layout://LAYOUT' },
    platforms: ['linux/amd64', 'linux/arm64'],
  },
  {
    name: 'scratch in place of a base',
    dockerfile: 'FROM nowhere\nCOPY a /\n',
    contexts: { nowhere: 'docker-image://scratch' },
  },
  upon('a folder as a base', { n: folder }, 'FROM n\nCOPY a /\nENV A=b\n'),
  upon('a folder as the whole image', { n: folder }, 'FROM n\n'),
  upon('a repository as a base', { n: 'WEB/git/app.git' }, 'FROM n\nCOPY a /app/\nWORKDIR x\n'),
  upon('a URL as a base', { n: 'WEB/hello.txt' }, 'FROM n\nCOPY a /\n'),
  upon(
    'a folder in place of a stage that is a base',
    { n: folder },
    'FROM scratch AS n\nENV LOST=1\nFROM n\nCOPY a /\nWORKDIR rel\n',
  ),
  upon('a folder in place of the last stage', { n: folder }, 'FROM scratch AS n\nENV LOST=1\n'),
  upon('a folder as a base for two platforms', { n: folder }, 'FROM n\nCOPY a /\n', {
    platforms: ['linux/amd64', 'linux/arm64'],
  }),
  {
    name: 'stages upon a folder',
    dockerfile: 'FROM n AS one\nCOPY a /\nFROM scratch\nCOPY --from=one / /x/\n',
    contexts: { n: folder },
  },
]
