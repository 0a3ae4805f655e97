import type { Case } from '../case.ts'
import type { Context } from '../context.ts'

const tree = (c: Context): void => {
  c.file('a')
    .file('exe', 'exe\n', 0o755)
    .dir('d', 0o700)
    .file('d/f', 'f\n', 0o600)
    .file('d/run', 'run\n', 0o744)
    .dir('d/s', 0o2755)
    .file('d/s/g')
    .symlink('d/l', 'f')
}

const nested = (c: Context): void => {
  c.files(
    'x/a.txt',
    'x/b.md',
    'x/y/c.txt',
    'x/y/d.md',
    'x/y/z/e.txt',
    'x/skip/f.txt',
    'x/skip/keep.txt',
    'w/a.txt',
    'top.txt',
  )
  c.dir('x/y', 0o711).dir('x/hollow')
}

const of = (name: string, lines: string, files = tree, more: Partial<Case> = {}): Case => ({
  name,
  dockerfile: `FROM REG/base:1\n${lines}\n`,
  files,
  ...more,
})
const refuses = (name: string, lines: string, files = tree): Case => of(name, lines, files, { refused: true })

export const flags: readonly Case[] = [
  of('--chown numeric', 'COPY --chown=12:34 d /1\nCOPY --chown=12 a /2/x\nCOPY --chown=0:7 a /3/'),
  of(
    '--chown by name',
    'COPY --chown=app d /1\nCOPY --chown=web a /2\nCOPY --chown=root a /3\nCOPY --chown=app:staff a /4',
  ),
  of(
    '--chown mixed',
    'COPY --chown=12:staff a /1\nCOPY --chown=app:34 a /2\nCOPY --chown=5000 a /3\nCOPY --chown=:staff a /4',
  ),
  of('--chown with an empty half', 'COPY --chown=app: a /1\nCOPY --chown=: a /2'),
  of('--chown with variables', 'ARG U=app\nENV G=staff\nCOPY --chown=$U:${G} a /1\nCOPY --chown=$NONE a /2'),
  of(
    '--chown of unknown names',
    'COPY --chown=nobody-here a /1/x\nCOPY --chown=none:5 a /2\nCOPY --chown=app:none a /3\nCOPY --chown=99999999999 a /4',
  ),
  of('--chown over existing folders', 'COPY --chown=12:34 d /opt/dir\nCOPY --chown=12:34 t /opt', c => {
    tree(c)
    c.file('t/sub/deep/n')
  }),
  of('--chown by the image after /etc/passwd changed', 'COPY passwd /etc/passwd\nCOPY --chown=new a /1', c =>
    c.file('a').file('passwd', 'new:x:4242:4343::/:\n'),
  ),
  {
    name: '--chown by name onto nothing',
    dockerfile: 'FROM scratch\nCOPY --chown=app a /\n',
    refused: true,
  },
  {
    name: '--chown by name without /etc/passwd',
    dockerfile: 'FROM scratch\nCOPY a /\nCOPY --chown=app:staff a /b\n',
  },
  { name: '--chown root without /etc/passwd', dockerfile: 'FROM scratch\nCOPY --chown=root:root a /x/\n' },
  of('--chmod octal', 'COPY --chmod=640 d /1\nCOPY --chmod=4755 a /2/s\nCOPY --chmod=1777 d /3/\nCOPY --chmod=0 a /4'),
  of('--chmod on made parents', 'COPY --chmod=700 a /1/2/3\nCOPY --chmod=2770 a /4/5/\nCOPY --chmod=u=rwx,go= a /6/7'),
  of(
    '--chmod symbolic',
    'COPY --chmod=u=rwX,go=rX d /1\nCOPY --chmod=a+x,g-w d /2\nCOPY --chmod=+t,o= d /3\nCOPY --chmod=g=u,o=g d /4',
  ),
  of('--chmod and --chown', 'COPY --chmod=751 --chown=app:staff d a /1/'),
  of('--chmod over existing folders', 'COPY --chmod=700 t /opt', c => c.file('t/sub/deep/n').file('t/dir/m')),
  of('--chmod with variables', 'ARG M=711\nCOPY --chmod=$M a /1\nCOPY --chmod=$NONE exe /2\nCOPY --chmod="" exe /3'),
  of(
    '--chmod in strange forms',
    ['0755', '00000644', '=', '+x', 'a-r', 'a-x+w', 'u=s', '+t', 'u+s,g+s', 'o=u,u=', '+X', 'ug=rwx,o+r-w', 'g-s']
      .map((mode, i) => `COPY --chmod=${mode} d suid /${i}/`)
      .join('\n'),
    c => {
      tree(c)
      c.file('suid', 'suid', 0o6751).dir('d/sticky', 0o3775)
    },
  ),
  ...['u=rwx,', 'u', 'z+x', '0o755', '-1', '1e3', 'u=q', '755 ', '8'].map(mode =>
    refuses(`--chmod="${mode}"`, `COPY a /0\nCOPY --chmod="${mode}" a /1`),
  ),
  refuses('--chmod that is no mode', 'COPY --chmod=rubbish a /1'),
  refuses('--chmod too large', 'COPY --chmod=17777 a /1'),
  refuses('--chmod with a nine', 'COPY a /1\nCOPY --chmod=798 a /1'),
  of('--link into existing folders', 'COPY --link a /tmp/\nCOPY --link a /root/z\nCOPY --link d /data/', tree),
  of('--link with --chown', 'COPY --link --chown=12:34 d /opt/dir/\nCOPY --link --chown=12 a /x/y/z'),
  refuses('--link with --chown by name', 'COPY --link --chown=app a /1'),
  of('--link over a file and through a link', 'COPY --link a /etc/hosts\nCOPY --link a /bin/x\nCOPY --link d /opt/sub'),
  of('--link below a link to nowhere', 'COPY --link a /dangling/x'),
  of(
    '--link with --chmod is an ordinary copy',
    'COPY --link --chmod=700 a /tmp/new/\nCOPY --link --chmod=600 a /bin/y',
  ),
  of(
    '--link after others and before others',
    'COPY a /n/1\nCOPY --link --chown=5:5 a /n/2\nCOPY --chown=6:6 a /n/3\nADD --link a /n/4',
  ),
  of('--link of a folder twice', 'COPY --link d /n\nCOPY --link --chown=7:7 d /n\nCOPY --link=false d /m'),
  { name: '--link onto nothing', dockerfile: 'FROM scratch\nCOPY --link d /x/y\nCOPY --link a /x/\n', files: tree },
  refuses('--link of nothing', 'COPY --link nothing /x'),
  of('--parents', 'COPY --parents x/y/c.txt w/a.txt /p/', nested),
  of('--parents with a pivot', 'COPY --parents x/./y/c.txt /1/\nCOPY --parents ./x/./y/./z/e.txt /2/', nested),
  of(
    '--parents with wildcards',
    'COPY --parents x/*/c.txt /1/\nCOPY --parents **/*.md /2/\nCOPY --parents x/./**/e.txt /3/',
    nested,
  ),
  of('--parents of folders', 'COPY --parents x/y /1/\nCOPY --parents x/./y/ /2\nCOPY --parents x/hollow w /3/', nested),
  of('--parents that match nothing', 'COPY --parents no*/x /1/\nCOPY --parents x/./no* x/a.txt /2/', nested),
  of('--parents below a pivot, matching nothing', 'COPY --parents x/./no* /2/', nested, {
    refused: true,
    differs: {
      section: 'A pivot below which nothing matches',
      only: /^BuildKit refuses, archimage does not:.*lstat \/x/s,
    },
  }),
  of('--parents with --chown and --chmod', 'COPY --parents --chown=8:9 --chmod=750 x/y/z/e.txt /1/', nested),
  of('--parents from a stage', 'COPY --parents --from=REG/base:1 /opt/sub/deep/two /usr/bin/tool* /1/', nested),
  of(
    '--parents through a wildcard above the pivot',
    'COPY --parents */./a.txt /1/\nCOPY --parents --from=REG/base:1 /[eu]*/./hosts /2/',
    nested,
  ),
  refuses(
    '--parents through a wildcard that meets a dangling link',
    'COPY --parents --from=REG/base:1 /*/./hosts /2/',
    nested,
  ),
  of('--parents into existing folders', 'COPY --parents opt/sub/f /', c => c.dir('opt/sub', 0o777).file('opt/sub/f')),
  refuses('--parents of a missing path', 'COPY --parents x/nothing /1/', nested),
  refuses('--parents of a missing path below a pivot', 'COPY --parents x/./nothing /1/', nested),
  of(
    '--exclude files directly',
    'COPY --exclude=*.md x /1/\nCOPY --exclude=y x /2/\nCOPY --exclude=y/z/e.txt x /3/',
    nested,
  ),
  of(
    '--exclude with double stars',
    'COPY --exclude=**/*.txt x /1/\nCOPY --exclude=**/z x /2/\nCOPY --exclude=*.txt x /3/',
    nested,
  ),
  of(
    '--exclude of sources named',
    'COPY --exclude=top.txt top.txt w/a.txt /1/\nCOPY --exclude=*.txt *.txt /2/',
    nested,
  ),
  of(
    '--exclude with wildcard sources',
    'COPY --exclude=*.md x/* /1/\nCOPY --exclude=x/skip * /2/\nCOPY --exclude=skip x* /3/',
    nested,
  ),
  of(
    '--exclude negated',
    'COPY --exclude=skip --exclude=!skip/keep.txt x /1/\nCOPY --exclude=** --exclude=!y/c.txt x /2/',
    nested,
  ),
  of('--exclude of everything', 'COPY --exclude=* x /1/\nCOPY --exclude=** x /2/', nested),
  of(
    '--exclude and --parents',
    'COPY --parents --exclude=**/d.md x/y /1/\nCOPY --parents --exclude=x/skip x /2/',
    nested,
  ),
  of('--exclude from a stage', 'COPY --from=REG/base:1 --exclude=deep /opt/sub /1/\nADD --exclude=*.md x /2/', nested),
  of('--exclude leaves the variable alone', 'ARG P=y\nCOPY --exclude=$P x /1/', nested),
  of('--exclude one name of a hard link', 'COPY --exclude=a . /1/', c =>
    c.file('a').hardlink('b', 'a').hardlink('c', 'a'),
  ),
  refuses('an unknown flag', 'COPY --nope a /1'),
  refuses('a flag twice', 'COPY --chown=1 --chown=2 a /1'),
  refuses('a flag of the other instruction', 'ADD --from=x a /1'),
  refuses(
    '--checksum of a file',
    'COPY a /1\nADD --checksum=sha256:24454f830cdb571e2c4ad15481119c43b3cafd48dd869a9b2945d1036d1dc68d a /2',
  ),
]
