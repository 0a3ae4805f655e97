import { dir, file, hard, link, middle } from '../bases.ts'
import type { Case } from '../case.ts'
import type { Compressor } from '../compress.ts'
import { compressors } from '../compress.ts'
import type { Context } from '../context.ts'
import { type Entry, writeTar } from '../tar.ts'

const APP = { uid: 1000, gid: 1001 }

const archive: readonly Entry[] = [
  dir('top', 0o750, APP),
  file('top/one', 'one\n', 0o640, APP),
  file('top/suid', 'suid\n', 0o4711),
  link('top/link', 'one', APP),
  link('top/abs', '/etc/hosts'),
  hard('top/hard', 'top/one'),
  file('no/entry/for/parents', 'x\n', 0o600, { uid: 7, gid: 8 }),
  dir('top/sticky', 0o1777),
  file('ä', 'umlaut\n'),
]

const of = (name: string, lines: string, files: (c: Context) => void, more: Partial<Case> = {}): Case => ({
  name,
  dockerfile: `FROM REG/base:1\n${lines}\n`,
  files,
  ...more,
})
const refuses = (name: string, lines: string, files: (c: Context) => void): Case =>
  of(name, lines, files, { refused: true })

/** BuildKit keeps such names inside; archimage takes nothing from archives that try. */
const leaves = (name: string, lines: string, files: (c: Context) => void): Case =>
  of(name, lines, files, {
    differs: { section: 'Archives that reach out', only: /^archimage refuses, .*leaves the root/s },
  })

const tar =
  (entries: readonly Entry[], compressor: Compressor = 'none') =>
  (c: Context): void =>
    void c.tar('x.tar', entries, compressor)

export const add: readonly Case[] = [
  of('ADD of files and folders is COPY', 'ADD a d /x/\nADD --chown=1:2 --chmod=700 d /y\nADD *.txt to /z/', c =>
    c.files('a', 'd/f', 'b.txt').symlink('to', 'a'),
  ),
  ...(['none', 'gzip', 'bzip2', 'xz', 'zstd'] as const).map(compressor =>
    of(`ADD unpacks a tar (${compressor})`, 'ADD x.tar /u/', tar(archive, compressor)),
  ),
  of('ADD goes by content, not by name', 'ADD picture.png /u/\nADD not.tar.gz /v/', c =>
    c.tar('picture.png', archive, 'gzip').file('not.tar.gz', 'just text'),
  ),
  of('ADD of a gzip that is no tar', 'ADD f.gz g.xz h.zst i.bz2 /u/', c =>
    c
      .file('f.gz', compressors.gzip(Buffer.from('no tar, though long enough to be read as one\n'.repeat(40))))
      .file('g.xz', compressors.xz(Buffer.from('short')))
      .file('h.zst', compressors.zstd(Buffer.from('short')))
      .file('i.bz2', compressors.bzip2(Buffer.from('short'))),
  ),
  of('ADD of an empty tar, an empty file and a cut archive header', 'ADD x.tar empty cut /u/', c =>
    c.tar('x.tar', []).file('empty', '').file('cut', writeTar(archive).subarray(0, 300)),
  ),
  of('ADD of an empty compressed tar', 'ADD x.tar /u/', tar([], 'gzip')),
  refuses('ADD of an archive that was cut off', 'ADD cut.tar.gz /u/', c =>
    c.file('cut.tar.gz', compressors.gzip(writeTar([...archive, file('big', 'x'.repeat(5000))]).subarray(0, 6000))),
  ),
  of(
    'ADD --unpack=false',
    'ADD --unpack=false x.tar /u/\nADD --unpack=true x.tar /v/\nADD --unpack x.tar /w',
    tar(archive),
  ),
  of('ADD of an archive to a name without slash', 'ADD x.tar /new/folder', tar(archive)),
  of(
    'ADD of an archive to the root',
    'ADD x.tar /',
    tar([dir('opt', 0o700), file('opt/n'), file('etc/hosts', 'new\n'), dir('tmp'), file('tmp/t')]),
  ),
  of(
    'ADD of an archive with the entry of its root',
    'ADD x.tar /opt/dir\nADD x.tar /fresh',
    tar([{ path: '.', type: 'dir', mode: 0o700, uid: 3, gid: 4 }, file('f')]),
  ),
  refuses('ADD of an archive onto a file', 'ADD x.tar /etc/hosts', tar(archive)),
  of(
    'ADD of an archive through links',
    'ADD x.tar /bin\nADD x.tar /var/run/sub',
    tar([file('one', '1', 0o755), dir('d')]),
  ),
  of('ADD of an archive to a dangling link', 'ADD x.tar /dangling', tar([file('one')])),
  of('ADD of an archive whose folders meet links', 'ADD x.tar /', tar([dir('bin', 0o700), file('bin/new')])),
  of('ADD of an archive whose files lie below links', 'ADD x.tar /', tar([file('bin/new'), file('lib/new')])),
  of(
    'ADD of an archive with folders over files and files over folders',
    'ADD x.tar /',
    tar([dir('etc/hosts', 0o700), file('etc/hosts/f'), file('opt/sub', 'now a file\n')]),
  ),
  of(
    'ADD of an archive with links over what is there',
    'ADD x.tar /',
    tar([link('etc/hosts', 'group'), link('dangling', '/x'), link('opt/sub', '/y')]),
  ),
  of(
    'ADD of an archive with a link over a full folder and a folder over a link',
    'ADD x.tar /',
    tar([link('srv', 'opt'), dir('var/run', 0o711), file('var/run/f')]),
  ),
  of(
    'ADD of an archive where entries come twice',
    'ADD x.tar /u',
    tar([
      file('f', '1'),
      file('f', '22', 0o600),
      dir('d', 0o700),
      dir('d', 0o711),
      file('d/x'),
      link('l', 'a'),
      link('l', 'b'),
    ]),
  ),
  of(
    'ADD of an archive with hard links across folders',
    'ADD x.tar /u',
    tar([file('a/one'), hard('b/two', 'a/one'), file('a/one', 'replaced\n'), hard('c', 'b/two')]),
  ),
  refuses('ADD of an archive with a hard link to nothing', 'ADD x.tar /u', tar([hard('b', 'nothing')])),
  of('ADD of an archive with a hard link to a file of the image', 'ADD x.tar /opt/dir', tar([hard('b', 'keep')])),
  leaves('ADD of an archive that leaves its folder', 'ADD x.tar /u/v', tar([file('../../escaped')])),
  of('ADD of an archive with names of strange form', 'ADD x.tar /u', tar([file('./a//b/../c'), file('/abs')])),
  refuses(
    'ADD of an archive with a hard link out of its folder',
    'ADD x.tar /opt/dir',
    tar([hard('b', '../../etc/hosts')]),
  ),
  of(
    'ADD of an archive with a link out of its folder',
    'ADD x.tar /u',
    tar([link('up', '../../../etc'), link('abs', '/etc')]),
  ),
  of(
    'ADD of an archive that writes through its own link out',
    'ADD x.tar /u',
    tar([link('up', '../../..'), file('up/escaped')]),
  ),
  of(
    'ADD of an archive with whiteouts',
    'ADD x.tar /opt',
    tar([file('dir/.wh.keep', ''), file('sub/.wh..wh..opq', '')]),
  ),
  of(
    'ADD of an archive with devices and fifos',
    'ADD x.tar /dev',
    tar([
      { path: 'null', type: 'char', mode: 0o666, major: 1, minor: 3 },
      { path: 'sda', type: 'block', mode: 0o660, major: 8, minor: 0, gid: 6 },
      { path: 'pipe', type: 'fifo', mode: 0o600 },
    ]),
  ),
  of(
    'ADD of an archive with xattrs',
    'ADD x.tar /u',
    tar([
      file('f', 'f', 0o755, {
        pax: {
          'SCHILY.xattr.security.capability': Buffer.from('0100000200040000000000000000000000000000', 'hex'),
          'SCHILY.xattr.user.a': Buffer.from('b'),
        },
      }),
      dir('d', 0o755, { pax: { 'SCHILY.xattr.user.d': Buffer.from('e') } }),
    ]),
    { differs: { section: 'Extended attributes', only: /SCHILY\.xattr\.user\./ } },
  ),
  of('ADD of an archive with --chown', 'ADD --chown=app:staff x.tar /u/\nADD --chown=9 x.tar /opt/dir', tar(archive)),
  of('ADD of an archive with --chmod', 'ADD --chmod=700 x.tar /u/', tar(archive)),
  of('ADD of an archive with --link', 'ADD --link x.tar /opt/\nADD --link --chown=4:5 x.tar /l/m', tar(archive)),
  of('ADD of an archive with --exclude', 'ADD --exclude=top x.tar /u/\nADD --exclude=x.tar x.tar /v/', tar(archive)),
  of('ADD of archives by wildcard, in a folder and twice', 'ADD *.tar /u/\nADD d /v/\nADD d/x.tar d/x.tar /w/', c =>
    c
      .tar('one.tar', [file('one')])
      .tar('two.tar', [file('two')])
      .tar('d/x.tar', archive),
  ),
  of('ADD of an archive through a link', 'ADD to.tar /u/', c =>
    c.tar('x.tar', archive, 'gzip').symlink('to.tar', 'x.tar'),
  ),
  of(
    'ADD of long names',
    'ADD x.tar /u',
    tar([file('n'.repeat(200)), file(`${'d/'.repeat(120)}end`), link('l', 't'.repeat(180))]),
  ),
  of(
    'ADD of an archive with a sparse file',
    'ADD x.tar /u',
    c => {
      c.file('full', Buffer.concat([Buffer.alloc(1 << 20), Buffer.from('end')]))
      c.sh('cp --sparse=always full holes; tar --format=posix -S -cf x.tar holes; rm full holes')
    },
    { differs: { section: 'Sparse files in archives', only: /^archimage refuses, .*sparse/s } },
  ),
  ...['v7', 'ustar', 'gnu', 'posix', 'oldgnu'].map(format =>
    of(`ADD of an archive of GNU tar (${format})`, 'ADD x.tar /u/', c =>
      c
        .file('t/a', 'a\n', 0o4750)
        .hardlink('t/b', 't/a')
        .symlink('t/l', 'a')
        .dir('t/d', 0o1700)
        .file(`t/${format === 'v7' ? 'n' : `${'long/'.repeat(19)}${'n'.repeat(60)}`}`)
        .file('t/ü')
        .sh(`tar --format=${format} --owner=12 --group=34 -cf x.tar t; rm -r t`),
    ),
  ),
  of('ADD of an archive whose names are not UTF-8', 'ADD x.tar /u/', c =>
    c.bytes(Buffer.from([0x61, 0xe9, 0xff])).sh('tar -cf ../x.tar .; rm *; mv ../x.tar .'),
  ),
  of('ADD of an archive below a folder with setgid', 'ADD x.tar /data/u/v', tar([file('n/m/f'), dir('e', 0o700)])),
  of('ADD of large owners', 'ADD x.tar /u', tar([file('f', 'f', 0o644, { uid: 2_000_000, gid: 2_000_001 })])),
  of(
    'ADD of an archive whose folder modes would keep root out',
    'ADD x.tar /u',
    tar([dir('d', 0), file('d/f', 'f', 0)]),
  ),
  refuses('ADD of an archive below its own link to nothing', 'ADD x.tar /u', tar([link('l', '/nothing'), file('l/x')])),
  of(
    'ADD of an archive below its own link, seen from its own root',
    'ADD x.tar /u',
    tar([dir('etc'), link('l', '/etc'), file('l/x')]),
  ),
  of(
    'ADD of an archive that is also a layer of the base',
    'COPY --from=REG/base:1 /opt /before\nADD x.tar /m\nCOPY --from=REG/base:1 /opt /after',
    tar(middle),
  ),
  refuses('ADD of a missing archive', 'ADD nothing.tar /u', c => c.file('a')),
  refuses('ADD of an archive below a file', 'ADD x.tar /etc/hosts/u', tar(archive)),
  refuses('ADD of an archive with a file below a file', 'ADD x.tar /u', tar([file('f'), file('f/g')])),
  refuses('ADD of an archive that writes below a file of the image', 'ADD x.tar /etc', tar([file('hosts/g')])),
]

const heredoc = (name: string, lines: string, more: Partial<Case> = {}): Case => ({
  name,
  dockerfile: `FROM REG/base:1\n${lines}\n`,
  ...more,
})

export const heredocs: readonly Case[] = [
  heredoc('heredoc', 'COPY <<EOF /x\nhello\n\n  indented\nEOF'),
  heredoc(
    'heredoc with variables',
    'ARG A=arg\nENV E="an env"\nCOPY <<EOF /x\n$A ${E} ${NONE:-default} \\$A \\\\ "q" \'$A\'\nEOF',
  ),
  heredoc('quoted heredoc', 'ARG A=arg\nCOPY <<"EOF" /x\n$A \\$A ${\nEOF\nCOPY <<\'B\' /y\n$A\nB'),
  heredoc('heredoc without tabs', 'COPY <<-EOF /x\n\t\ttabs\n\t  mixed\n\tEOF\nCOPY <<-"E" /y\n\t$A\nE'),
  heredoc('several heredocs and a file', 'COPY <<ONE <<TWO a /x/\n1\nONE\n2\nTWO'),
  heredoc(
    'heredoc into a folder, over a file and through a link',
    'COPY <<f.txt /opt/dir/\nx\nf.txt\nCOPY <<E /etc/hosts\nnew\nE\nCOPY <<E /bin/new\nE\nCOPY <<E /opt/link-to-file\nE',
  ),
  heredoc(
    'heredoc with flags',
    'COPY --chmod=755 --chown=app:staff <<E /x/y/\n#!/bin/sh\nE\nCOPY --chmod=+x <<E /z\nE\nCOPY --link --chown=3 <<E /tmp/\nE',
  ),
  heredoc('ADD of a heredoc', 'ADD <<E /x\nadd\nE\nADD --chmod=600 <<E /new/\nE'),
  heredoc('an empty heredoc and one line of nothing', 'COPY <<E /x\nE\nCOPY <<E /y\n\nE'),
  heredoc('heredoc in ONBUILD', 'ONBUILD COPY <<E /x\nhi $A\nE'),
  heredoc('heredoc without end', 'COPY <<E /x\nhello', { refused: true }),
  heredoc('heredoc as destination', 'COPY a <<E\nx\nE', { refused: true }),
  heredoc('two heredocs onto one file', 'COPY <<A <<B /x\n1\nA\n2\nB'),
  heredoc('heredocs with an archive and --exclude', 'COPY --exclude=E <<E a /x/\nhi\nE'),
]
