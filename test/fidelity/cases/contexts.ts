import type { Case } from '../case.ts'

/** A build whose Dockerfile is in its context. */
const inside = (name: string, context: string, more: Partial<Case> = {}): Case => ({
  name,
  dockerfile: '',
  context: `WEB/${context}`,
  ...more,
})
const refuses = (name: string, context: string, more: Partial<Case> = {}): Case =>
  inside(name, context, { refused: true, ...more })
/** One whose Dockerfile is a file of this machine. */
const outside = (name: string, context: string, lines: string, more: Partial<Case> = {}): Case =>
  inside(name, context, { dockerfile: `FROM REG/base:1\n${lines}\n`, ...more })

/** Contexts that are no folders: archives, URLs, repositories. */
export const contexts: readonly Case[] = [
  ...(['none', 'gzip', 'bzip2', 'xz', 'zstd'] as const).map(compressor =>
    inside(`the context is an archive behind a URL (${compressor})`, `context.${compressor}`),
  ),
  inside('the context is an archive on standard input', 'context.none', { through: 'stdin' }),
  inside('the context is a compressed archive on standard input', 'context.xz', { through: 'stdin' }),
  inside('the context is an archive', 'context.gzip', { through: 'file' }),
  inside('another Dockerfile in an archive', 'context.none', { file: 'other.Dockerfile' }),
  inside('a Dockerfile in a folder of an archive, COPY --parents, ADD of an archive in it', 'context.gzip', {
    file: 'sub/Dockerfile.sub',
  }),
  inside('the same on standard input', 'context.gzip', { file: 'sub/Dockerfile.sub', through: 'stdin' }),
  refuses('a Dockerfile that the archive does not have', 'context.none', { file: 'none' }),
  refuses('an archive without a Dockerfile', 'files.tar'),
  refuses('a compressed file that is no archive', 'text.gz'),
  refuses('a context that is not there', 'none.tar'),
  inside('a URL that is a Dockerfile', 'Dockerfile'),
  outside('the Dockerfile here, the context an archive', 'context.gzip', 'COPY . /x/\nADD inner.tar script /y/'),
  outside(
    'owners, modes and links of an archive under COPY',
    'context.none',
    'COPY --chown=app top /1\nCOPY linked/one /2/\nCOPY linked /3\nCOPY --chmod=600 top/suid /4\nCOPY top/hard top/one /5/\nCOPY top/ab* /6/',
  ),
  outside('hard links and attributes of an archive', 'context.none', 'COPY top /1\nCOPY --link top/cap /2/'),
  outside('ignore files in an archive do not count', 'context.gzip', 'COPY top/one .dockerignore /x/'),
  outside('wildcards in an archive', 'context.gzip', 'COPY t*/* /1/\nCOPY */*/er/? /2/\nCOPY none* /3/', {}),
  outside('--exclude in an archive', 'context.gzip', 'COPY --exclude=top/* --exclude=*.tar . /1/'),
  refuses('a pattern that is not well formed, in an archive', 'context.gzip', {
    dockerfile: 'FROM scratch\nCOPY x[ Dockerfile /1/\n',
  }),
  refuses('a pattern that is not well formed, in a repository', 'git/app.git', {
    dockerfile: 'FROM scratch\nCOPY x[ Dockerfile /1/\n',
  }),
  refuses('a file that the archive does not have', 'context.gzip', {
    dockerfile: 'FROM scratch\nCOPY nothing /\n',
  }),
  inside('the context is a repository', 'git/app.git'),
  inside('the context is a branch', 'git/app.git#feature/x'),
  inside('the context is a tag', 'git/app.git#v1'),
  inside('the context is a commit', 'git/app.git#COMMIT(first)'),
  inside('the context is a folder of a repository', 'git/app.git#main:app'),
  inside('the context is a repository by a query', 'git/app.git?branch=main&subdir=app&checksum=COMMIT(main)'),
  inside('another Dockerfile in a repository', 'git/app.git', { file: 'named/other.Dockerfile' }),
  inside('a repository with submodules left out', 'git/with-modules.git?submodules=0', {
    dockerfile: 'FROM scratch\nCOPY . /x/\n',
  }),
  inside('a repository with .git', 'git/app.git?keep-git-dir=1', {
    differs: { section: 'The .git of a repository', only: /all\/\.git/ },
  }),
  inside('a repository with .git, by an argument', 'git/app.git', {
    args: { BUILDKIT_CONTEXT_KEEP_GIT_DIR: '1' },
    differs: { section: 'The .git of a repository', only: /all\/\.git/ },
  }),
  outside('ignore files in a repository do not count', 'git/app.git', 'COPY app .dockerignore /x/'),
  outside('links of a repository stay inside', 'git/app.git', 'COPY link /1/\nCOPY . /2/'),
  refuses('a link of a repository that leads out', 'git/app.git', { dockerfile: 'FROM scratch\nCOPY outside /x/\n' }),
  refuses('a ref that the repository does not have', 'git/app.git#none'),
  refuses('a folder that the repository does not have', 'git/app.git#:none'),
  refuses('a repository without a Dockerfile', 'git/library.git'),
  refuses('a query that git references do not have', 'git/app.git?reff=x'),
  refuses('another commit than the one that is wanted', 'git/app.git?checksum=COMMIT(first)#main'),
]
