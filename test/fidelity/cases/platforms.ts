import type { Case } from '../case.ts'
import type { Context } from '../context.ts'

/** Paths of a windows image; never its config. */
const WINDOWS = /^windows\/amd64: \//

const MANY = ['linux/amd64', 'linux/arm64', 'linux/arm/v7']

const windows = (name: string, lines: string, more: Partial<Case> = {}): Case => ({
  name: `windows: ${name}`,
  dockerfile: `${lines}\n`,
  platforms: ['windows/amd64'],
  files: (c: Context) => c.files('a.txt', 'd/f.txt', 'd/e/g.txt').file('tool.exe', 'MZ', 0o755),
  ...more,
})

export const platforms: readonly Case[] = [
  {
    name: 'three platforms',
    dockerfile: 'FROM REG/base:1\nARG TARGETARCH\nCOPY $TARGETARCH /bin/app\nENV ARCH=$TARGETARCH\n',
    files: c => c.files('amd64', 'arm64', 'arm'),
    platforms: MANY,
  },
  {
    name: 'a stage of the build platform',
    dockerfile:
      'FROM --platform=$BUILDPLATFORM REG/base:1 AS build\nARG TARGETARCH\nCOPY a /out/$TARGETARCH\nFROM REG/base:1\nCOPY --from=build /out /out\n',
    platforms: MANY,
  },
  {
    name: 'an empty stage of the build platform',
    dockerfile: 'FROM --platform=$BUILDPLATFORM scratch AS build\nCOPY a /\nFROM scratch\nCOPY --from=build /a /\n',
    platforms: MANY,
  },
  {
    name: 'a stage of a constant platform',
    dockerfile: 'FROM --platform=linux/arm64 REG/base:1 AS x\nFROM REG/base:1\nCOPY --from=x /etc/hosts /from-arm\n',
    platforms: MANY,
  },
  {
    name: 'a base that names a variant which is the usual one',
    dockerfile: 'FROM REG/variant:1\nCOPY a /\nARG TARGETVARIANT\nLABEL v=$TARGETVARIANT\n',
    platforms: ['linux/arm64'],
  },
  {
    name: 'bases chosen by automatic arguments',
    dockerfile:
      'FROM REG/base:1 AS base-amd64\nENV A=1\nFROM REG/arch:1 AS base-arm64\nENV B=1\nFROM base-${TARGETARCH}\nCOPY a /\n',
    platforms: ['linux/amd64', 'linux/arm64'],
  },
  {
    name: 'a stage upon a stage of the build platform stays there',
    dockerfile:
      'FROM --platform=$BUILDPLATFORM REG/arch:1 AS a\nFROM a AS b\nCOPY --from=a /arch /b\nFROM REG/arch:1\nCOPY --from=b / /b/\n',
    platforms: MANY,
  },
  {
    name: 'an unusual name of a platform',
    dockerfile: 'FROM --platform=linux/aarch64 REG/base:1 AS x\nFROM scratch\nCOPY --from=x /etc/hosts /\n',
  },
  { name: 'variant that is the usual one', dockerfile: 'FROM REG/base:1\nCOPY a /\n', platforms: ['linux/arm64/v8'] },
  {
    name: 'a higher level of amd64',
    dockerfile: 'FROM REG/base:1\nCOPY a /\nARG TARGETPLATFORM\nLABEL p=$TARGETPLATFORM\n',
    platforms: ['linux/amd64/v2'],
  },
  {
    name: 'a platform that a base has not',
    dockerfile: 'FROM REG/base:1\nCOPY a /\n',
    platforms: ['linux/s390x'],
    refused: true,
  },
  {
    name: 'an unknown platform in FROM',
    dockerfile: 'FROM scratch AS y\nCOPY a /\nFROM --platform=linux/nope/what/ever REG/base:1\nCOPY a /\n',
    refused: true,
  },
  { name: 'an empty platform in FROM', dockerfile: 'FROM --platform=$NOPE REG/base:1\nCOPY a /\n', refused: true },
  {
    name: 'a final stage of another platform',
    dockerfile: 'FROM --platform=linux/arm64 REG/base:1\nCOPY a /\n',
    differs: { section: 'Final stage of another platform', only: /^archimage refuses, .*PLATFORM_MISMATCH/s },
  },
  {
    name: 'a base of one other platform',
    dockerfile: 'FROM REG/arm-only:1\nCOPY a /\n',
    differs: { section: 'Bases of another platform', only: /^archimage refuses, .*PLATFORM_MISSING/s },
  },
  windows('files and folders onto nothing', 'FROM scratch\nCOPY a.txt /\nCOPY d /d/\nCOPY tool.exe c:/Tools/', {
    differs: { section: 'Windows layers', only: WINDOWS },
  }),
  windows('symbolic links', 'FROM REG/windows:1\nCOPY . /x/', {
    files: c => c.file('a').symlink('l', 'a').file('hard').hardlink('hard2', 'hard'),
    differs: { section: 'Windows layers', only: WINDOWS },
  }),
  windows('--link', 'FROM REG/windows:1\nCOPY --link a.txt /windows/', {
    differs: { section: 'Windows layers', only: WINDOWS },
  }),
  windows(
    'onto a base',
    'FROM REG/windows:1\nCOPY tool.exe c:/tools/tool.exe\nCOPY a.txt /windows/system32/\nWORKDIR C:\\\\app\nCOPY d .\nCMD ["tool"]\nENV A=1',
  ),
  windows(
    'paths with an escape directive',
    '# escape=`\nFROM REG/windows:1\nWORKDIR C:\\work\\dir\nWORKDIR sub\nCOPY a.txt x\\y\\\nCOPY ["tool.exe", "C:\\\\Program Files\\\\"]\nENTRYPOINT C:\\tool.exe /x\nUSER ContainerUser',
  ),
  windows(
    'shell form and defaults',
    'FROM REG/windows:1\nCMD echo hi\nENTRYPOINT ping\nSHELL ["powershell", "-command"]\nCMD x',
  ),
  windows(
    'copy from a stage and from a base',
    'FROM scratch AS s\nCOPY d /d/\nFROM REG/windows:1\nCOPY --from=s /d C:/d\nCOPY --from=REG/windows:1 /Windows/System32/cmd.exe /x/',
  ),
  windows('environment without case', 'FROM REG/windows:1\nENV Path=c:\\\\x\nENV path=$PATH;y A=$path'),
  windows('another drive', 'FROM REG/windows:1\nCOPY a.txt D:/x', { refused: true }),
  windows('a heredoc and modes', 'FROM REG/windows:1\nCOPY --chmod=700 <<E /x.txt\nhi\nE'),
  windows(
    'WORKDIR of a base in another case',
    'FROM REG/windows:1\nWORKDIR /WINDOWS\nCOPY a.txt system32/\nCOPY a.txt b.txt',
  ),
  windows(
    'a version that was asked for',
    'FROM REG/windows:1\nCOPY a.txt /x/\nARG TARGETPLATFORM TARGETOSVERSION\nLABEL l="$TARGETPLATFORM $TARGETOSVERSION"',
    {
      platforms: ['windows(10.0.20348)/amd64'],
      differs: {
        section: 'The version of a Windows base',
        only: /config\.os\.version: BuildKit "10\.0\.20348", archimage "10\.0\.20348\.1"$/,
      },
    },
  ),
  windows(
    'together with linux',
    'ARG TARGETOS\nFROM scratch\nARG TARGETOS\nCOPY a.txt /app/\nWORKDIR /app\nENV OS=$TARGETOS',
    { platforms: ['linux/amd64', 'windows/amd64'], differs: { section: 'Windows layers', only: WINDOWS } },
  ),
]
