import type { Case } from '../case.ts'
import type { Context } from '../context.ts'

const some = (c: Context): void => {
  c.files('a', 'b').file('d/f').file('d/g', 'g\n', 0o755)
}

export const stages: readonly Case[] = [
  {
    name: 'copy from a stage by name, index and another case',
    dockerfile: `FROM scratch AS One
COPY --chown=3:4 --chmod=751 d /dir/
FROM scratch AS two
COPY --from=one /dir /1/
COPY --from=0 /dir/f /2/
COPY --from=ONE --chown=9 /dir/g /3
FROM scratch
COPY --from=Two / /
COPY --from=1 /3 /4
`,
    files: some,
  },
  {
    name: 'copy from an image: owners, links, hard links, xattrs',
    dockerfile: `FROM scratch
COPY --from=REG/base:1 /usr /usr/
COPY --from=REG/base:1 /bin/tool /lib/lib.so /opt/link-to-file /x/
COPY --from=REG/base:1 /home/app /home/
COPY --from=REG/base:1 /data /opt /y/
COPY --from=REG/base:1 /tmp /root /z/
`,
  },
  { name: 'all of an image', dockerfile: 'FROM scratch\nCOPY --from=REG/base:1 / /\n' },
  { name: 'all of a zstd image', dockerfile: 'FROM scratch\nCOPY --from=REG/zstd:1 / /all/\n' },
  {
    name: 'hard links whose headers say something else, across layers',
    dockerfile: 'FROM REG/links:1\nCOPY a /d/\nCOPY --from=REG/links:1 / /all/\n',
    differs: { section: 'Extended attributes', only: /SCHILY\.xattr\.(?:user\.|security\.capability)/ },
  },
  {
    name: 'wildcards in a stage',
    dockerfile:
      'FROM REG/base:1\nCOPY --from=REG/base:1 /usr/bin/t* /etc/[gh]* /w/\nCOPY --from=REG/zstd:1 /*/bin /v/\n',
  },
  {
    name: 'hard links of a stage through a wildcard',
    dockerfile: 'FROM scratch\nCOPY --from=REG/base:1 /usr/bin/tool* /w/\nCOPY --from=REG/base:1 /usr/bin /v/\n',
  },
  {
    name: 'hard links of which one was replaced in the stage',
    dockerfile: `FROM REG/base:1 AS s
COPY a /usr/bin/tool
COPY --from=REG/base:1 /usr/bin /both
FROM scratch
COPY --from=s /usr/bin /both /
`,
    files: some,
  },
  {
    name: 'a stage upon a stage',
    dockerfile: 'FROM REG/base:1 AS a\nENV A=1\nCOPY a /a\nFROM a AS b\nENV B=$A\nCOPY b /b\nFROM b\nCMD ["x"]\n',
    files: some,
  },
  {
    name: 'target by name',
    dockerfile: 'FROM scratch AS one\nCOPY a /\nFROM scratch AS two\nCOPY b /\n',
    files: some,
    target: 'one',
  },
  {
    name: 'target in another case',
    dockerfile: 'FROM scratch AS One\nCOPY a /\nFROM scratch AS two\nCOPY b /\n',
    files: some,
    target: 'ONE',
  },
  { name: 'target that does not exist', dockerfile: 'FROM scratch AS one\nCOPY a /\n', target: 'oen', refused: true },
  {
    name: 'target by index',
    dockerfile: 'FROM scratch AS one\nCOPY a /\nFROM scratch\nCOPY b /\n',
    files: some,
    target: '0',
    refused: true,
    differs: { section: 'A target by its number', only: /^BuildKit refuses, archimage does not/ },
  },
  {
    name: 'stages that nobody needs may be broken',
    dockerfile: 'FROM REG/nothing:1 AS broken\nCOPY missing /\nFROM scratch\nCOPY a /\n',
  },
  { name: 'a base that does not exist', dockerfile: 'FROM scratch\nCOPY a /\nFROM REG/nothing:1\n', refused: true },
  {
    name: 'a stage of a name with capitals as base',
    dockerfile: 'FROM scratch AS Base\nCOPY a /\nFROM Base\n',
    refused: true,
  },
  {
    name: 'copy from a later stage',
    dockerfile: 'FROM scratch AS early\nCOPY --from=late /a /\nFROM scratch AS late\nCOPY a /\n',
    target: 'early',
    refused: true,
  },
  {
    name: 'copy from a stage that does not exist by number',
    dockerfile: 'FROM scratch\nCOPY a /\nCOPY --from=7 /a /\n',
    refused: true,
  },
  {
    name: 'copy from an image that does not exist',
    dockerfile: 'FROM scratch\nCOPY a /\nCOPY --from=REG/nothing:1 /a /\n',
    refused: true,
  },
  {
    name: 'copy of what a stage has not',
    dockerfile: 'FROM scratch AS s\nCOPY a /\nFROM scratch\nCOPY --from=s /b /\n',
    refused: true,
  },
  {
    name: 'variables in --from',
    dockerfile: 'ARG S=s\nFROM scratch AS s\nCOPY a /\nFROM scratch\nCOPY --from=$S /a /\n',
    refused: true,
  },
  {
    name: 'two stages of one name: the later one counts',
    dockerfile: 'FROM scratch AS s\nCOPY a /\nFROM scratch AS s\nCOPY b /\nFROM scratch\nCOPY --from=s / /\n',
    files: some,
  },
  {
    name: 'FROM with arguments',
    dockerfile: 'ARG V=1\nARG N=base\nFROM REG/${N}:$V AS x\nCOPY a /\nFROM ${NOPE:-x}\n',
  },
  { name: 'FROM with an empty argument', dockerfile: 'ARG N\nFROM $N\nCOPY a /\n', refused: true },
  {
    name: 'ONBUILD of a stage',
    dockerfile: `FROM REG/base:1 AS parent
ONBUILD COPY a /trigger/
ONBUILD ENV X=1 Y=$X
ONBUILD WORKDIR sub
ONBUILD ADD ["b", "/trigger/"]
COPY b /own
FROM parent AS child
COPY b /child
FROM child
COPY a /grandchild
`,
    files: some,
  },
  {
    name: 'ONBUILD is written into the config',
    dockerfile: 'FROM REG/base:1\nONBUILD COPY a /x/\nONBUILD run  echo   hi\nonbuild label a=b\n',
  },
  { name: 'ONBUILD of a base, with a copy from an image', dockerfile: 'FROM REG/onbuild:1\nCOPY a /own\n' },
  {
    name: 'ONBUILD of a base with an argument',
    dockerfile: 'FROM REG/onbuild:1 AS one\nARG FROM_ARG=x\nFROM one\nENV AFTER=$TRIGGERED\n',
  },
  {
    name: 'ONBUILD with a copy from a stage',
    dockerfile: `FROM scratch AS files
COPY a /f
FROM scratch AS parent
ONBUILD COPY --from=files /f /from-trigger
FROM parent
COPY a /own
`,
  },
  { name: 'ONBUILD of ONBUILD', dockerfile: 'FROM scratch\nONBUILD ONBUILD COPY a /\n', refused: true },
  {
    name: 'ONBUILD that fails',
    dockerfile: 'FROM scratch AS p\nONBUILD COPY missing /\nCOPY a /\n\nFROM p\nCOPY a /b\n',
    refused: true,
  },
  { name: 'a base without PATH, layers and history', dockerfile: 'FROM REG/empty:1\nCOPY a /\n' },
  { name: 'a base without layers and nothing more', dockerfile: 'FROM REG/empty:1\nENV B=2\n' },
  { name: 'a base of plain tars', dockerfile: 'FROM REG/plain:1\nCOPY a /tmp/\n' },
  { name: 'a base of zstd layers', dockerfile: 'FROM REG/zstd:1\nCOPY a /root/\nCOPY --from=REG/plain:1 /srv /srv2\n' },
  {
    name: 'a base with less history than layers',
    dockerfile: 'FROM REG/short-history:1\nCOPY a /\n',
    differs: { section: 'History of old bases', only: /history\[\d\]\.(?:comment|created_by)/ },
  },
  {
    name: 'a base without history',
    dockerfile: 'FROM REG/no-history:1\nCOPY a /\n',
    differs: { section: 'History of old bases', only: /history\[\d\]\.(?:comment|created_by)/ },
  },
  {
    name: 'a base with a rich config',
    dockerfile: 'FROM REG/rich:1\nCOPY a rel\nWORKDIR deeper\nENV B=$FROM_BASE\n',
    differs: {
      section: 'Unknown fields of a base config',
      only: /config\.(?:docker_version|container|config\.(?:Image|Hostname|Domainname|AttachStdin)):/,
    },
  },
  {
    name: 'named context that is a folder',
    dockerfile: 'FROM scratch\nCOPY --from=extra . /x/\nCOPY --from=extra n/* /y/\n',
    contexts: {
      extra: c => {
        c.file('n/one').file('two').file('.dockerignore', 'two\n')
      },
    },
  },
  {
    name: 'a named context in place of a stage',
    dockerfile: 'FROM scratch AS files\nCOPY missing /\nFROM scratch\nCOPY --from=files one /\n',
    contexts: {
      files: c => {
        c.file('one')
      },
    },
  },
  {
    name: 'a base as docker writes them, with fields that say nothing',
    dockerfile: 'FROM REG/docker:1\nCOPY a /\n',
    differs: {
      section: 'Unknown fields of a base config',
      only: /config\.(?:docker_version|container|config\.(?:Image|Hostname|Domainname|AttachStdin)):/,
    },
  },
  {
    name: 'a base with a relative WORKDIR',
    dockerfile: 'FROM REG/workdir:1 AS x\nCOPY a .\nWORKDIR y\nFROM x\nCOPY a b\n',
  },
  {
    name: 'COPY --from an image takes the platform of the target, whatever the stage has',
    dockerfile:
      'FROM --platform=$BUILDPLATFORM REG/arch:1 AS build\nCOPY --from=REG/arch:1 /arch /copied\nFROM scratch\nCOPY --from=build /arch /copied /\n',
    platforms: ['linux/amd64', 'linux/arm64'],
  },
  {
    name: 'variables of a stage win over its arguments in the stage above',
    dockerfile:
      'FROM REG/base:1 AS x\nENV A=env\nARG A=arg\nARG B=arg\nLABEL in=$A$B\nFROM x\nLABEL above=$A$B\nARG B\nLABEL late=$A$B\n',
  },
  {
    name: 'of two stages with one name the later one is meant, even too late',
    dockerfile: 'FROM scratch AS s\nCOPY a /\nFROM scratch AS t\nCOPY --from=s /a /\nFROM scratch AS s\nCOPY b /\n',
    target: 't',
    refused: true,
  },
  {
    name: 'a stage named like an image counts before it',
    dockerfile: 'FROM scratch AS alpine\nCOPY a /\nFROM alpine\nCOPY --from=alpine /a /b\n',
  },
  {
    name: 'ONBUILD triggers of a stage do not reach its grandchildren, those of a base do not reach stages above',
    dockerfile:
      'FROM REG/onbuild:1 AS one\nFROM one AS two\nONBUILD LABEL x=y\nFROM two AS three\nFROM three\nCOPY a /end\n',
  },
  {
    name: 'a named context in place of an image, in a long form',
    dockerfile: 'FROM scratch\nCOPY --from=docker.io/library/things:latest one /\n',
    contexts: {
      things: c => {
        c.file('one')
      },
    },
  },
  { name: 'copy from the stage itself', dockerfile: 'FROM scratch\nCOPY a /\nCOPY --from=0 /a /b\n', refused: true },
  {
    name: 'named contexts that are images, in place of an image and of a stage',
    dockerfile:
      'FROM nowhere AS one\nCOPY a /\nFROM scratch AS two\nCOPY missing /\nFROM one\nCOPY --from=two /etc/hosts /two\n',
    contexts: { nowhere: 'docker-image://REG/base:1', two: 'docker-image://REG/zstd:1' },
  },
  {
    name: 'a stage whose named context is an image is the base of another',
    dockerfile: 'FROM scratch AS two\nENV LOST=1\nCOPY missing /\nFROM two\nCOPY a /\n',
    contexts: { two: 'docker-image://REG/rich:1' },
    differs: { section: 'Unknown fields of a base config', only: /config\.docker_version:/ },
  },
  {
    name: 'WORKDIR belongs to the USER of a base',
    dockerfile: 'FROM REG/rich:1\nWORKDIR /made/here\nUSER 0\nWORKDIR there\nCOPY --chown=app:staff a .\n',
    differs: { section: 'Unknown fields of a base config', only: /config\.docker_version:/ },
  },
  {
    name: 'a cycle of stages',
    dockerfile: 'FROM scratch AS a\nCOPY --from=b /x /\nFROM scratch AS b\nCOPY --from=a /x /\n',
    refused: true,
  },
  { name: 'copy from scratch', dockerfile: 'FROM scratch\nCOPY --from=scratch / /x\n' },
  {
    name: 'copy from scratch what is not there',
    dockerfile: 'FROM scratch\nCOPY --from=scratch /a /x\n',
    refused: true,
  },
]
