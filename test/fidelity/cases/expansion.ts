import type { Case } from '../case.ts'
import type { Context } from '../context.ts'

const some = (c: Context): void => {
  c.files('a', 'b', 'x y', 'd/f', 'd/g.md', 'q/a', "it's", 'v1.2/app', '$A')
}
const of = (name: string, lines: string, more: Partial<Case> = {}): Case => ({
  name: `expansion: ${name}`,
  dockerfile: `FROM REG/base:1\nARG V=v1.2\nENV A=a D=d E= S="x y" P=/p/q.tar.gz\n${lines}\n`,
  files: some,
  ...more,
})

/** Every form of a variable in every instruction that expands, and in those that do not. */
export const expansion: readonly Case[] = [
  of(
    'sources and destinations',
    'COPY $A ${D}/f /$D/$A/\nADD ${V}/app "/${V%%.*}/"\nCOPY ["$S", "/${S}/"]\nCOPY $D/* ${E:-/e}/',
  ),
  of('a dollar in a name', 'COPY \\$A /1/\nCOPY ["\\\\$A", "/2/"]\nCOPY \'$A\' /3/'),
  of('quotes in names', 'COPY "b" \'b\' /1/\nCOPY it\\\'s /2/\nCOPY ["it\\\\\'s", "x y", "/3/"]\nCOPY b "/4"'),
  of('defaults in sources', 'COPY ${N:-a} ${E:-b} ${A:+d} /1/\nCOPY ${N-a} /2/${E-x}\nCOPY ${A+b} /3/'),
  of(
    'prefixes, suffixes and replacements',
    'LABEL a=${P#*/} b=${P##*/} c=${P%.*} d=${P%%.*} e=${P/p/X} f=${P//\\//-} g=${P#/p} h=${P%z}\nCOPY a ${P%/*}/${P##*/}',
  ),
  of(
    'patterns with marks',
    'ENV Q="a*b?c[d]"\nLABEL a=${Q#a\\*} b=${Q%\\?*} c=${Q/\\*/-} d=${Q//?/.} e=${Q%[d]} f=${Q##*b}',
  ),
  of(
    'nested ones',
    'LABEL a=${N:-${E:-${A}b}} b="${A:+${S}}" c="${N:-\'q q\'}" d=${N:-\'$A\'} e=${N:-\\$A} f=${N:-${P##*/}}',
  ),
  of('templates of the replacement', "LABEL a=${P//q/'$0'} b=${P/q/'$0'} c=${P//q/'[$1]'} d=${P//q/'$$'}"),
  of('special parameters', 'LABEL a=x$1y b=$0 c=$$ d=$# e=$? f=$@ g=$* h=$! i=$- j=${1} k=$12'),
  of('a dollar alone', 'LABEL a=$ b=a$ c="$ d" e=$. f=$/x'),
  of('names of labels and variables', 'ENV X_$A=1 "Y $A"=2\nLABEL l.$A="$X_a" "m $S"=3\nENV Z=${X_a}'),
  of('old form', 'ENV OLD  $A  ${S}\nLABEL old "$A"  $N.\nENV OLD2 a\\ b "c  d"'),
  of('EXPOSE', 'ENV P1=80 P2="81/udp 82" P3=83-85\nEXPOSE $P1 $P2 ${P3}/sctp ${N:-86} "$P1"'),
  of('USER', 'ENV U=app G=50\nUSER $U:$G\nWORKDIR /1\nUSER "${N:-12}"\nWORKDIR /2\nUSER ${U}:\nUSER $N'),
  of('WORKDIR', 'WORKDIR /$A/${E}/$D\nWORKDIR "$S"\nWORKDIR \'$A\'\nWORKDIR ${N:-../up}\nWORKDIR $N'),
  of('VOLUME', 'VOLUME /$A "/$S" ["$A"]\nVOLUME ["/$S", "/\'q\'", "/\\\\$A"]'),
  of('STOPSIGNAL', 'ENV G=SIG\nSTOPSIGNAL ${G}INT\nSTOPSIGNAL "${N:-9}"'),
  of('ARG', 'ARG B=$A C=${B}2 D2=${N:-none}\nARG Q="x y" R=\'$A\' T=\\$A\nLABEL b=$B c=$C d=$D2 q=$Q r=$R t=$T'),
  of(
    '--chown and --chmod',
    'ENV U=app M=4755\nCOPY --chown=$U:${G:-50} --chmod=$M a /1/\nADD --chown="${N:-33}" --chmod=${M#4} b /2/',
  ),
  of('not --exclude', 'COPY --exclude=$A --exclude=d . /1/\nCOPY --exclude="*.md" $D /2/'),
  of(
    'heredocs',
    'COPY <<E /1\n$A "$S" \'$A\' ${N:-d} \\$A \\\\ \\n\nE\nCOPY <<"E" <<\'F\' <<G /2/\n$A \\$A\nE\n$A\nF\n$A\nG',
  ),
  of(
    'heredocs with tabs and modes',
    'COPY --chmod=${M:-640} <<-T /3\n\t$A\n\t\t${P##*/} $$ $1 tab\\there\n\tT\nADD <<-"T" /4\n\t\\$A\n\tT',
  ),
  of('in the middle of an ENV, with the old values', 'ENV A=new B=$A C=${A}x\nENV B=$B$A'),
  of(
    'not in CMD, ENTRYPOINT, HEALTHCHECK, SHELL, ONBUILD, MAINTAINER',
    'CMD $A "${S}"\nENTRYPOINT ["$A", "\\\\$A"]\nHEALTHCHECK CMD test $A\nSHELL ["$A"]\nONBUILD LABEL l=$A\nMAINTAINER $A',
  ),
  {
    name: 'expansion: ONBUILD, when it runs',
    dockerfile:
      'FROM REG/base:1 AS p\nENV A=a D=d\nARG V=v\nONBUILD LABEL l=$A m=$LATE n=$V\nONBUILD COPY $A /$D/\nENV A=b\nFROM p\nUSER 1\n',
    files: some,
  },
  {
    name: 'expansion: FROM and its platform',
    dockerfile:
      'ARG R=REG/base T=1\nARG P=linux/amd64\nFROM --platform=${P:-x} "${R}":${T:-2} AS s\nCOPY a /\nFROM ${N:-s}\nLABEL a=b\n',
  },
  {
    name: 'expansion: after escape',
    dockerfile:
      '# escape=`\nFROM REG/base:1\nENV A=a B=`$A C=\\$A D="`"q`"" E=C:\\x F=`\'g\nLABEL a=$A\\b b=${N:-`}} c=\'`$A\'\nCOPY $A \\x`y\n',
    files: some,
  },
  of('of variables of the base', 'LABEL p=$PATH q=${PATH%%:*} h=${HOME:-none}'),
  of('of arguments, by the command line', 'ARG G\nARG H=h$G\nLABEL g=$G h=$H v=$V', { args: { G: 'x y', V: '' } }),
  of(
    'of automatic arguments',
    'ARG TARGETARCH TARGETVARIANT\nLABEL a=${TARGETARCH/arm/ARM} b=${TARGETVARIANT#v} c=app-${TARGETARCH}${TARGETVARIANT:+-$TARGETVARIANT}',
    {
      platforms: ['linux/amd64', 'linux/arm64', 'linux/arm/v7'],
    },
  ),
]
