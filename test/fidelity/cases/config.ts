import type { Case } from '../case.ts'

const of = (name: string, lines: string, more: Partial<Case> = {}): Case => ({
  name,
  dockerfile: `FROM REG/base:1\n${lines}\n`,
  ...more,
})
const rich = (name: string, lines: string): Case => ({
  name,
  dockerfile: `FROM REG/rich:1 AS r\n${lines}\n`,
  differs: {
    section: 'Unknown fields of a base config',
    only: /config\.(?:docker_version|container|config\.(?:Image|Hostname|Domainname|AttachStdin)):/,
  },
})
const refuses = (name: string, lines: string): Case => of(name, lines, { refused: true })

export const config: readonly Case[] = [
  of(
    'ENV in both forms',
    'ENV A=1 B="two words" C=\'single $A\' D=a\\ b E=\nENV LEGACY some   text  here\nENV A=2 F=$A',
  ),
  of('ENV sees the values before the line', 'ENV abc=hello\nENV abc=bye def=$abc\nENV ghi=$abc PATH=/x:$PATH'),
  of(
    'ENV with odd values',
    'ENV A="a=b" B=a=b=c C="quote\\"d" D=\'it\'"\'"\'s\' E="tab\\there" F=$$ G=\\$x H=ünï I="multi \\\nline"',
  ),
  of('ENV with names from variables', 'ENV N=NAME\nENV $N=value X_${N}=y'),
  of(
    'expansions',
    `ENV A=abcabc E=
ENV R1=\${A:-x} R2=\${E:-x} R3=\${E-x} R4=\${N-x} R5=\${A:+y} R6=\${E:+y} R7=\${E+y} R8=\${N+y}
ENV S1=\${A#a} S2=\${A##*b} S3=\${A%c} S4=\${A%%b*} S5=\${A/b/X} S6=\${A//b/X} S7=\${A/z/X} S8=\${A#?b}
ENV T1=\${N:-\${A}} T2=\${N:-"q q"} T3=$A$A T4=\${A}x T5=$Ax T6=\${A:?no}`,
  ),
  refuses('an expansion that must have a value', 'ENV A=1\nENV B=${NOPE:?is needed}'),
  refuses('an unknown expansion', 'ENV A=1\nENV B=${A:=x}'),
  refuses('ENV without a value', 'ENV A'),
  refuses('ENV with an empty name', 'ENV =x'),
  of(
    'ARG scopes',
    `ARG A=stage
ARG B
ARG C=c D=$A E
ENV ENV_A=$A ENV_B=$B ENV_C=$C ENV_D=$D
ENV A=env
ARG A=again
LABEL a=$A b=$B`,
  ),
  {
    name: 'global ARG',
    dockerfile:
      'ARG G=global\nARG H=$G-more\nARG UNUSED\nFROM scratch AS x\nARG G\nARG H=mine\nENV A=$G B=$H C=$UNUSED\nCOPY a /\nFROM x\nENV D=$G\nARG UNUSED=u\nLABEL g=$G h=$H\n',
  },
  {
    name: 'build arguments win',
    dockerfile: 'ARG V=1\nFROM REG/base:$V\nARG A=default\nARG B\nARG C=c\nENV X=$A Y=$B Z=$NOT\nLABEL c=$C\n',
    args: { A: 'given', B: 'b given', NOT: 'x', C: '', V: '1' },
  },
  {
    name: 'automatic arguments',
    dockerfile: `ARG TARGETPLATFORM
FROM scratch AS stage
ARG BUILDPLATFORM BUILDOS BUILDARCH BUILDVARIANT TARGETPLATFORM TARGETOS TARGETARCH TARGETVARIANT TARGETSTAGE TARGETOSVERSION
LABEL a="$BUILDPLATFORM|$BUILDOS|$BUILDARCH|$BUILDVARIANT|$TARGETPLATFORM|$TARGETOS|$TARGETARCH|$TARGETVARIANT|$TARGETSTAGE|$TARGETOSVERSION"
COPY a /$TARGETARCH$TARGETVARIANT/
FROM stage
ARG TARGETARCH=shadowed
LABEL b=$TARGETARCH c=$TARGETOS
`,
    platforms: ['linux/amd64', 'linux/arm64', 'linux/arm/v7', 'linux/arm/v6', 'linux/riscv64', 'linux/386'],
  },
  {
    name: 'automatic arguments given by hand',
    dockerfile: 'FROM scratch\nARG TARGETARCH TARGETSTAGE\nLABEL a=$TARGETARCH b=$TARGETSTAGE\nCOPY a /\n',
    args: { TARGETARCH: 'mine' },
  },
  {
    name: 'TARGETSTAGE of a named target',
    dockerfile: 'FROM scratch AS one\nARG TARGETSTAGE\nLABEL a=$TARGETSTAGE\nCOPY a /\nFROM scratch\nCOPY a /\n',
    target: 'one',
  },
  of('proxy arguments leave nothing', 'COPY a /\nENV P=$http_proxy Q=$HTTP_PROXY', {
    args: { http_proxy: 'http://x', HTTP_PROXY: 'http://y' },
  }),
  of(
    'LABEL',
    'LABEL a=1 "b c"="d e" f=\'g h\' i="j \\\nk"\nLABEL old style of it\nLABEL a=2 $X=y q="\\"" com.example.x="$HOME"',
  ),
  { name: 'labels of the command line', dockerfile: 'FROM REG/base:1\nLABEL a=1 b=2\n', labels: { b: '3', c: 'x y' } },
  of(
    'EXPOSE',
    'ENV P=8080 MANY="1 2/udp"\nEXPOSE 80 443/tcp 53/udp 9/SCTP 8000-8003 7000-7001/udp\nEXPOSE $P $MANY 80\nEXPOSE 127.0.0.1:90:91 5000:5001',
  ),
  refuses('EXPOSE of no port', 'EXPOSE http'),
  refuses('EXPOSE of a large port', 'EXPOSE 70000'),
  refuses('EXPOSE of an unknown protocol', 'EXPOSE 80/quic'),
  of('VOLUME', 'ENV V=/var\nVOLUME /a /b  /c\nVOLUME ["/d d", "$V/x"]\nVOLUME $V/log\nVOLUME not json]'),
  refuses('VOLUME of nothing', 'VOLUME [""]'),
  of('USER', 'ENV U=app\nUSER $U\nUSER ${U}:staff\nUSER 12:34\nUSER "quoted"'),
  of('WORKDIR', 'WORKDIR /a/b\nWORKDIR c\nWORKDIR ../d\nENV W=e\nWORKDIR $W/./f//\nWORKDIR /opt/dir'),
  of(
    'WORKDIR belongs to USER',
    'USER app\nWORKDIR /w/x\nUSER 12:34\nWORKDIR y\nUSER web\nWORKDIR /opt/dir/z\nUSER 7\nWORKDIR /seven',
  ),
  of('WORKDIR with an unknown user', 'USER ghost\nWORKDIR /w/x\nUSER app:ghost\nWORKDIR y'),
  {
    name: 'WORKDIR with a user by name onto nothing',
    dockerfile: 'FROM scratch\nUSER app\nWORKDIR /x\n',
    refused: true,
  },
  of('WORKDIR through links', 'WORKDIR /bin/x\nWORKDIR /var/run/y\nCOPY a .\nWORKDIR /lib'),
  of('WORKDIR at a dangling link', 'WORKDIR /dangling/x'),
  refuses('WORKDIR at a file', 'WORKDIR /etc/hosts'),
  refuses('WORKDIR below a file', 'USER app\n\nWORKDIR /etc/hosts/x'),
  of('WORKDIR with quotes and blanks', 'WORKDIR "/a b"\nWORKDIR /c d\nWORKDIR \'e\''),
  of('WORKDIR that is not clean', 'WORKDIR /a//b/./c/\nWORKDIR d//e/\nCOPY a .\nWORKDIR /a/../z/\nCOPY a ./b'),
  of('ARG that builds upon itself', 'ARG X=1 Y=$X Z=${Y}2\nARG X=${X}3\nARG W=${W:-none}\nLABEL l=$X$Y$Z$W', {
    args: { W: 'given' },
  }),
  of(
    'CMD with characters of all kinds',
    'CMD ["\\u00e9\\u200b\\ud83d\\ude00\\u007f\\t", "\\u2028", "a\\u0301", "\\ue000", "\u00a0"]',
  ),
  of('labels with odd names', 'LABEL 1=one 10=ten 2=two "with space"=x ü=y a.b/c=z'),
  of('labels that empty others', 'LABEL a=1\nLABEL a= b=\nLABEL a', { refused: true }),
  of('WORKDIR at the root', 'WORKDIR /\nWORKDIR //\nWORKDIR /x/..\nWORKDIR .'),
  { name: 'WORKDIR onto nothing', dockerfile: 'FROM scratch\nWORKDIR a/b\nUSER 5:6\nWORKDIR c\n' },
  of(
    'CMD and ENTRYPOINT',
    'CMD echo  hi $HOME\nENTRYPOINT ["/x", "a b", "\\"q\\"", "ü\\u0001"]\nCMD ["y"]\nCMD []\nENTRYPOINT []',
  ),
  of('ENTRYPOINT drops the CMD of the base', 'CMD ["a"]\nENTRYPOINT ["b"]'),
  of('shell forms', 'CMD echo "a  b" | cat\nENTRYPOINT exec  top -b'),
  of(
    'JSON that is not quite JSON is for the shell',
    'CMD [\'a\', \'b\']\nENTRYPOINT [ "a" "b" ]\nSHELL ["/bin/x"]\nCMD ["a",]',
  ),
  of('SHELL', 'SHELL ["/bin/bash", "-o", "pipefail", "-c"]\nCMD echo hi\nENTRYPOINT run me'),
  refuses('SHELL of nothing', 'SHELL []'),
  refuses('SHELL as text', 'SHELL /bin/bash'),
  refuses('CMD with numbers', 'CMD [1, 2]'),
  of(
    'HEALTHCHECK',
    'HEALTHCHECK --interval=5m --timeout=3s --start-period=1h30m --start-interval=250ms --retries=3 CMD curl -f http://localhost/ || exit 1',
  ),
  of(
    'HEALTHCHECK as a list and none',
    'HEALTHCHECK CMD ["/check", "a b"]\nHEALTHCHECK --interval=0 --retries=0 CMD x\nHEALTHCHECK NONE',
  ),
  of('HEALTHCHECK with short times', 'HEALTHCHECK --interval=1ms --timeout=1.5s CMD x'),
  refuses('HEALTHCHECK too often', 'HEALTHCHECK --interval=1us CMD x'),
  refuses('HEALTHCHECK of another type', 'HEALTHCHECK EXEC x'),
  refuses('HEALTHCHECK with too few retries', 'HEALTHCHECK --retries=-1 CMD x'),
  of('STOPSIGNAL', 'ENV S=TERM\nSTOPSIGNAL SIG$S\nSTOPSIGNAL 9\nSTOPSIGNAL RTMIN+3\nSTOPSIGNAL int'),
  refuses('STOPSIGNAL that is none', 'STOPSIGNAL SIGNOPE'),
  refuses('STOPSIGNAL zero', 'STOPSIGNAL 0'),
  of('MAINTAINER', 'MAINTAINER A Name <a@example.com>\nMAINTAINER $X "quoted"'),
  of(
    'all instructions in lower case',
    'env A=1\nlabel a=b\ncopy a /a\nworkdir /w\nuser app\nexpose 1\nvolume /v\ncmd x\nentrypoint ["y"]\nstopsignal 3\nhealthcheck none\nmaintainer me\narg Z=1',
  ),
  of(
    'continuations and comments',
    'ENV A=1 \\\n  # a comment\n\n  B=2 \\\n\n  C=3\nLABEL x="y \\\n  z"\n  COPY   a    \\\n   /a  ',
  ),
  {
    name: 'escape directive',
    dockerfile:
      '# escape=`\nFROM REG/base:1\nENV A=a`\n  B=c:\\dir D=`$A\nLABEL x="`"y" z=\\$A\nCOPY a /x`y\nCOPY <<E /h\n\\$A `$A $A\nE\n',
  },
  {
    name: 'byte order mark and CRLF',
    dockerfile: '\ufeffFROM REG/base:1\r\nENV A=1 \\\r\n  B=2\r\nCOPY a /a\r\nCOPY <<E /h\r\none\r\nE\r\nCMD x\r\n',
  },
  rich('everything of a base is kept', 'LABEL shared=mine new=1'),
  rich('a base with CMD and an ENTRYPOINT', 'ENTRYPOINT ["/mine"]'),
  rich(
    'a base with SHELL, USER and WORKDIR',
    'CMD my cmd\nWORKDIR x\nCOPY a .\nEXPOSE 81\nVOLUME /v\nENV PATH=/mine:$PATH EMPTY=$EMPTY.',
  ),
  rich('HEALTHCHECK of a base replaced and switched off', 'HEALTHCHECK --timeout=2s CMD x\nFROM r\nHEALTHCHECK NONE'),
  rich('a base with everything replaced', 'STOPSIGNAL 15\nUSER 0\nSHELL ["sh"]\nCMD []\nENTRYPOINT []\nMAINTAINER m'),
  { name: 'nothing but FROM', dockerfile: 'FROM REG/base:1\n' },
  {
    name: 'nothing but FROM scratch',
    dockerfile: 'FROM scratch\n',
  },
  { name: 'metadata upon scratch alone', dockerfile: 'FROM scratch\nENV A=1\nCMD ["x"]\n' },
  { name: 'an empty Dockerfile', dockerfile: '# nothing\n', refused: true },
  { name: 'no FROM', dockerfile: 'COPY a /\n', refused: true },
  { name: 'an unknown instruction', dockerfile: 'FROM scratch\nCOPY a /\nCOPPY a /b\n', refused: true },
  { name: 'FROM with too many words', dockerfile: 'FROM scratch AS a b\nCOPY a /\n', refused: true },
  { name: 'FROM with a bad reference', dockerfile: 'FROM scratch AS x\nCOPY a /\nFROM UPPER/case\n', refused: true },
]
