import type { Case } from '../case.ts'
import type { Context } from '../context.ts'

const tree = (c: Context): void => {
  c.files(
    'a',
    'b.md',
    'c.txt',
    'd/a',
    'd/b.md',
    'd/e/c.txt',
    'd/e/f.md',
    'x/y/z',
    'x/keep/this',
    'x/keep/not',
    'node_modules/m/i',
    'd/node_modules/n',
    '.git/config',
    'foo bar',
    'README.md',
    'docs/README.md',
  )
  c.dir('d/e', 0o711).dir('x/keep', 0o700)
}

const of = (name: string, ignore: string, lines = 'COPY . /c/', more: Partial<Case> = {}): Case => ({
  name: `.dockerignore: ${name}`,
  dockerfile: `FROM REG/base:1\n${lines}\n`,
  files: c => {
    tree(c)
    c.file('.dockerignore', ignore)
  },
  ...more,
})

export const ignore: readonly Case[] = [
  of('names and folders', 'a\nx\n'),
  of('wildcards', '*.md\n*/*.md\n'),
  of('double stars', '**/*.md\n**/node_modules\n'),
  of('exceptions', '*\n!d\n!x/keep/this\n'),
  of('exceptions in an ignored folder keep its mode', 'x\n!x/keep/this\n'),
  of('order counts', '*.md\n!README.md\nb.md\n!b.md\nREADME.md\n'),
  of('an exception below a wildcard', '**\n!**/*.md\n'),
  of('comments, blanks and slashes', '# comment\n  a  \n\n/c.txt\n./b.md\nd/../x/\n #foo\nfoo bar\n'),
  of('backslash and class', '[ab]*\n\\*.txt\nc?txt\n'),
  of('itself and the Dockerfile', '.dockerignore\nDockerfile\n'),
  of('byte order mark and CRLF', '\ufeffa\r\n*.md\r\n'),
  of('a source that is ignored', 'a\n', 'COPY a /x', { refused: true }),
  of('a wildcard source that is ignored', '*.md\n', 'COPY *.md a /x/'),
  of('a source below an ignored folder with an exception', 'd\n!d/e\n', 'COPY d/e /x\nCOPY d /y\nCOPY d/* /z/'),
  of('a folder of which nothing is left', 'd/*\nx/**\n'),
  of('everything', '**\n'),
  of('everything by name', '*\n', 'COPY . /c/\nCOPY [b]* /d/'),
  of('dot', '.\n'),
  of('up and out', '../a\n'),
  of('a malformed pattern', 'a\n[\n', 'COPY . /c/', { refused: true }),
  of('a lone exclamation mark', '!\n', 'COPY . /c/', { refused: true }),
  of(
    'with ADD, --parents and --exclude',
    '**/*.md\n',
    'ADD . /1/\nCOPY --parents d/e/* x/keep /2/\nCOPY --exclude=x . /3/',
  ),
  of('beside the Dockerfile it wins', 'a\n', 'COPY . /c/', { ignoreBeside: '*.md\n!README.md\n' }),
  of('a link to a folder that is partly ignored', 'd/*\n!d/a\n', 'COPY d /c/\nCOPY d/* /e/'),
  of('folders by their slash', 'd/\nx/y/\n/docs/\n', 'COPY . /c/'),
  of('names with case', 'A\nreadme.md\nD/\n'),
  of('many stars', '***\n!a\n'),
  of('a question mark and a class', '?.md\nd/[a-c].??\n[!a].txt\n[^c].txt\n'),
  of('a bar', 'd|x*\n', 'COPY . /c/', {
    differs: { section: 'A bar in an ignore pattern', only: /^linux\/amd64: \/c\/\S+: BuildKit nothing/ },
  }),
  of('a malformed exception that nobody needs', '!a*[\n', 'COPY . /c/', {
    differs: { section: 'Malformed ignore patterns', only: /^archimage refuses, BuildKit does not/ },
  }),
  of('not for stages', 'a\n', 'COPY --from=REG/base:1 /etc /e/\nCOPY . /c/'),
  {
    name: '.dockerignore: link to what is ignored',
    dockerfile: 'FROM REG/base:1\nCOPY . /c/\n',
    files: c => c.file('a').symlink('l', 'a').file('d/f').symlink('m', 'd').file('.dockerignore', 'a\nd\n'),
  },
  {
    name: '.dockerignore: source through a link to what is ignored',
    dockerfile: 'FROM REG/base:1\nCOPY l /c\n',
    files: c => c.file('a').symlink('l', 'a').file('.dockerignore', 'a\n'),
    refused: true,
  },
]
