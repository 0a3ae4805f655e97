import type { Case } from '../case.ts'
import type { Context } from '../context.ts'

/** A bit of everything that a context can hold. */
const mixed = (c: Context): void => {
  c.file('a')
    .file('b.txt', 'b\n', 0o600)
    .file('exe', '#!/bin/sh\n', 0o755)
    .file('suid', 'suid\n', 0o4755)
    .file('empty', '')
    .dir('d', 0o750)
    .file('d/one', 'one\n', 0o640)
    .file('d/two.txt')
    .dir('d/sub', 0o1777)
    .file('d/sub/three')
    .dir('d/void')
    .symlink('to-a', 'a')
    .symlink('to-d', 'd')
    .symlink('to-nothing', 'nothing')
    .symlink('absolute', '/d/one')
    .symlink('d/up', '../a')
    .file('hard/x', 'hard\n')
    .hardlink('hard/y', 'hard/x')
    .hardlink('hard/z', 'hard/x')
    .file('with space/ä ö.txt', 'ü\n')
    .file('日本語/ファイル', 'x')
}

const copies = (name: string, lines: string, files = mixed, more: Partial<Case> = {}): Case => ({
  name,
  dockerfile: `FROM REG/base:1\n${lines}\n`,
  files,
  ...more,
})
const refuses = (name: string, lines: string, files = mixed): Case => copies(name, lines, files, { refused: true })

const globbed = (c: Context): void => {
  c.files('a.txt', 'b.txt', 'c.md', 'ab.txt', 'x1/f', 'x2/f', 'x2/g', 'y/z/w.txt', '.hidden', '[odd].txt', 'st*r', 'q?')
  c.dir('dirs/one', 0o700).dir('dirs/two', 0o711).file('dirs/one/f').file('dirs/two/f2').file('dirs/plain')
}

export const copy: readonly Case[] = [
  { name: 'everything onto nothing', dockerfile: 'FROM scratch\nCOPY . /\n', files: mixed },
  copies('everything onto a base', 'COPY . /app/'),
  copies('a file to a new name', 'COPY a /app/renamed'),
  copies('a file into a folder by its slash', 'COPY a /app/'),
  copies('a file over a folder of the base', 'COPY a /opt/dir'),
  copies('a file over a file of the base', 'COPY b.txt /etc/hosts'),
  copies('several files into a folder', 'COPY a b.txt exe suid empty /app/'),
  copies('dots and double slashes', 'COPY ./d/../a .//d///one /app/./x/..//y/'),
  copies('source above the context', 'COPY ../../a /x'),
  copies('absolute source', 'COPY /d /app'),
  copies('destination dot with and without WORKDIR', 'COPY a .\nWORKDIR /w\nCOPY a .\nCOPY b.txt ./\nCOPY exe ""'),
  copies('destination that ends in slash dot', 'COPY a /app/.\nCOPY d /dot/.'),
  copies('contents of a folder', 'COPY d /app'),
  copies('contents of a folder into an existing one', 'COPY d /opt/dir/'),
  copies('an existing folder keeps its mode and owner at the top', 'COPY d /data'),
  copies('existing folders below take mode and owner of the source', 'COPY tree /opt', c =>
    c.dir('tree/dir', 0o770).file('tree/dir/f').dir('tree/sub/deep').file('tree/sub/deep/one', 'new\n'),
  ),
  copies('several folders at once', 'COPY d hard /app/'),
  copies('empty folder', 'COPY d/void /void\nCOPY d/void /void2/'),
  copies('missing parents are made', 'COPY a /x/y/z/file\nCOPY a /p/q/'),
  copies('parents with sticky and private modes stay', 'COPY a /tmp/new/file\nCOPY a /root/file\nCOPY a /tmp/'),
  copies('a link as source is followed', 'COPY to-a /x\nCOPY to-d /y\nCOPY absolute /z'),
  copies('links below a folder stay links', 'COPY . /all'),
  copies('a link in the middle of a source', 'COPY to-d/sub/three /x'),
  refuses('a dangling link as source', 'COPY to-nothing /x'),
  copies('destination through a link to a folder', 'COPY a /bin/new\nCOPY d /bin\nCOPY a /lib/'),
  copies('destination through a relative link upwards', 'COPY a /var/run/pid'),
  copies('destination that is a dangling link', 'COPY a /dangling'),
  copies('a folder to a dangling link', 'COPY d /dangling'),
  copies('below a dangling link', 'COPY a /dangling/x'),
  copies('destination that is a link to a file', 'COPY a /opt/link-to-file'),
  refuses('destination through a loop of links', 'COPY a /loop/x'),
  refuses('destination that is a loop of links', 'COPY a /loop'),
  refuses('below a file', 'COPY a /etc/hosts/x'),
  refuses('a folder onto a file', 'COPY d /etc/hosts'),
  refuses('a folder with slash onto a file', 'COPY d /etc/hosts/'),
  refuses('a file where a folder has a folder of its name', 'COPY tree /', c => c.file('tree/etc')),
  refuses('a folder where a folder has a file of its name', 'COPY tree /etc', c => c.file('tree/hosts/f')),
  refuses('a folder over a link below', 'COPY tree /', c => c.file('tree/bin/f')),
  copies('a link over a link and a link over a file', 'COPY tree /', c =>
    c.symlink('tree/bin', 'elsewhere').symlink('tree/etc/hosts', '/x'),
  ),
  refuses('a link over a folder', 'COPY tree /', c => c.symlink('tree/opt', 'elsewhere')),
  copies('hard links stay links within one instruction', 'COPY hard /h'),
  copies('hard links in two sources are two files', 'COPY hard/x hard/y /h/'),
  copies('hard links through a wildcard', 'COPY hard/* /h/'),
  copies('hard links across folders', 'COPY . /all/', c =>
    c.file('p/one').hardlink('q/two', 'p/one').hardlink('three', 'p/one').file('other'),
  ),
  copies('a hard link of which one name is ignored', 'COPY . /h/', c =>
    c.file('x').hardlink('y', 'x').hardlink('z', 'x').file('.dockerignore', 'x\n'),
  ),
  copies('a hard link over one of the base', 'COPY tree /usr/bin', c =>
    c.file('tree/tool', 'new tool\n').hardlink('tree/new', 'tree/tool'),
  ),
  copies('one name of a hard link of the base is replaced', 'COPY a /usr/bin/tool'),
  copies(
    'xattrs',
    'COPY f /f\nCOPY g d /x/',
    c =>
      c
        .file('f')
        .xattr('f', 'user.note', 'hello')
        .file('g', 'g', 0o755)
        .xattr('g', 'security.capability', Buffer.from('0100000200040000000000000000000000000000', 'hex'))
        .dir('d/e')
        .xattr('d/e', 'user.dir', 'yes'),
    { differs: { section: 'Extended attributes', only: /SCHILY\.xattr\.(?:user\.|security\.capability)/ } },
  ),
  copies('names that are hard to say', 'COPY . /n/', c =>
    c.files(
      'ä',
      'a b',
      "quote'",
      'quote"',
      'back\\slash',
      '$dollar',
      'new\nline',
      '#hash',
      '.dot',
      '-dash',
      'ｗｉｄｅ',
    ),
  ),
  copies('long names and deep folders', 'COPY . /long/', c =>
    c
      .file('n'.repeat(255))
      .file(`${'deep/'.repeat(60)}end`)
      .symlink('l', 'x/'.repeat(120)),
  ),
  copies(
    'quoted and JSON forms',
    'COPY ["with space/ä ö.txt", "/x/"]\nCOPY ["with space", "/y z/"]\nCOPY 日本語 /日本/',
  ),
  copies(
    'variables in sources and destination',
    'ARG N=a\nENV D=/out\nCOPY $N ${N}.txt* $D/${N:-x}/\nCOPY \\$x /y',
    c => c.files('a', 'a.txt', '$x'),
  ),
  refuses('a missing source', 'COPY a /x\nCOPY nothing /y'),
  refuses('a missing source below a file', 'COPY a/b /y'),
  copies('several sources onto a file', 'COPY a b.txt /x'),
  refuses('no destination', 'COPY a'),
  copies('wildcards', 'COPY *.txt /1/\nCOPY ?.txt /2/\nCOPY [a-b].txt /3/\nCOPY [^a].txt /4/\nCOPY a* /5/', globbed),
  copies(
    'wildcards that meet folders',
    'COPY x* /1/\nCOPY x?/f /2/\nCOPY */z /3/\nCOPY y/*/w.* /4/\nCOPY * /5/',
    globbed,
  ),
  copies('wildcard with one match is a name', 'COPY c* /1/exact\nCOPY .hid* /2', globbed),
  copies('modes of folders that a wildcard meets', 'COPY dirs/* /1/\nCOPY dir? /2/', globbed),
  copies('escaped wildcards', 'COPY \\[odd].txt /1/\nCOPY st\\*r /2/\nCOPY [[]odd].txt /4/', globbed),
  refuses('an escaped wildcard is no name', 'COPY ["\\\\\\\\[odd].txt", "/1/"]', globbed),
  copies('an escaped wildcard before another', 'COPY ["\\\\\\\\[odd]*", "st\\\\\\\\*?", "/1/"]', globbed),
  copies('wildcards in a class', 'COPY q[?] /1/\nCOPY st[*]r /2/', globbed, {
    differs: { section: 'Wildcards in a class', only: /BuildKit nothing/ },
  }),
  copies('a wildcard that matches nothing', 'COPY nothing* /1/\nCOPY *.nope a.txt /2/', globbed),
  copies('double star is one star', 'COPY ** /1/\nCOPY y/**/w.txt /2/', globbed),
  refuses('a malformed pattern', 'COPY [a /1/', globbed),
  refuses('a malformed pattern in an image', 'FROM scratch\nCOPY --from=REG/base:1 /etc/[a /1/', globbed),
  refuses('a malformed pattern in a stage', 'COPY a.txt /\nFROM scratch\nCOPY --from=0 /[a /1/', globbed),
  copies('a wildcard behind a link', 'COPY to-d/* /x/'),
  copies('a wildcard meets links', 'COPY to-* /x/', c =>
    c.file('a').file('d/f').symlink('to-a', 'a').symlink('to-d', 'd'),
  ),
  copies('the same file twice', 'COPY a a /x/\nCOPY a /x/\nCOPY b.txt /x/a'),
  copies('a later source over an earlier one', 'COPY one/ two/ /x/', c =>
    c.file('one/f', '1').file('two/f', '22').dir('one/s', 0o700).dir('two/s', 0o711),
  ),
  copies('nothing new is a layer all the same', 'COPY void /opt\nWORKDIR /opt\nWORKDIR /', c => c.dir('void')),
  copies('fifos and devices', 'COPY . /x/\nCOPY pipe /y\nCOPY --chmod=600 --chown=3 null /z/', c =>
    c.file('a').fifo('pipe', 0o640).device('null', 1, 3).device('odd', 300, 70000),
  ),
  copies('a socket', 'COPY . /x/', c => c.file('a').socket('sock'), {
    differs: {
      section: 'Sockets in a context',
      only: /\/x\/sock: BuildKit file 0755 0:0 0 bytes \w+, archimage nothing$/,
    },
  }),
  copies('a socket by name', 'COPY sock /x/', c => c.file('a').socket('sock'), {
    differs: { section: 'Sockets in a context', only: /^archimage refuses, .*is a socket/s },
  }),
  refuses('wildcards and a dangling link', 'COPY to-* /x/'),
  copies(
    'made folders below one with setgid',
    'COPY a /data/new/x/file\nCOPY --chown=5:6 a /data/own/x/\nCOPY d /data/d\nWORKDIR /data/w/x\nCOPY <<E /data/here/doc\nE\nCOPY --link a /data/linked/x',
    c => c.file('a').file('d/e/f'),
  ),
  refuses('a file with slash onto a file', 'COPY a /etc/hosts/'),
  refuses('a file with slash onto a link to a file', 'COPY a /opt/link-to-file/'),
  copies('a file onto a link to a folder, with and without slash', 'COPY a /lib\nCOPY b.txt /lib/\nCOPY exe /lib/.'),
  copies('a folder with and without slash and dot', 'COPY d/ /1\nCOPY d/. /2\nCOPY ./d /3/.\nCOPY d/sub/.. /4'),
  copies('modes that keep everybody out', 'COPY . /x/', c => c.file('f', 'f', 0).dir('d/e', 0).dir('w', 0o7777)),
  copies(
    'names that are not UTF-8',
    'COPY . /x/\nCOPY a* /y/\nCOPY a?? /z/',
    c => void c.bytes(Buffer.from([0x61, 0xe9, 0xff])),
  ),
  copies('a wildcard in the destination is a name', 'COPY a /x/*\nCOPY a /x/[b]/'),
  copies('two sources of one name', 'COPY d/one e/one /x/', c => c.file('d/one', '1').file('e/one', '22')),
  copies('a source that ends in a link and a slash', 'COPY to-d/ /x\nCOPY to-d/. /y'),
  copies('an instruction that changes nothing', 'COPY hosts /etc/hosts\nCOPY hosts /etc/hosts', c =>
    c.file('hosts', 'base\n'),
  ),
  copies(
    'a file back over a folder that a file had replaced',
    'ADD x.tar /\nCOPY d /opt/sub',
    c => c.tar('x.tar', [{ path: 'opt/sub', type: 'file', mode: 0o600, data: Buffer.from('x') }]).file('d/f'),
    { refused: true },
  ),
  copies('names of whiteouts', 'COPY . /x/', c => c.files('.wh.a', 'a')),
]
