import { describe, expect, test } from 'bun:test'
import { parseDockerfile } from '../../src/dockerfile/parse.ts'
import { isArchimageError } from '../../src/errors/error.ts'
import { requirePeers } from '../peers/require.ts'
import { askBuildKit } from './oracle.ts'
import { outline, outlineOfAnswer } from './outline.ts'

/** A Dockerfile, and its outline after the first line or the line at which it is refused. */
interface Vector {
  readonly name: string
  readonly text: string
  readonly is: readonly string[] | number
  /** BuildKit sees it otherwise, as docs/differences.md says. */
  readonly apart?: true
}

const body = (name: string, text: string, ...is: string[]): Vector => ({ name, text: `FROM scratch\n${text}\n`, is })
const refused = (name: string, text: string, line = 2): Vector => ({ name, text: `FROM scratch\n${text}\n`, is: line })

/** The rows of the parser's features: what the Dockerfile reference says of each, right and wrong. */
const ROWS: Readonly<Record<string, readonly Vector[]>> = {
  directives: [
    {
      name: 'escape changes the continuation',
      text: '# escape=`\nFROM scratch\nRUN a `\nb\\',
      is: ['3-4 RUN {"shell":"a b\\\\"}'],
    },
    { name: 'keys in any case', text: '#  Escape = ` \nFROM scratch\nRUN a`\nb', is: ['3-4 RUN {"shell":"ab"}'] },
    {
      name: 'an ordinary comment ends them',
      text: '# hello\n# escape=`\nFROM scratch\nRUN a\\\nb',
      is: ['4-5 RUN {"shell":"ab"}'],
    },
    { name: 'an empty line ends them', text: '\n# escape=`\nFROM scratch\nRUN a\\\nb', is: ['4-5 RUN {"shell":"ab"}'] },
    {
      name: 'an unknown one ends them',
      text: '# foo=bar\n# escape=`\nFROM scratch\nRUN a\\\nb',
      is: ['4-5 RUN {"shell":"ab"}'],
    },
    {
      name: 'after an instruction they are comments',
      text: 'FROM scratch\n# escape=`\nRUN a\\\nb',
      is: ['3-4 RUN {"shell":"ab"}'],
    },
    { name: 'twice', text: '# syntax=a\n# syntax=b\nFROM scratch', is: 2, apart: true },
    { name: 'twice in another case', text: '# check=skip=all\n# CHECK=skip=all\nFROM scratch', is: 2, apart: true },
    { name: 'escape may be nothing else', text: '# escape=|\nFROM scratch', is: 1, apart: true },
    {
      name: 'a byte order mark before them is nothing',
      text: '\ufeff# escape=`\nFROM scratch\nRUN a`\nb',
      is: ['3-4 RUN {"shell":"ab"}'],
    },
  ],
  escape: [
    body('blanks may follow the backslash', 'RUN a \\ \t\nb', '2-3 RUN {"shell":"a b"}'),
    body(
      'two backslashes at the end are text',
      'RUN a \\\\\nRUN b',
      '2 RUN {"shell":"a \\\\\\\\"}',
      '3 RUN {"shell":"b"}',
    ),
    body('three are text too', 'RUN a \\\\\\\nRUN b', '2 RUN {"shell":"a \\\\\\\\\\\\"}', '3 RUN {"shell":"b"}'),
    body('a line of nothing but the backslash', 'RUN a \\\n\\\nb', '2-4 RUN {"shell":"a b"}'),
    body('at the end of the file', 'RUN a \\', '2 RUN {"shell":"a"}'),
    body('the other character is text', 'RUN a `\nRUN b', '2 RUN {"shell":"a `"}', '3 RUN {"shell":"b"}'),
    body('blanks at the start of a continued line stay', 'RUN a\\\n  b', '2-3 RUN {"shell":"a  b"}'),
    body(
      'carriage returns at the ends of lines go',
      'RUN a \\\r\nb\r\nRUN c\r',
      '2-3 RUN {"shell":"a b"}',
      '4 RUN {"shell":"c"}',
    ),
  ],
  comments: [
    body('whole lines only', 'RUN a # b\n# c\n  # d\nRUN e', '2 RUN {"shell":"a # b"}', '5 RUN {"shell":"e"}'),
    body('inside of continuations', 'RUN a \\\n# c\n   # d\nb', '2-5 RUN {"shell":"a b"}'),
    body('empty lines inside of continuations', 'RUN a \\\n\n  \nb', '2-5 RUN {"shell":"a b"}'),
    body('a comment at the end of a continuation', 'RUN a \\\n# c', '2-3 RUN {"shell":"a"}'),
    body(
      '# in a heredoc is text',
      'COPY <<E /x\n# c\nE',
      '2-4 COPY {"files":[["E","# c\\n",true]],"dest":"/x"} <<E "# c\\n"',
    ),
  ],
  errors: [
    { name: 'nothing but comments', text: '# a\n\n# b\n', is: 3 },
    { name: 'nothing but blanks', text: ' \n\t\n', is: 2 },
    refused('an unknown instruction', 'COPPY a b'),
    refused('an instruction that ends in a colon', 'RUN: a'),
    refused('a word where an instruction should stand', 'RUN a\nb', 3),
    { name: 'an instruction before the first FROM', text: 'ARG a\nRUN b\nFROM scratch', is: 2 },
    { name: 'ENV before the first FROM', text: 'ENV a=b\nFROM scratch', is: 1 },
    {
      name: 'a line of 65,535 bytes',
      text: `FROM scratch\nRUN ${'x'.repeat(65_530)}\n`,
      is: [`2 RUN {"shell":"${'x'.repeat(65_530)}"}`],
    },
    { name: 'a longer line', text: `FROM scratch\nRUN a\nRUN ${'x'.repeat(65_532)}\n`, is: 3, apart: true },
    refused('errors of form come first, wherever they stand', 'COPPY a\nENV a', 3),
  ],
  flags: [
    body(
      'before the arguments',
      'COPY --chown=1 --link a b',
      '2 COPY --chown=1 --link {"sources":["a"],"dest":"b","chown":"1","link":true}',
    ),
    body(
      'quotes go',
      'COPY --chown="a b" --chmod=\'7\'55 a b',
      '2 COPY --chown=a b --chmod=755 {"sources":["a"],"dest":"b","chown":"a b","chmod":"755"}',
    ),
    body('escapes go', 'COPY --chown=a\\ b a b', '2 COPY --chown=a b {"sources":["a"],"dest":"b","chown":"a b"}'),
    body('a bare -- ends them', 'COPY -- --a --b', '2 COPY {"sources":["--a"],"dest":"--b"}'),
    body(
      'after the first argument they are arguments',
      'COPY a --link b',
      '2 COPY {"sources":["a","--link"],"dest":"b"}',
    ),
    body('one dash is an argument', 'COPY -a b', '2 COPY {"sources":["-a"],"dest":"b"}'),
    body(
      'over several lines',
      'COPY --link \\\n  --chown=1 \\\n  a b',
      '2-4 COPY --link --chown=1 {"sources":["a"],"dest":"b","chown":"1","link":true}',
    ),
    body('true, in any case', 'COPY --link=TRUE a b', '2 COPY --link=TRUE {"sources":["a"],"dest":"b","link":true}'),
    body('false', 'COPY --link=false a b', '2 COPY --link=false {"sources":["a"],"dest":"b"}'),
    body(
      'exclude several times',
      'COPY --exclude=a --exclude=b c d',
      '2 COPY --exclude=a --exclude=b {"sources":["c"],"dest":"d","exclude":["a","b"]}',
    ),
    body(
      'mount several times',
      'RUN --mount=type=ssh --mount=type=tmpfs,target=/t a',
      '2 RUN --mount=type=ssh --mount=type=tmpfs,target=/t {"shell":"a"}',
    ),
    refused('a flag with = and nothing', 'COPY --link= a b'),
    refused('a flag of yes and no with something else', 'COPY --link=maybe a b'),
    refused('a value that is missing', 'COPY --chown a b'),
    refused('twice', 'COPY --chown=1 --chown=2 a b'),
    refused('unknown', 'COPY --chonw=1 a b'),
    refused('a flag of another instruction', 'RUN --chown=1 a'),
    refused('a flag in upper case', 'COPY --LINK a b'),
    refused('flags where none are known', 'WORKDIR --x /a'),
    body('flags of ARG are not looked at', 'ARG --x=1 a', '2 ARG --x=1 {"args":["a"]}'),
  ],
  'JSON form': [
    body('an array of strings', 'CMD ["a", "b c"]', '2 CMD {"exec":["a","b c"]}'),
    body('escapes of JSON', 'CMD ["\\u0041\\n\\"", "\\\\"]', '2 CMD {"exec":["A\\n\\"","\\\\"]}'),
    body('blanks before and after', 'CMD   [ "a" ]  ', '2 CMD {"exec":["a"]}'),
    body('over several lines', 'CMD ["a", \\\n  "b"]', '2-3 CMD {"exec":["a","b"]}'),
    body('nothing in it', 'ENTRYPOINT []', '2 ENTRYPOINT {"exec":[]}'),
    body('single quotes make a shell form', "CMD ['a']", `2 CMD {"shell":"['a']"}`),
    body('a comma at the end makes a shell form', 'CMD ["a",]', '2 CMD {"shell":"[\\"a\\",]"}'),
    body('something behind it makes a shell form', 'CMD ["a"] b', '2 CMD {"shell":"[\\"a\\"] b"}'),
    body('not closed makes a shell form', 'CMD ["a"', '2 CMD {"shell":"[\\"a\\""}'),
    body('COPY takes blanks in names', 'COPY ["a b", "c d/"]', '2 COPY {"sources":["a b"],"dest":"c d/"}'),
    body('VOLUME', 'VOLUME ["/a b", "/c"]', '2 VOLUME {"paths":["/a b","/c"]}'),
    refused('numbers in it', 'CMD ["a", 1]'),
    refused('null in it', 'RUN ["a", null]'),
    refused('arrays in it', 'COPY ["a", ["b"]]'),
  ],
  'ENV and LABEL': [
    body('several pairs', 'ENV a=1 b=2', '2 ENV {"pairs":[["a","1"],["b","2"]]}'),
    body(
      'quotes stay for the expansion',
      'ENV a="x y" b=\'z w\'',
      '2 ENV {"pairs":[["a","\\"x y\\""],["b","\'z w\'"]]}',
    ),
    body('escaped blanks', 'ENV a=x\\ y b=z', '2 ENV {"pairs":[["a","x\\\\ y"],["b","z"]]}'),
    body('a value that is empty', 'ENV a= b=""', '2 ENV {"pairs":[["a",""],["b","\\"\\""]]}'),
    body('= in the value', 'ENV a=b=c', '2 ENV {"pairs":[["a","b=c"]]}'),
    body('legacy: everything behind the name', 'ENV a x = y', '2 ENV {"pairs":[["a","x = y"]],"legacy":true}'),
    body('legacy: = in a later word', 'LABEL a b=c d', '2 LABEL {"pairs":[["a","b=c d"]],"legacy":true}'),
    body('a quoted name', 'LABEL "a b"=c', '2 LABEL {"pairs":[["\\"a b\\"","c"]]}'),
    body('over several lines', 'ENV a=1 \\\n    b=2', '2-3 ENV {"pairs":[["a","1"],["b","2"]]}'),
    refused('a later word without =', 'ENV a=b c'),
    refused('a name alone', 'ENV a'),
    refused('no name', 'ENV =b'),
    refused('nothing', 'LABEL'),
  ],
  ARG: [
    body('several', 'ARG a b=1 c=', '2 ARG {"args":["a","b=1","c="]}'),
    body('quoted', 'ARG a="x y" b', '2 ARG {"args":["a=\\"x y\\"","b"]}'),
    { name: 'before FROM', text: 'ARG a=1 b\nFROM $a', is: ['1 ARG {"args":["a=1","b"]}', '2 FROM {"image":"$a"}'] },
    refused('no name', 'ARG =1'),
    refused('nothing', 'ARG'),
  ],
  EXPOSE: [
    body(
      'ports in the order of their text',
      'EXPOSE 80 443/tcp 53/udp',
      '2 EXPOSE {"ports":["443/tcp","53/udp","80"]}',
    ),
    body('ranges and variables as they stand', 'EXPOSE 8000-8010 $a', '2 EXPOSE {"ports":["$a","8000-8010"]}'),
    refused('nothing', 'EXPOSE'),
  ],
  HEALTHCHECK: [
    body('NONE', 'HEALTHCHECK none', '2 HEALTHCHECK {"test":["NONE"]}'),
    body('CMD in the shell', 'HEALTHCHECK CMD a  b', '2 HEALTHCHECK {"test":["CMD-SHELL","a  b"]}'),
    body('CMD in JSON', 'HEALTHCHECK cmd ["a"]', '2 HEALTHCHECK {"test":["CMD","a"]}'),
    body(
      'all times in nanoseconds',
      'HEALTHCHECK --interval=1m30s --timeout=1.5s --start-period=1h --start-interval=1ms --retries=3 CMD a',
      '2 HEALTHCHECK --interval=1m30s --timeout=1.5s --start-period=1h --start-interval=1ms --retries=3 ' +
        '{"test":["CMD-SHELL","a"],"interval":90000000000,"timeout":1500000000,"startPeriod":3600000000000,"startInterval":1000000,"retries":3}',
    ),
    body(
      '0 is no time',
      'HEALTHCHECK --interval=0 --retries=0 CMD a',
      '2 HEALTHCHECK --interval=0 --retries=0 {"test":["CMD-SHELL","a"]}',
    ),
    body(
      'nor is nothing',
      'HEALTHCHECK --interval= --retries= CMD a',
      '2 HEALTHCHECK --interval= --retries= {"test":["CMD-SHELL","a"]}',
    ),
    refused('shorter than a millisecond', 'HEALTHCHECK --interval=999us CMD a'),
    refused('a number without unit', 'HEALTHCHECK --timeout=5 CMD a'),
    refused('negative retries', 'HEALTHCHECK --retries=-1 CMD a'),
    refused('NONE with more', 'HEALTHCHECK NONE a'),
    refused('CMD with nothing', 'HEALTHCHECK CMD'),
    refused('another word', 'HEALTHCHECK RUN a'),
    refused('nothing', 'HEALTHCHECK'),
  ],
  SHELL: [
    body('JSON', 'SHELL ["/bin/bash", "-c"]', '2 SHELL {"shell":["/bin/bash","-c"]}'),
    refused('words', 'SHELL /bin/bash -c'),
    refused('nothing in the array', 'SHELL []'),
  ],
  ONBUILD: [
    body('keeps the text', 'ONBUILD RUN a  b', '2 ONBUILD {"trigger":"RUN a  b"}'),
    body('in any case', 'onbuild copy a b', '2 onbuild {"trigger":"copy a b"}'),
    body('continuations are joined', 'ONBUILD RUN a \\\n b', '2-3 ONBUILD {"trigger":"RUN a  b"}'),
    body('heredocs are kept', 'ONBUILD COPY <<E /x\na\nE', '2-4 ONBUILD {"trigger":"COPY <<E /x\\na\\nE"} <<E "a\\n"'),
    refused('in another', 'ONBUILD ONBUILD RUN a'),
    refused('FROM', 'ONBUILD FROM a'),
    refused('MAINTAINER', 'ONBUILD MAINTAINER a'),
    refused('nothing', 'ONBUILD'),
    refused('an error of form in it', 'ONBUILD ENV a'),
    { ...refused('an unknown instruction in it', 'ONBUILD RUNN a'), apart: true },
  ],
  'stage names': [
    { name: 'are kept in lower case', text: 'FROM scratch AS Build', is: ['1 FROM {"image":"scratch","as":"build"}'] },
    { name: 'AS in any case', text: 'FROM scratch aS b', is: ['1 FROM {"image":"scratch","as":"b"}'] },
    { name: 'hold digits and - _ .', text: 'FROM scratch AS a1-_.', is: ['1 FROM {"image":"scratch","as":"a1-_."}'] },
    {
      name: 'with a platform',
      text: 'FROM --platform=linux/arm64 scratch AS a',
      is: ['1 FROM --platform=linux/arm64 {"image":"scratch","as":"a","platform":"linux/arm64"}'],
    },
    { name: 'do not begin with a digit', text: 'FROM scratch AS 1a', is: 1 },
    { name: 'hold no variables', text: 'FROM scratch AS $a', is: 1 },
    { name: 'hold no slash', text: 'FROM scratch AS a/b', is: 1 },
    { name: 'are one word', text: 'FROM scratch AS a b', is: 1 },
    { name: 'AS without a name', text: 'FROM scratch AS', is: 1 },
    { name: 'another word than AS', text: 'FROM scratch IS a', is: 1 },
    { name: 'FROM without an image', text: 'FROM', is: 1 },
  ],
  'STOPSIGNAL, USER, VOLUME, WORKDIR, MAINTAINER, CMD, ENTRYPOINT': [
    body('STOPSIGNAL', 'STOPSIGNAL SIGTERM', '2 STOPSIGNAL {"signal":"SIGTERM"}'),
    body('USER takes the whole line', 'USER a b', '2 USER {"user":"a b"}'),
    body('VOLUME takes words', 'VOLUME /a /b', '2 VOLUME {"paths":["/a","/b"]}'),
    body('WORKDIR takes the whole line', 'WORKDIR /a b', '2 WORKDIR {"path":"/a b"}'),
    body('MAINTAINER takes the whole line', 'MAINTAINER A B <a@b>', '2 MAINTAINER {"name":"A B <a@b>"}'),
    body('CMD of nothing', 'CMD', '2 CMD {"shell":""}'),
    body('ENTRYPOINT', 'ENTRYPOINT a "b c"', '2 ENTRYPOINT {"shell":"a \\"b c\\""}'),
    body('RUN of nothing', 'RUN', '2 RUN {"shell":""}'),
    ...['STOPSIGNAL', 'USER', 'VOLUME', 'WORKDIR', 'MAINTAINER', 'SHELL', 'COPY', 'ADD', 'COPY a'].map(text =>
      refused(`${text} alone`, text),
    ),
    refused('VOLUME with an empty path', 'VOLUME ["/a", " "]'),
  ],
  heredocs: [
    body('a file', 'COPY <<E /x\na\n b\nE', '2-5 COPY {"files":[["E","a\\n b\\n",true]],"dest":"/x"} <<E "a\\n b\\n"'),
    body('of nothing', 'COPY <<E /x\nE', '2-3 COPY {"files":[["E","",true]],"dest":"/x"} <<E ""'),
    body(
      'single quotes: nothing is expanded',
      "COPY <<'E' /x\n$a\nE",
      `2-4 COPY {"files":[["E","$a\\n",false]],"dest":"/x"} <<'E' "$a\\n"`,
    ),
    body(
      'double quotes: the same',
      'ADD <<"E" /x\n$a\nE',
      `2-4 ADD {"files":[["E","$a\\n",false]],"dest":"/x"} <<'E' "$a\\n"`,
    ),
    body(
      '<<- takes leading tabs',
      'COPY <<-E /x\n\ta\n\t\tb\n  c\n\tE',
      '2-6 COPY {"files":[["E","a\\nb\\n  c\\n",true]],"dest":"/x"} <<-E "\\ta\\n\\t\\tb\\n  c\\n"',
    ),
    body(
      'several on a line',
      'COPY <<A <<B c /d/\n1\nA\n2\nB',
      '2-6 COPY {"sources":["c"],"files":[["A","1\\n",true],["B","2\\n",true]],"dest":"/d/"} <<A "1\\n" <<B "2\\n"',
    ),
    body('RUN keeps the line', 'RUN cat <<E >f\na\nE', '2-4 RUN {"shell":"cat <<E >f"} <<E "a\\n"'),
    body('a file descriptor', 'RUN 3<<E cat\na\nE', '2-4 RUN {"shell":"3<<E cat"} 3<<E "a\\n"'),
    body('blanks before the delimiter', 'RUN cat << E\na\nE', '2-4 RUN {"shell":"cat << E"} <<E "a\\n"'),
    body('the terminator is the whole line', 'RUN <<E\n E\nE \nE', '2-5 RUN {"shell":"<<E"} <<E " E\\nE \\n"'),
    body(
      'carriage returns stay in the text and not in the terminator',
      'COPY <<E /x\r\na\r\nE\r',
      '2-4 COPY {"files":[["E","a\\r\\n",true]],"dest":"/x"} <<E "a\\r\\n"',
    ),
    body(
      'a backslash at the end of a line is text',
      'RUN <<E\na \\\nb\nE',
      '2-5 RUN {"shell":"<<E"} <<E "a \\\\\\nb\\n"',
    ),
    {
      name: 'always with a backslash, whatever escape says',
      text: '# escape=`\nFROM scratch\nRUN <<\\E\na\nE',
      is: ['3-5 RUN {"shell":"<<\\\\E"} <<E "a\\n"'],
    },
    body('not in the JSON form', 'RUN ["cat", "<<E"]', '2 RUN {"exec":["cat","<<E"]}'),
    body('not in CMD', 'CMD cat <<E', '2 CMD {"shell":"cat <<E"}'),
    body('not in quotes', "RUN echo '<<E'", `2 RUN {"shell":"echo '<<E'"}`),
    body('<<< is none', 'RUN cat <<<E', '2 RUN {"shell":"cat <<<E"}'),
    refused('without its end', 'COPY <<E /x\na'),
    refused('with blanks before its end', 'COPY <<E /x\na\n E'),
    refused('as destination', 'COPY a <<E\nE'),
  ],
}

for (const [row, vectors] of Object.entries(ROWS))
  describe(`parser: ${row}`, () => {
    test.each(vectors.map(one => [one.name, one] as const))('%s', (_, { text, is }) => {
      const found = outcome(text)
      expect(Array.isArray(found) && Array.isArray(is) && found.length > is.length ? found.slice(1) : found).toEqual(is)
    })
  })

/** The outline, or the line of the refusal. */
function outcome(text: string): unknown {
  try {
    return outline(parseDockerfile(text, 'Dockerfile'))
  } catch (error) {
    if (isArchimageError(error)) return error.place?.line
    throw error
  }
}

requirePeers('dockerfile-oracle')('parser: BuildKit agrees with every vector', async () => {
  const vectors = Object.values(ROWS).flat()
  const answers = await askBuildKit(vectors.map(({ text }) => ({ ask: 'parse', dockerfile: text })))
  const wrong = vectors.flatMap(({ name, text, is, apart }, i) => {
    const answer = answers[i]!
    const theirs = answer.error === undefined ? outlineOfAnswer(answer) : (answer.lines ?? [])
    const same =
      typeof is === 'number'
        ? answer.error !== undefined && answer.lines!.includes(is)
        : answer.error === undefined && theirs.slice(theirs.length > is.length ? 1 : 0).join('\n') === is.join('\n')
    return same === (apart !== true) ? [] : [{ name, text, is, theirs, error: answer.error }]
  })
  expect(wrong).toEqual([])
})
