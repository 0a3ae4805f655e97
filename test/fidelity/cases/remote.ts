import type { Case } from '../case.ts'

const of = (name: string, lines: string, more: Partial<Case> = {}): Case => ({
  name,
  dockerfile: `FROM REG/base:1\n${lines}\n`,
  ...more,
})
const refuses = (name: string, lines: string): Case => of(name, lines, { refused: true })

/** ADD of URLs and of git repositories. */
export const remote: readonly Case[] = [
  of(
    'ADD of a URL into a folder, and under a name',
    'ADD WEB/hello.txt /x/\nADD WEB/hello.txt /y\nADD WEB/hello.txt .',
  ),
  of('ADD of a URL into a folder that is there', 'ADD WEB/hello.txt /opt'),
  of('ADD of a URL without a name', 'ADD WEB/ /x/\nADD WEB/folder/ /y/'),
  of('ADD of a URL with a query and escapes', 'ADD "WEB/query?a=b&c=d" /x/\nADD WEB/name%20with%2Fslash /x/'),
  of('ADD of a URL does not look at Content-Disposition', 'ADD WEB/disposition /x/'),
  of('ADD of a URL that redirects keeps its name', 'ADD WEB/moved /x/'),
  of('ADD of an empty file and one with an ETag', 'ADD WEB/empty WEB/etag.txt /x/'),
  of(
    'ADD --chown, --chmod of a URL',
    'ADD --chown=app:staff --chmod=640 WEB/hello.txt /x/y/\nADD --chmod=u+x WEB/hello.txt /z',
  ),
  of('ADD --link of a URL', 'ADD --link WEB/hello.txt /link/ed'),
  of('ADD --exclude does not touch a URL', 'ADD --exclude=hello.txt WEB/hello.txt /x/'),
  of('ADD of URLs and files mixed', 'ADD a WEB/hello.txt b WEB/etag.txt <<EOF /x/\ntext\nEOF', {
    files: c => c.files('a', 'b'),
  }),
  of('ADD of a URL with a variable', 'ARG name=hello\nENV suffix=.txt\nADD WEB/${name}${suffix} /x/'),
  of(
    'ADD of an archive by URL stays packed, unless --unpack',
    'ADD WEB/context.gzip /x/\nADD --unpack WEB/context.gzip /y/\nADD --unpack=true WEB/hello.txt /z/',
  ),
  of('ADD --unpack with --chown of a URL', 'ADD --unpack --chown=5:6 WEB/files.tar /y'),
  of(
    'ADD --checksum of a URL',
    'ADD --checksum=sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03 WEB/hello.txt /x/',
  ),
  of(
    'ADD --checksum by a variable',
    'ARG sum=sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03\nADD --checksum=$sum WEB/hello.txt /x/',
  ),
  refuses(
    'ADD --checksum that is wrong',
    'ADD --checksum=sha256:0000b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03 WEB/hello.txt /x/',
  ),
  refuses('ADD --checksum that is none', 'ADD --checksum=abc WEB/hello.txt /x/'),
  refuses(
    'ADD --checksum of two URLs',
    'ADD --checksum=sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03 WEB/hello.txt WEB/hello.txt /x/',
  ),
  refuses(
    'ADD --checksum of a file of the context',
    'ADD --checksum=sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03 a /x/',
  ),
  refuses('ADD of a URL that is not there', 'ADD WEB/none /x/'),
  refuses('COPY of a URL', 'COPY WEB/hello.txt /x/'),
  refuses('COPY of a git repository', 'COPY WEB/git/app.git /x/'),
  of('ADD of several URLs under one name', 'ADD WEB/hello.txt WEB/etag.txt /x'),
  of('ADD of a git repository', 'ADD WEB/git/app.git /src'),
  of('ADD of a git repository into what is there', 'ADD WEB/git/app.git /opt\nADD WEB/git/app.git /opt/dir/'),
  of(
    'ADD of a branch, a tag, a commit',
    'ADD WEB/git/app.git#feature/x /1\nADD WEB/git/app.git#v1 /2\nADD WEB/git/app.git#light /3\nADD WEB/git/app.git#COMMIT(first) /4',
  ),
  of('ADD of a folder of a repository', 'ADD WEB/git/app.git#main:app /app/\nADD WEB/git/app.git#:app/ /other'),
  of(
    'ADD of a repository by a query',
    'ADD WEB/git/app.git?tag=v1&subdir=app /1/\nADD WEB/git/app.git?branch=feature/x /2/\nADD WEB/git/app.git?ref=main&checksum=COMMIT(main) /3/',
  ),
  of(
    'ADD --checksum of a repository',
    'ADD --checksum=COMMIT(main) WEB/git/app.git#main /1\nADD --checksum=COMMIT(first) WEB/git/app.git#v1 /2\nADD --checksum=COMMIT(tag) WEB/git/app.git#v1 /3',
  ),
  of(
    'ADD --chown, --chmod, --exclude of a repository',
    'ADD --chown=app:staff --chmod=750 WEB/git/app.git /1\nADD --chmod=u=rwX,go=rX WEB/git/app.git /2\nADD --exclude=app --exclude=*.txt WEB/git/app.git /3/4',
  ),
  of('ADD --chmod of a repository to a new folder', 'ADD --chmod=640 WEB/git/app.git#:app /n/ew'),
  of('ADD --link of a repository', 'ADD --link WEB/git/app.git#:app /link/ed/'),
  of('ADD of a repository, a URL and a file', 'ADD WEB/git/library.git WEB/hello.txt a /mixed/'),
  of('ADD --unpack does not touch a repository', 'ADD --unpack WEB/git/library.git /x/'),
  of('ADD of a repository with submodules', 'ADD WEB/git/with-modules.git?submodules=0 /x'),
  of('ADD of a repository with its submodules', 'ADD WEB/git/with-modules.git /x', {
    differs: { section: 'Submodules', only: /x\/lib\/\.git/ },
  }),
  of('ADD --keep-git-dir of a repository', 'ADD --keep-git-dir=true WEB/git/app.git#v1 /x', {
    differs: { section: 'The .git of a repository', only: /x\/\.git/ },
  }),
  of('ADD --keep-git-dir of a folder of a repository', 'ADD --keep-git-dir=true WEB/git/app.git#:app /x'),
  refuses('ADD of a repository with a query that it does not have', 'ADD WEB/git/app.git?reff=main /x'),
  refuses('ADD of a repository with two refs', 'ADD WEB/git/app.git?tag=v1#main /x'),
  refuses('ADD of a ref that is not there', 'ADD WEB/git/app.git#none /x'),
  refuses('ADD of a ref like an option', 'ADD WEB/git/app.git#--upload-pack=x /x'),
  refuses('ADD of a folder that the repository does not have', 'ADD WEB/git/app.git#main:none /x'),
  refuses('ADD of a folder of a repository through a link', 'ADD WEB/git/app.git#main:link /x'),
  refuses('ADD --checksum of another commit', 'ADD --checksum=COMMIT(first) WEB/git/app.git#main /x'),
  refuses('ADD --keep-git-dir against the query', 'ADD --keep-git-dir=true WEB/git/app.git?keep-git-dir=false /x'),
]
