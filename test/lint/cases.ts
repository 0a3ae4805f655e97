/** A Dockerfile that BuildKit and archimage both check; `REG/` stands for the registry with the bases. */
export interface LintCase {
  readonly name: string
  readonly dockerfile: string
  /** The rules that BuildKit finds broken, each once, in any order: what the case is for. */
  readonly finds: readonly string[]
  readonly ignore?: string
  readonly args?: Readonly<Record<string, string>>
  readonly target?: string
  /** BuildKit stops with an error here: archimage must say it too, at this line (0: at none). */
  readonly fails?: number
}

/** Bases in the registry; `platform` is that of a single image, without it they are indexes for amd64 and arm64. */
export const BASES: Readonly<
  Record<
    string,
    { readonly platform?: 'linux/arm64' | 'linux/amd64'; readonly config?: Readonly<Record<string, unknown>> }
  >
> = {
  'plain:1': {},
  'rich:1': { config: { Env: ['PATH=/base/bin:/bin', 'FROM_BASE=yes', 'EMPTY='], WorkingDir: '/srv', Cmd: ['base'] } },
  'shell:1': { config: { Shell: ['/bin/bash', '-c'] } },
  'onbuild:1': { config: { OnBuild: ['ENV triggered $NOWHERE', 'ARG PASSWORD', 'CMD trigger'] } },
  'arm:1': { platform: 'linux/arm64' },
  'amd:1': { platform: 'linux/amd64' },
}

const lines = (...text: readonly string[]): string => `${text.join('\n')}\n`

const names: readonly LintCase[] = [
  { name: 'stage name in capitals', dockerfile: 'FROM scratch AS Build\n', finds: ['StageNameCasing'] },
  { name: 'stage name in lower case', dockerfile: 'FROM scratch AS build-1.x_y\n', finds: [] },
  { name: 'from AS', dockerfile: 'from scratch AS one\n', finds: ['FromAsCasing'] },
  { name: 'FROM as', dockerfile: 'FROM scratch as one\n', finds: ['FromAsCasing'] },
  { name: 'FROM As', dockerfile: 'FROM scratch As one\n', finds: ['FromAsCasing'] },
  { name: 'from as', dockerfile: 'from scratch as one\n', finds: [] },
  {
    name: 'From As: the keyword itself is mixed',
    dockerfile: 'From scratch As one\n',
    finds: ['ConsistentInstructionCasing'],
  },
  {
    name: 'one lower among upper',
    dockerfile: 'FROM scratch\nCOPY a /\nenv A=1\nLABEL a=b\n',
    finds: ['ConsistentInstructionCasing'],
  },
  {
    name: 'upper among lower, in two stages',
    dockerfile: 'from scratch\ncopy a /\nENV A=1\nfrom scratch as two\nlabel a=b\nUser me\n',
    finds: ['ConsistentInstructionCasing'],
  },
  { name: 'as many lower as upper', dockerfile: 'FROM scratch\nlabel a=b\n', finds: ['ConsistentInstructionCasing'] },
  { name: 'ARG before FROM does not count', dockerfile: 'arg A=1\narg B=1\nFROM scratch\n', finds: [] },
  {
    name: 'ONBUILD is one keyword',
    dockerfile: 'FROM scratch\nONBUILD copy a /\n',
    finds: [],
  },
  {
    name: 'two stages of one name',
    dockerfile: 'FROM scratch AS a\nFROM scratch AS A\nFROM scratch\nFROM scratch AS a\n',
    finds: ['DuplicateStageName', 'StageNameCasing'],
  },
  {
    name: 'reserved names',
    dockerfile: 'FROM REG/plain:1 AS scratch\nFROM REG/plain:1 AS context\n',
    finds: ['ReservedStageName'],
  },
  {
    name: 'names that only hold reserved ones',
    dockerfile: 'FROM scratch AS scratch2\nFROM scratch AS my-context\n',
    finds: [],
  },
]

const form: readonly LintCase[] = [
  {
    name: 'empty line in a continuation',
    dockerfile: lines('FROM scratch', 'LABEL a=b \\', '', '  c=d', 'LABEL e=f'),
    finds: ['NoEmptyContinuation'],
  },
  {
    name: 'several of them, and blanks',
    dockerfile: lines('FROM scratch', 'LABEL a=b \\', '', '  \t', '  c=d \\', '', '  e=f'),
    finds: ['NoEmptyContinuation'],
  },
  {
    name: 'comments in a continuation',
    dockerfile: lines('FROM scratch', 'LABEL a=b \\', '  # why', '  c=d'),
    finds: [],
  },
  {
    name: 'an empty line at the end of the file',
    dockerfile: lines('FROM scratch', 'LABEL a=b \\', ''),
    finds: ['NoEmptyContinuation'],
  },
  {
    name: 'before a heredoc',
    dockerfile: lines('FROM scratch', 'COPY <<A \\', '', '  <<B /x/', 'a', 'A', 'b', 'B', 'LABEL e=f'),
    finds: ['NoEmptyContinuation'],
  },
  { name: 'empty lines of a heredoc', dockerfile: lines('FROM scratch', 'COPY <<A /x', 'a', '', 'A'), finds: [] },
  {
    name: 'with another escape character',
    dockerfile: lines('# escape=`', 'FROM scratch', 'LABEL a=b `', '', '  c=d'),
    finds: ['NoEmptyContinuation'],
  },
  { name: 'MAINTAINER', dockerfile: 'FROM scratch\nMAINTAINER me <me@example.com>\n', finds: ['MaintainerDeprecated'] },
  {
    name: 'maintainer in a stage that nobody needs',
    dockerfile: 'from scratch\nmaintainer me\nfrom scratch\n',
    finds: ['MaintainerDeprecated'],
  },
  {
    name: 'legacy ENV and LABEL',
    dockerfile: 'FROM scratch\nENV a b c\nLABEL d e=f\n',
    finds: ['LegacyKeyValueFormat'],
  },
  { name: 'legacy in lower case', dockerfile: 'from scratch\nenv a b\n', finds: ['LegacyKeyValueFormat'] },
  { name: 'pairs with blanks in quotes', dockerfile: 'FROM scratch\nENV a="b c" d=e\\ f\nLABEL g="h i"\n', finds: [] },
  {
    name: 'ONBUILD holds its findings back',
    dockerfile: 'FROM scratch\nONBUILD ENV a b\nONBUILD CMD echo\n',
    finds: [],
  },
  {
    name: 'ONBUILD of a stage, at the FROM upon it',
    dockerfile: 'FROM scratch AS a\nONBUILD ENV a b\nONBUILD WORKDIR rel\nFROM a\nLABEL a=b\n',
    finds: ['LegacyKeyValueFormat', 'WorkdirRelativePath'],
  },
  {
    name: 'descriptions of stages and arguments',
    dockerfile: lines(
      '# check=experimental=InvalidDefinitionDescription',
      '# the version',
      'ARG VERSION=1',
      '# VERSION is what it is',
      'FROM scratch AS base',
      '# base of everything',
      'FROM scratch AS other',
      '# two of them',
      'ARG a b',
      '# b is fine',
      'ARG a b',
      '# about the next',
      '#',
      'ARG c',
      '# far away',
      '',
      'ARG d',
      '  # indented',
      'ARG indented',
      '# last counts',
      '# d counts',
      'ARG d',
      '# no name, no rule',
      'FROM scratch',
    ),
    finds: ['InvalidDefinitionDescription'],
  },
  {
    name: 'descriptions are not looked at unless asked for',
    dockerfile: '# the first\nARG A\n# this\nFROM scratch AS that\n',
    finds: [],
  },
  {
    name: 'all experimental ones',
    dockerfile: '# check=experimental=all\n# x\n#y\nFROM scratch AS that\n',
    finds: ['InvalidDefinitionDescription'],
  },
  {
    name: 'skip does not touch experimental ones',
    dockerfile: '# check=skip=all;experimental=all\n# x y\nFROM scratch AS That\n',
    finds: ['InvalidDefinitionDescription'],
  },
]

const from: readonly LintCase[] = [
  { name: 'undeclared argument in FROM', dockerfile: 'FROM REG/plain:1${SUFFIX}\n', finds: ['UndefinedArgInFrom'] },
  {
    name: 'mistyped argument in FROM',
    dockerfile: 'ARG NAME=plain\nFROM REG/${NAMES:-plain}:1\n',
    finds: ['UndefinedArgInFrom'],
  },
  {
    name: 'mistyped automatic argument',
    dockerfile: 'FROM --platform=${BULDPLATFORM:-linux/amd64} scratch\n',
    finds: ['UndefinedArgInFrom'],
  },
  { name: 'declared without a value, in FROM', dockerfile: 'ARG SUFFIX\nFROM REG/plain:1${SUFFIX}\n', finds: [] },
  {
    name: 'an argument of a stage is none of the next FROM',
    dockerfile: 'FROM scratch\nARG SUFFIX=x\nFROM REG/plain:1${SUFFIX}\n',
    finds: ['UndefinedArgInFrom'],
  },
  {
    name: 'not declared but given',
    dockerfile: 'FROM REG/plain:1${SUFFIX}\n',
    args: { SUFFIX: 'x' },
    finds: ['UndefinedArgInFrom'],
  },
  {
    name: 'no default for the tag',
    dockerfile: 'ARG TAG\nFROM REG/plain:${TAG}\n',
    args: { TAG: '1' },
    finds: ['InvalidDefaultArgInFrom'],
  },
  {
    name: 'no default for the whole name',
    dockerfile: 'ARG BASE\nFROM $BASE\n',
    args: { BASE: 'scratch' },
    finds: ['InvalidDefaultArgInFrom'],
  },
  {
    name: 'a default that is no name',
    dockerfile: 'ARG BASE=":"\nFROM $BASE AS x\n',
    args: { BASE: 'scratch' },
    finds: ['InvalidDefaultArgInFrom'],
  },
  { name: 'a default', dockerfile: 'ARG TAG=1\nFROM REG/plain:${TAG}\n', finds: [] },
  { name: 'a default in place', dockerfile: 'ARG TAG\nFROM REG/plain:${TAG:-1}\n', finds: [] },
  { name: 'a base that is blank', dockerfile: 'ARG BASE\nFROM $BASE\n', finds: ['InvalidDefaultArgInFrom'], fails: 2 },
  {
    name: 'redundant platform',
    dockerfile: 'FROM --platform=$TARGETPLATFORM scratch\n',
    finds: ['RedundantTargetPlatform'],
  },
  {
    name: 'redundant platform in braces',
    dockerfile: 'FROM --platform=${TARGETPLATFORM} scratch\n',
    finds: ['RedundantTargetPlatform'],
  },
  {
    name: 'target platform with a default',
    dockerfile: 'FROM --platform=${TARGETPLATFORM:-linux/amd64} scratch\n',
    finds: ['RedundantTargetPlatform'],
  },
  { name: 'put together from its parts', dockerfile: 'FROM --platform=$TARGETOS/$TARGETARCH scratch\n', finds: [] },
  { name: 'build platform', dockerfile: 'FROM --platform=$BUILDPLATFORM scratch\n', finds: [] },
  {
    name: 'constant platform',
    dockerfile: 'FROM --platform=linux/amd64 scratch AS one\n',
    finds: ['FromPlatformFlagConstDisallowed'],
  },
  {
    name: 'constant platform by a nickname',
    dockerfile: 'FROM --platform=x86_64 scratch\n',
    finds: ['FromPlatformFlagConstDisallowed'],
  },
  {
    name: 'constant platform in quotes',
    dockerfile: 'FROM --platform="linux/arm/v7" scratch\n',
    finds: ['FromPlatformFlagConstDisallowed'],
  },
  {
    name: 'the stage says so: architecture',
    dockerfile: 'FROM --platform=linux/amd64 scratch AS build-amd64\n',
    finds: [],
  },
  { name: 'the stage says so: system', dockerfile: 'FROM --platform=linux/arm64 scratch AS linux\n', finds: [] },
  { name: 'constant from an argument', dockerfile: 'ARG P=linux/amd64\nFROM --platform=$P scratch\n', finds: [] },
  { name: 'a platform that is none', dockerfile: 'FROM --platform=linux/nix/v7/x scratch\n', finds: [], fails: 1 },
  {
    name: 'a base of another platform',
    dockerfile: 'FROM REG/arm:1\nLABEL a=b\n',
    finds: ['InvalidBaseImagePlatform'],
  },
  { name: 'a base of this platform', dockerfile: 'FROM REG/amd:1\nLABEL a=b\n', finds: [] },
  {
    name: 'a base of another platform, wanted so',
    dockerfile: 'FROM --platform=linux/arm64 REG/arm:1 AS arm64\n',
    finds: [],
  },
  {
    name: 'copied from another platform',
    dockerfile: 'FROM scratch\nCOPY --from=REG/arm:1 /a /a\n',
    finds: ['InvalidBaseImagePlatform'],
  },
  {
    name: 'a wrong base that the target does not need',
    dockerfile: 'FROM REG/arm:1 AS wrong\nFROM scratch AS right\nLABEL a=b\n',
    target: 'right',
    finds: [],
  },
  {
    name: 'a wrong base that no target was named for',
    dockerfile: 'FROM REG/arm:1 AS wrong\nFROM scratch AS right\nLABEL a=b\n',
    finds: ['InvalidBaseImagePlatform'],
  },
]

const variables: readonly LintCase[] = [
  {
    name: 'undefined in every instruction that expands',
    dockerfile: lines(
      'FROM scratch',
      'ENV a=$u1 b$u2=c',
      'LABEL d=$u3',
      'COPY --chown=$u4 --chmod=6$u5 a$u6 /b$u7',
      'ADD --checksum=${u8:-sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855} https://example.com/$u9 /x',
      'WORKDIR /$v1',
      'USER $v2',
      'VOLUME /$v3 ["/$v4"]',
      'STOPSIGNAL ${v5:-9}',
      'ARG w=$v6',
      'RUN --mount=type=cache,target=/x$v7,id=$v8 true $shell',
      'COPY <<A <<"B" /heredoc/',
      '$v9 is expanded',
      'A',
      '$w1 is not',
      'B',
    ),
    finds: ['UndefinedVar'],
  },
  {
    name: 'what is not expanded',
    dockerfile: lines(
      'FROM scratch',
      'RUN echo $a',
      'CMD ["$a"]',
      'ENTRYPOINT ["$b"]',
      'HEALTHCHECK CMD echo $c',
      'SHELL ["$d"]',
      'COPY --exclude=$e a /b',
      'EXPOSE ${f:-80}',
      "ENV g='$h' i=\\$j",
    ),
    finds: [],
  },
  {
    name: 'a suggestion',
    dockerfile:
      'FROM scratch\nARG DIR_BINARIES=x DIR_ASSETS=y\nENV a=$DIR_ASSET b=${DIR_BINARYES} c=$NOTHING_LIKE_IT\n',
    finds: ['UndefinedVar'],
  },
  {
    name: 'PATH is always there',
    dockerfile: 'FROM scratch\nENV PATH=$PATH:/x\nENV PAHT=$PAHT:/x\n',
    finds: ['UndefinedVar'],
  },
  {
    name: 'variables of the base',
    dockerfile: 'FROM REG/rich:1\nENV a=$FROM_BASE$EMPTY b=$FROM_BAS\n',
    finds: ['UndefinedVar'],
  },
  {
    name: 'variables of the stage below',
    dockerfile: 'FROM scratch AS a\nENV x=1\nARG y\nFROM a\nENV z=$x$y$zz_z\n',
    finds: ['UndefinedVar'],
  },
  { name: 'declared without a value', dockerfile: 'FROM scratch\nARG x\nENV y=$x\n', finds: [] },
  {
    name: 'only before FROM',
    dockerfile: 'ARG x=1\nFROM scratch\nENV y=$x\nARG x\nENV y=$x\n',
    finds: ['UndefinedVar'],
  },
  {
    name: 'automatic arguments are to be declared',
    dockerfile: 'FROM scratch\nENV y=$TARGETARCH\nARG TARGETARCH\nENV y=$TARGETARCH\n',
    finds: ['UndefinedVar'],
  },
  {
    name: 'own value in the same instruction',
    dockerfile: 'FROM scratch\nENV a=1 b=$a\nARG c=1 d=$c e=$f\n',
    finds: ['UndefinedVar'],
  },
  { name: 'a default stands in', dockerfile: 'FROM scratch\nENV a=${b:-c} d=${e:+f}\n', finds: ['UndefinedVar'] },
  { name: 'given on the command line', dockerfile: 'FROM scratch\nARG a=$b\nENV c=$a\n', args: { a: '1' }, finds: [] },
  {
    name: 'stages that the target does not need',
    dockerfile: 'FROM scratch AS a\nENV x=$y\nFROM scratch AS b\nENV x=$z\n',
    target: 'b',
    finds: ['UndefinedVar'],
  },
  {
    name: 'secrets',
    dockerfile: lines(
      'FROM scratch',
      'ARG API_KEY token secret_message MYPASSWORD PASSWORDLESS',
      'ENV AUTH=1 DB_PASSWD=2 apikey=3 CREDENTIALS_X=4 KEYBOARD=5 MONKEY=6',
      'ENV PUBLIC_KEY=1 SECRET_FILE=2 TOKEN_VERSION=3',
      'ARG PWORD=x',
    ),
    finds: ['SecretsUsedInArgOrEnv'],
  },
  { name: 'secrets before FROM', dockerfile: 'ARG PASSWORD\nFROM scratch\n', finds: [] },
  {
    name: 'a secret in a name that is expanded',
    dockerfile: 'FROM scratch\nARG n=TOKEN\nENV MY_$n=1\n',
    finds: ['SecretsUsedInArgOrEnv'],
  },
  {
    name: 'ONBUILD of an image',
    dockerfile: 'FROM REG/onbuild:1\nLABEL a=b\nCMD ["x"]\n',
    finds: [
      'UndefinedVar',
      'LegacyKeyValueFormat',
      'SecretsUsedInArgOrEnv',
      'JSONArgsRecommended',
      'MultipleInstructionsDisallowed',
    ],
  },
]

const commands: readonly LintCase[] = [
  { name: 'shell forms', dockerfile: 'FROM scratch\nENTRYPOINT a b\nCMD c d\n', finds: ['JSONArgsRecommended'] },
  {
    name: 'shell forms in lower case',
    dockerfile: 'from scratch\nentrypoint a b\ncmd c\n',
    finds: ['JSONArgsRecommended'],
  },
  { name: 'broken JSON is a shell form', dockerfile: "FROM scratch\nCMD ['a']\n", finds: ['JSONArgsRecommended'] },
  { name: 'JSON forms', dockerfile: 'FROM scratch\nENTRYPOINT ["a", "b"]\nCMD ["c"]\nHEALTHCHECK CMD d\n', finds: [] },
  {
    name: 'with a SHELL',
    dockerfile: 'FROM scratch\nCMD a\nSHELL ["x"]\nENTRYPOINT b\n',
    finds: ['JSONArgsRecommended'],
  },
  { name: 'with a SHELL of the base', dockerfile: 'FROM REG/shell:1\nCMD a\n', finds: [] },
  { name: 'with a SHELL of the stage below', dockerfile: 'FROM scratch AS a\nSHELL ["x"]\nFROM a\nCMD a\n', finds: [] },
  {
    name: 'several of a kind',
    dockerfile:
      'FROM scratch\nCMD ["a"]\nCmd ["b"]\nCMD ["c"]\nENTRYPOINT ["a"]\nENTRYPOINT ["b"]\nHEALTHCHECK NONE\nHEALTHCHECK CMD x\n',
    finds: ['MultipleInstructionsDisallowed', 'ConsistentInstructionCasing'],
  },
  { name: 'one in each stage', dockerfile: 'FROM scratch AS a\nCMD ["a"]\nFROM a\nCMD ["b"]\n', finds: [] },
  { name: 'relative WORKDIR', dockerfile: 'FROM scratch\nWORKDIR app\nWORKDIR src\n', finds: ['WorkdirRelativePath'] },
  {
    name: 'relative after absolute',
    dockerfile: 'FROM scratch\nWORKDIR /app\nWORKDIR src\nFROM scratch\nWORKDIR ${X:-y}\n',
    finds: ['WorkdirRelativePath', 'UndefinedVar'],
  },
  {
    name: 'relative to a WORKDIR of the base',
    dockerfile: 'FROM REG/rich:1\nWORKDIR html\n',
    finds: ['WorkdirRelativePath'],
  },
  {
    name: 'relative to a WORKDIR of the stage below',
    dockerfile: 'FROM scratch AS a\nWORKDIR /a\nFROM a\nWORKDIR b\n',
    finds: [],
  },
  { name: 'absolute by a variable', dockerfile: 'FROM scratch\nENV D=/x\nWORKDIR $D/y\nWORKDIR z\n', finds: [] },
  {
    name: 'protocols',
    dockerfile: 'FROM scratch\nEXPOSE 80/TCP 81/udp 82 83/Udp 84/sctp\n',
    finds: ['ExposeProtoCasing'],
  },
  {
    name: 'a protocol by a variable',
    dockerfile: 'FROM scratch\nARG P=81/UDP\nEXPOSE $P 80-82/tcp\n',
    finds: ['ExposeProtoCasing'],
  },
  {
    name: 'ports with a host',
    dockerfile: 'FROM scratch\nEXPOSE 127.0.0.1:80:80 81:81/TCP [::1]:82:82 :83 10.0.0.1::84 85\n',
    finds: ['ExposeInvalidFormat', 'ExposeProtoCasing'],
  },
]

const copies: readonly LintCase[] = [
  {
    name: 'ignored sources',
    dockerfile: lines(
      'FROM scratch',
      'COPY tmp /a',
      'COPY tmp/deep/file src/a.log b /b/',
      'ADD ./tmp/../tmp/ /c',
      'COPY /tmp /d',
      'COPY src/*.log *.txt /e/',
      'COPY tmpfile . /f/',
      'ADD https://example.com/tmp /g',
    ),
    ignore: 'tmp\n**/*.log\n/root.txt\n',
    finds: ['CopyIgnoredFile'],
  },
  {
    name: 'ignored sources by a variable',
    dockerfile: 'FROM scratch\nARG D=tmp\nCOPY $D/x /a\n',
    ignore: '# x\n tmp/ \n',
    finds: ['CopyIgnoredFile'],
  },
  {
    name: 'everything is ignored',
    dockerfile: 'FROM scratch\nCOPY . /a\nCOPY / /b\nCOPY x /c\n',
    ignore: '**\n',
    finds: ['CopyIgnoredFile'],
  },
  {
    name: 'everything at the top is ignored',
    dockerfile: 'FROM scratch\nCOPY . /a\nCOPY / /b\nCOPY x/y /c\n',
    ignore: '*\n',
    finds: ['CopyIgnoredFile'],
  },
  {
    name: 'with exceptions nothing is said',
    dockerfile: 'FROM scratch\nCOPY tmp /a\n',
    ignore: 'tmp\n!tmp/keep\n',
    finds: [],
  },
  {
    name: 'not from the context',
    dockerfile: 'FROM scratch AS a\nFROM scratch\nCOPY --from=a tmp /a\nCOPY <<tmp /b\nx\ntmp\n',
    ignore: 'tmp\n',
    finds: [],
  },
  {
    name: 'ignored, but the target does not need it',
    dockerfile: 'FROM scratch AS a\nCOPY tmp /a\nFROM scratch AS b\nLABEL a=b\n',
    target: 'b',
    ignore: 'tmp\n',
    finds: [],
  },
]

const BAD = lines('FROM scratch AS Bad', 'ENV a b', 'MAINTAINER me', 'WORKDIR rel')

const configured: readonly LintCase[] = [
  {
    name: 'skip one',
    dockerfile: `# check=skip=StageNameCasing\n${BAD}`,
    finds: ['LegacyKeyValueFormat', 'MaintainerDeprecated', 'WorkdirRelativePath'],
  },
  {
    name: 'skip several',
    dockerfile: `# check=skip=StageNameCasing,LegacyKeyValueFormat,WorkdirRelativePath\n${BAD}`,
    finds: ['MaintainerDeprecated'],
  },
  {
    name: 'a blank ends the directive',
    dockerfile: `# check=skip=StageNameCasing, LegacyKeyValueFormat\n${BAD}`,
    finds: ['LegacyKeyValueFormat', 'MaintainerDeprecated', 'WorkdirRelativePath'],
  },
  { name: 'skip all', dockerfile: `# check = skip=all\n${BAD}`, finds: [] },
  {
    name: 'skip what does not exist',
    dockerfile: `# check=skip=Nothing\n${BAD}`,
    finds: ['StageNameCasing', 'LegacyKeyValueFormat', 'MaintainerDeprecated', 'WorkdirRelativePath'],
  },
  { name: 'after the syntax directive', dockerfile: `# escape=\\\n# CHECK=skip=all\n${BAD}`, finds: [] },
  {
    name: 'not a directive any more',
    dockerfile: `# a comment\n# check=skip=all\n${BAD}`,
    finds: ['LegacyKeyValueFormat', 'MaintainerDeprecated', 'WorkdirRelativePath'],
  },
  {
    name: 'error=true finds the same, and fails',
    dockerfile: `# check=error=true\n${BAD}`,
    finds: ['StageNameCasing', 'LegacyKeyValueFormat', 'MaintainerDeprecated', 'WorkdirRelativePath'],
    fails: 0,
  },
  { name: 'error=true without findings', dockerfile: '# check=error=true\nFROM scratch\nLABEL a=b\n', finds: [] },
  { name: 'error=true, but what there is is skipped', dockerfile: `# check=skip=all;error=true\n${BAD}`, finds: [] },
  {
    name: 'the build argument instead of the directive',
    dockerfile: `# check=skip=all\n${BAD}`,
    args: { BUILDKIT_DOCKERFILE_CHECK: 'skip=StageNameCasing, WorkdirRelativePath' },
    finds: ['LegacyKeyValueFormat', 'MaintainerDeprecated'],
  },
  {
    name: 'an empty build argument',
    dockerfile: `# check=skip=all\n${BAD}`,
    args: { BUILDKIT_DOCKERFILE_CHECK: '' },
    finds: ['StageNameCasing', 'LegacyKeyValueFormat', 'MaintainerDeprecated', 'WorkdirRelativePath'],
  },
  { name: 'unknown option', dockerfile: `# check=foo=bar\n${BAD}`, finds: [], fails: 0 },
  { name: 'error that is no boolean', dockerfile: `# check=error=maybe\n${BAD}`, finds: [], fails: 0 },
  { name: 'no option', dockerfile: `# check=StageNameCasing\n${BAD}`, finds: [], fails: 0 },
  {
    name: 'skipped for one instruction',
    dockerfile: lines(
      '# a comment',
      '# check=skip=StageNameCasing',
      'FROM scratch AS Bad',
      '# check=skip=LegacyKeyValueFormat',
      'ENV a b',
      'ENV c d',
      '# why: it is so',
      '# check=skip=MaintainerDeprecated;error=true',
      '',
      'MAINTAINER me',
      '# check=skip=all',
      'WORKDIR rel',
      '# check=skip=JSONArgsRecommended',
      '#',
      'CMD echo',
      '# check=nonsense',
      'ENV e f',
      '  # check=skip=LegacyKeyValueFormat',
      'ENV g h',
    ),
    finds: ['LegacyKeyValueFormat', 'JSONArgsRecommended'],
  },
  {
    name: 'rules that a comment does not reach',
    dockerfile: lines(
      '# a comment',
      'FROM scratch AS one',
      '# check=skip=all',
      'FROM scratch AS one',
      '# check=skip=all',
      'label a=b \\',
      '',
      'c=d',
      'LABEL e=f',
      '# check=skip=all',
      'FROM REG/arm:1 AS context',
    ),
    finds: [
      'DuplicateStageName',
      'ConsistentInstructionCasing',
      'NoEmptyContinuation',
      'ReservedStageName',
      'InvalidBaseImagePlatform',
    ],
  },
  {
    name: 'rules of FROM that a comment does reach',
    dockerfile: lines(
      '# a comment',
      '#',
      '# check=skip=UndefinedArgInFrom,RedundantTargetPlatform',
      'FROM --platform=$TARGETPLATFORM REG/plain:1$x as One',
      '# check=skip=FromPlatformFlagConstDisallowed',
      'FROM --platform=linux/arm64 scratch as Two',
    ),
    finds: ['FromAsCasing', 'StageNameCasing'],
  },
  {
    name: 'the comment of the one that overrides counts',
    dockerfile:
      'FROM scratch\n# check=skip=MultipleInstructionsDisallowed\nCMD ["a"]\nCMD ["b"]\n# check=skip=MultipleInstructionsDisallowed\nCMD ["c"]\n',
    finds: ['MultipleInstructionsDisallowed'],
  },
  {
    name: 'experimental for one instruction',
    dockerfile: lines('FROM scratch', '# check=experimental=all', '# wrong', 'ARG a', '# wrong', 'ARG b'),
    finds: ['InvalidDefinitionDescription'],
  },
]

export const CASES: Readonly<Record<string, readonly LintCase[]>> = {
  names,
  form,
  FROM: from,
  variables,
  commands,
  'COPY and ADD': copies,
  configuration: configured,
}
