import { config, env, history, labels, PATH, testRows, type Vector } from './meaning.ts'

const scratch = (name: string, body: string, is: Vector['is'], more: Partial<Vector> = {}): Vector => ({
  name,
  text: `FROM scratch\n${body}\n`,
  is,
  ...more,
})
/** Upon an image with PATH, A, EMPTY, a command, an entrypoint, a folder, a user, labels, a volume, a port, a check, a signal. */
const base = (name: string, body: string, is: Vector['is'], more: Partial<Vector> = {}): Vector => ({
  name,
  text: `FROM base\n${body}\n`,
  is,
  ...more,
})
const A = 'ENV A=x\n'
const last = (line: string): Vector['is'] => history('ENV A=x', line)

testRows('what expands', {
  'ADD and COPY': [
    scratch('sources and destination', `${A}COPY $A/f "$A"g /d/$A`, last('COPY x/f xg /d/x # buildkit'), {
      ops: [
        ['copy', '/x/f', '/d/x', [], false, '', ':'],
        ['copy', '/xg', '/d/x', [], false, '', ':'],
      ],
    }),
    scratch('the JSON form', `${A}COPY ["$A f", "/d"]`, last('COPY x f /d # buildkit')),
    scratch('--chown', `${A}COPY --chown=1:\${B:-2} f /`, last('COPY --chown=1:2 f / # buildkit')),
    scratch('--chmod', 'ENV A=755\nADD --chmod=$A f /', history('ENV A=755', 'ADD --chmod=755 f / # buildkit')),
    scratch('not --exclude', `${A}COPY --exclude=$A f /`, last('COPY f / # buildkit'), {
      ops: [['copy', '/f', '/', ['$A'], false, '', ':']],
    }),
    scratch('not --from', `${A}COPY --from=$A f /`, 3),
    scratch('heredocs', `${A}COPY <<E /f\n$A "$A" \\$A \${B:-y}$C.\nE`, last('COPY <<E /f # buildkit'), {
      ops: [['file', 'E', 'x "x" $A y.\n']],
    }),
    scratch('not quoted heredocs', `${A}COPY <<"E" /f\n$A \\$A\nE`, last('COPY <<E /f # buildkit'), {
      ops: [['file', 'E', '$A \\$A\n']],
    }),
  ],
  'ENV and LABEL': [
    scratch('values', `${A}ENV B=$A-\${A}y C='$A' D="$A" E=\\$A`, env('A=x', 'B=x-xy', 'C=$A', 'D=x', 'E=$A')),
    scratch('names', `${A}ENV N_$A=1`, env('A=x', 'N_x=1')),
    scratch('labels and their names', `${A}LABEL "l $A"="$A b"`, labels({ 'l x': 'x b' })),
    scratch('the legacy form', `${A}ENV B $A  $A`, env('A=x', 'B=x  x')),
    scratch('history has what came out', `${A}LABEL a="$A b"`, last('LABEL a=x b')),
  ],
  'EXPOSE, STOPSIGNAL, USER, VOLUME, WORKDIR, ARG': [
    scratch('EXPOSE, into words', 'ENV A="80 443/udp"\nEXPOSE $A', {
      ...config({ ExposedPorts: { '80/tcp': {}, '443/udp': {} } }),
    }),
    scratch('STOPSIGNAL', 'ENV A=9\nSTOPSIGNAL $A', config({ StopSignal: '9' })),
    scratch('USER', `${A}USER $A:\${B:-1}`, config({ User: 'x:1' })),
    scratch('VOLUME', `${A}VOLUME /$A ["/b"]`, config({ Volumes: { '/x': {}, '[/b]': {} } })),
    scratch('VOLUME in JSON', `${A}VOLUME ["/$A"]`, config({ Volumes: { '/x': {} } })),
    scratch('WORKDIR', `${A}WORKDIR /$A`, config({ WorkingDir: '/x' })),
    scratch('ARG, its value', `${A}ARG B=$A`, last('ARG B=x')),
    scratch('ARG, not its name', `${A}ARG $A=1`, last('ARG $A=1')),
  ],
  'RUN --mount': [
    scratch('its options', `${A}RUN --mount=type=cache,id=$A,target=/$A/c b`, last('RUN /bin/sh -c b # buildkit'), {
      ops: [['run', ['/bin/sh', '-c', 'b'], [PATH, 'A=x'], '/', '', [['cache', '/x/c', '/', 'rw', 'x', 'shared']]]],
    }),
    scratch('not its from', `${A}RUN --mount=from=$A,target=/t b`, 3),
  ],
  'and what does not': [
    scratch('CMD', `${A}CMD $A`, config({ Cmd: ['/bin/sh', '-c', '$A'] })),
    scratch('CMD in JSON', `${A}CMD ["$A"]`, config({ Cmd: ['$A'] })),
    scratch('ENTRYPOINT', `${A}ENTRYPOINT ["$A", "\${A}"]`, config({ Entrypoint: ['$A', '${A}'] })),
    scratch('HEALTHCHECK', `${A}HEALTHCHECK CMD $A`, config({ Healthcheck: { Test: ['CMD-SHELL', '$A'] } })),
    scratch('SHELL', `${A}SHELL ["$A"]`, config({ Shell: ['$A'] })),
    scratch('RUN', `${A}RUN echo $A`, last('RUN /bin/sh -c echo $A # buildkit')),
    scratch('heredocs of RUN', `${A}RUN <<E\necho $A\nE`, last('RUN /bin/sh -c echo $A\n # buildkit')),
    scratch('ONBUILD, until it runs', `${A}ONBUILD LABEL a=$A`, config({ OnBuild: ['LABEL a=$A'] })),
    scratch('MAINTAINER', `${A}MAINTAINER $A`, { author: '$A' }),
  ],
})

testRows('what it makes', {
  PATH: [
    scratch('is always there', 'CMD ["a"]', env()),
    base('is that of the base', 'CMD ["a"]', config({ Env: ['PATH=/bin', 'A=fromBase', 'EMPTY='] })),
    {
      name: 'is put into bases that have none',
      text: 'FROM scratch AS dep\nFROM onb\nUSER 1\n',
      is: config({ Env: ['B=base', PATH, 'T='] }),
    },
    scratch('is not on windows', 'CMD ["a"]', config({ Env: undefined }), { platform: 'windows/amd64' }),
    scratch('can be changed', 'ENV PATH=/x:$PATH', config({ Env: [`PATH=/x:${PATH.slice(5)}`] })),
  ],
  ENV: [
    base('a known name keeps its place', 'ENV A=2 NEW=1', config({ Env: ['PATH=/bin', 'A=2', 'EMPTY=', 'NEW=1'] })),
    scratch('a value is not trimmed', 'ENV A="  b  "', env('A=  b  ')),
  ],
  WORKDIR: [
    scratch('makes the folder, for the user', 'USER 7:8\nWORKDIR /a/b', config({ WorkingDir: '/a/b' }), {
      ops: [['mkdir', '/a/b', '7:8']],
    }),
    scratch('is a layer', 'WORKDIR /a', { history: [{ created_by: 'WORKDIR /a', comment: 'buildkit.dockerfile.v0' }] }),
    scratch('but not the root', 'WORKDIR /', {
      history: [{ created_by: 'WORKDIR /', comment: 'buildkit.dockerfile.v0', empty_layer: true }],
    }),
    scratch('relative ones are joined', 'WORKDIR /a\nWORKDIR b/../c', config({ WorkingDir: '/a/c' })),
    scratch('absolute ones stay as they are written', 'WORKDIR //a/./b', config({ WorkingDir: '//a/./b' })),
    scratch('nothing changes nothing', 'WORKDIR /a\nWORKDIR $B', config({ WorkingDir: '/a' })),
    base('relative to that of the base, cleaned', 'WORKDIR c', config({ WorkingDir: '/w/y/c' })),
    scratch('on windows', 'WORKDIR C:\\\\a\\\\b', config({ WorkingDir: '\\a\\b' }), {
      platform: 'windows/amd64',
      ops: [['mkdir', '/a/b', ':']],
    }),
    scratch('on windows another drive is not there', 'WORKDIR D:\\\\a', 2, { platform: 'windows/amd64' }),
  ],
  'CMD and ENTRYPOINT': [
    scratch('in the shell', 'CMD a  b', config({ Cmd: ['/bin/sh', '-c', 'a  b'], ArgsEscaped: true })),
    scratch('in JSON', 'CMD ["a", "b"]', { ...config({ Cmd: ['a', 'b'] }), ...history('CMD ["a" "b"]') }),
    scratch(
      'in the SHELL of the stage',
      'SHELL ["/bin/bash", "-c"]\nENTRYPOINT a',
      config({ Entrypoint: ['/bin/bash', '-c', 'a'], Shell: ['/bin/bash', '-c'] }),
    ),
    scratch('on windows', 'CMD a', config({ Cmd: ['cmd', '/S', '/C', 'a'], ArgsEscaped: true }), {
      platform: 'windows/amd64',
    }),
    {
      name: 'the shell of the base',
      text: 'FROM win\nCMD a\n',
      platform: 'windows/amd64',
      is: config({ Cmd: ['cmd', '/S', '/C', 'a'] }),
    },
    base('ENTRYPOINT drops the command of the base', 'ENTRYPOINT ["/n"]', {
      config: expectWithout('Cmd', { Entrypoint: ['/n'] }),
    }),
    base('but not one of the stage', 'CMD ["c"]\nENTRYPOINT ["/n"]', config({ Cmd: ['c'], Entrypoint: ['/n'] })),
    base('CMD keeps the entrypoint', 'CMD ["c"]', config({ Cmd: ['c'], Entrypoint: ['/e'] })),
    base('of nothing', 'ENTRYPOINT []', { config: expectWithout('Entrypoint', { StopSignal: 'SIGINT' }) }),
    {
      name: 'a command of the stage below is dropped',
      text: 'FROM scratch AS a\nCMD ["c"]\nFROM a\nENTRYPOINT ["e"]\n',
      is: { config: expectWithout('Cmd', { Entrypoint: ['e'] }) },
    },
  ],
  HEALTHCHECK: [
    scratch('CMD', 'HEALTHCHECK --interval=5s --retries=2 CMD a b', {
      ...config({ Healthcheck: { Test: ['CMD-SHELL', 'a b'], Interval: 5e9, Retries: 2 } }),
      ...history('HEALTHCHECK {Test:[CMD-SHELL a b] Interval:5s Timeout:0s StartPeriod:0s StartInterval:0s Retries:2}'),
    }),
    base('NONE', 'HEALTHCHECK NONE', config({ Healthcheck: { Test: ['NONE'] } })),
    base('that of the base stays', 'USER 1', config({ Healthcheck: { Test: ['CMD', 'x'], Interval: 5 } })),
    base(
      'or goes as a whole',
      'HEALTHCHECK --retries=1 CMD ["b"]',
      config({ Healthcheck: { Test: ['CMD', 'b'], Retries: 1 } }),
    ),
  ],
  EXPOSE: [
    scratch(
      'protocols in lower case, tcp without one',
      'EXPOSE 1 2/UDP 3/sctp',
      config({ ExposedPorts: { '1/tcp': {}, '2/udp': {}, '3/sctp': {} } }),
    ),
    scratch(
      'ranges',
      'EXPOSE 8000-8002/udp',
      config({ ExposedPorts: { '8000/udp': {}, '8001/udp': {}, '8002/udp': {} } }),
    ),
    scratch('in the order of the text, numbers as text', 'EXPOSE 80 443', history('EXPOSE [443/tcp 80/tcp]')),
    scratch('ports of the host are dropped', 'EXPOSE 8080:80', config({ ExposedPorts: { '80/tcp': {} } })),
    scratch(
      'so are addresses',
      'EXPOSE 127.0.0.1:8080:80/udp [::1]:1:2',
      config({ ExposedPorts: { '80/udp': {}, '2/tcp': {} } }),
    ),
    base('those of the base stay', 'EXPOSE 2', config({ ExposedPorts: { '1/tcp': {}, '2/tcp': {} } })),
    ...['65536', '3-1', 'a', '80/x', '/tcp', '300.0.0.1:1:2', '1-3:4-5', '-1'].map(port =>
      scratch(`not ${port}`, `EXPOSE ${port}`, 2),
    ),
  ],
  'STOPSIGNAL, USER, VOLUME, LABEL, MAINTAINER, SHELL': [
    ...['SIGTERM', 'TERM', '9', 'sigkill', 'RTMIN+3', 'SIGRTMAX-14'].map(signal =>
      scratch(`signal ${signal}`, `STOPSIGNAL ${signal}`, config({ StopSignal: signal })),
    ),
    ...['x', '0', 'SIGNOPE', 'RTMAX-15', '$B'].map(signal => scratch(`no signal ${signal}`, `STOPSIGNAL ${signal}`, 2)),
    scratch('USER', 'USER a:b', { ...config({ User: 'a:b' }), ...history('USER a:b') }),
    base('VOLUME adds', 'VOLUME /w ["/z"]', config({ Volumes: { '/v': {}, '/w': {} } })),
    base('LABEL adds and replaces', 'LABEL b=new d=e', labels({ b: 'new', d: 'e' })),
    base('--label comes last', 'LABEL b=new', labels({ b: 'c', x: 'y' }), { labels: { b: 'c', x: 'y' } }),
    scratch('MAINTAINER', 'MAINTAINER A <a@b>', { author: 'A <a@b>', ...history('MAINTAINER A <a@b>') }),
    scratch('SHELL', 'SHELL ["a", "b c"]', { ...config({ Shell: ['a', 'b c'] }), ...history('SHELL [a b c]') }),
  ],
  RUN: [
    scratch('in the shell', 'RUN a b', history('RUN /bin/sh -c a b # buildkit'), {
      ops: [['run', ['/bin/sh', '-c', 'a b'], [PATH], '/', '', []]],
    }),
    scratch('in JSON', 'RUN ["a", "b c"]', history('RUN a b c # buildkit'), {
      ops: [['run', ['a', 'b c'], [PATH], '/', '', []]],
    }),
    scratch(
      'as a user, in a folder',
      'USER 7\nWORKDIR /w\nRUN a',
      {},
      { ops: [['run', ['/bin/sh', '-c', 'a'], [PATH], '/w', '7', []]] },
    ),
    scratch(
      'arguments are in its history, in the order of their lines',
      'ARG B=1\nARG A=2\nENV B=3\nRUN x',
      history('ARG B=1', 'ARG A=2', 'ENV B=3', 'RUN |2 B=3 A=2 /bin/sh -c x # buildkit'),
    ),
    scratch('a heredoc is the script', 'RUN <<E\na\nb\nE', history('RUN /bin/sh -c a\nb\n # buildkit')),
    scratch(
      'one that begins with #! is run',
      'RUN <<E\n#!/bin/x\na\nE',
      history('RUN /bin/sh -c /dev/pipes/E # buildkit'),
      { ops: [['file', 'E', '#!/bin/x\na\n']] },
    ),
    scratch('not on windows', 'RUN <<E\n#!/bin/x\nE', history('RUN cmd /S /C #!/bin/x\n # buildkit'), {
      platform: 'windows/amd64',
    }),
    scratch(
      'a line with heredocs is put together again',
      'RUN cat <<A <<-B\n1\nA\n\t2\n\tB',
      history('RUN /bin/sh -c cat <<A <<-B\n1\nA\n\t2\nB # buildkit'),
    ),
    scratch('of nothing', 'RUN []', 2),
    ...[
      'network=x',
      'security=x',
      'mount=type=x',
      'mount=',
      'mount=type=bind',
      'mount=type=cache,target=/',
      'mount=type=secret',
      'mount=type=tmpfs,target=/a,size=x',
      'mount=target=/a,nope=1',
    ].map(flag => scratch(`not --${flag}`, `RUN --${flag} x`, 2)),
  ],
  'COPY and ADD': [
    scratch(
      'a destination with a slash is a folder',
      'WORKDIR /w\nCOPY f d/',
      {},
      { ops: [['copy', '/f', '/w/d/', [], false, '', ':']] },
    ),
    scratch('. is the folder', 'WORKDIR /w\nCOPY f .', {}, { ops: [['copy', '/f', '/w/', [], false, '', ':']] }),
    scratch('/. stays', 'COPY f /d/.', {}, { ops: [['copy', '/f', '/d/.', [], false, '', ':']] }),
    scratch(
      'sources above the context are in it',
      'COPY ../../f /',
      {},
      { ops: [['copy', '/f', '/', [], false, '', ':']] },
    ),
    scratch(
      'ADD unpacks',
      'ADD a b /',
      {},
      {
        ops: [
          ['copy', '/a', '/', [], true, '', ':'],
          ['copy', '/b', '/', [], true, '', ':'],
        ],
      },
    ),
    scratch(
      'unless it is told not to',
      'ADD --unpack=false a /',
      {},
      { ops: [['copy', '/a', '/', [], false, '', ':']] },
    ),
    scratch('--chmod octal', 'COPY --chmod=0755 a /', history('COPY --chmod=0755 a / # buildkit'), {
      ops: [['copy', '/a', '/', [], false, 0o755, ':']],
    }),
    scratch(
      '--chmod symbolic',
      'COPY --chmod=u=rwX,go=rX a /',
      {},
      { ops: [['copy', '/a', '/', [], false, 'u=rwX,go=rX', ':']] },
    ),
    scratch('--chmod up to 7777', 'COPY --chmod=7777 a /', {}, { ops: [['copy', '/a', '/', [], false, 0o7777, ':']] }),
    ...['10000', '8', 'u', 'rwx', 'u=q', '-1', '0x1'].map(mode =>
      scratch(`not --chmod=${mode}`, `COPY --chmod=${mode} a /`, 2),
    ),
    scratch(
      '--chown by number and by name',
      'COPY --chown=root:grp a /',
      history('COPY --chown=root:grp a / # buildkit'),
      { ops: [['copy', '/a', '/', [], false, '', '0:grp']], apart: true, is: 2 } as never,
    ),
    base(
      '--chown by name upon an image',
      'COPY --chown=root:grp a /',
      {},
      { ops: [['copy', '/a', '/', [], false, '', '0:grp']] },
    ),
    scratch(
      '--link and --exclude leave no trace in the history',
      'COPY --link --exclude=b a /',
      history('COPY a / # buildkit'),
    ),
    scratch('--parents does', 'COPY --parents a/./b c /', history('COPY --parents a/./b c / # buildkit')),
    scratch('several heredocs', 'COPY <<A <<B c /d/\n1\nA\n2\nB', history('COPY c <<A <<B /d/ # buildkit'), {
      ops: [
        ['copy', '/c', '/d/', [], false, '', ':'],
        ['file', 'A', '1\n'],
        ['copy file', 'B', '/d/', '', ':'],
      ],
    }),
    scratch('COPY takes no URL', 'COPY https://example.com/a /', 2),
    scratch('COPY takes no repository', 'COPY https://example.com/a.git /', 2),
    scratch('--checksum needs a remote source', 'ADD --checksum=sha256:0 a /', 2),
  ],
})

function expectWithout(field: string, part: Readonly<Record<string, unknown>>): unknown {
  return { ...part, [field]: undefined }
}
