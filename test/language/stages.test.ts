import { config, env, history, labels, testRows } from './meaning.ts'

testRows('stages', {
  'that nobody needs': [
    {
      name: 'are not looked at',
      text: 'FROM missing AS unused\nCOPY a /\nFROM scratch\nUSER 1\n',
      is: config({ User: '1' }),
    },
    {
      name: 'not even what is wrong in them',
      text: 'FROM scratch AS unused\nEXPOSE x\nFROM scratch\nUSER 1\n',
      is: config({ User: '1' }),
    },
    {
      name: 'before the target',
      text: 'FROM missing AS unused\nFROM scratch AS t\nUSER 1\nFROM missing\n',
      target: 't',
      is: config({ User: '1' }),
    },
    { name: 'but their form is', text: 'FROM scratch AS unused\nENV a\nFROM scratch\n', is: 2 },
  ],
  'are found': [
    {
      name: '--target in any case',
      text: 'FROM scratch AS One\nUSER 1\nFROM scratch\n',
      target: 'oNE',
      is: config({ User: '1' }),
    },
    {
      name: '--target: of several the last',
      text: 'FROM scratch AS a\nUSER 1\nFROM scratch AS a\nUSER 2\nFROM scratch\n',
      target: 'a',
      is: config({ User: '2' }),
    },
    { name: 'no target: the last', text: 'FROM scratch AS a\nFROM scratch AS b\nUSER 1\n', is: config({ User: '1' }) },
    { name: 'a target that is none', text: 'FROM scratch AS a\n', target: 'b', is: Number.NaN },
    {
      name: 'FROM: by the name in lower case',
      text: 'FROM scratch AS One\nUSER 1\nFROM one\nCMD ["a"]\n',
      is: config({ User: '1' }),
    },
    { name: 'FROM: not in another case', text: 'FROM scratch AS One\nFROM One\n', is: 2 },
    {
      name: 'FROM: the nearest above',
      text: 'FROM scratch AS a\nUSER 1\nFROM a AS a\nCMD ["c"]\nFROM a\n',
      is: config({ User: '1', Cmd: ['c'] }),
    },
    {
      name: 'FROM: never one below',
      text: 'FROM base\nFROM scratch AS base\n',
      target: 'base',
      is: config({ WorkingDir: '/' }),
    },
    { name: 'FROM: no index', text: 'FROM scratch\nFROM 0\n', is: 2 },
    {
      name: 'COPY --from in any case',
      text: 'FROM scratch AS One\nWORKDIR /a\nFROM scratch\nCOPY --from=ONE /a /b\n',
      is: history('COPY /a /b # buildkit'),
    },
    {
      name: 'COPY --from by index',
      text: 'FROM scratch\nWORKDIR /a\nFROM scratch\nCOPY --from=0 /a /b\n',
      is: history('COPY /a /b # buildkit'),
      ops: [['mkdir', '/a', ':']],
    },
    {
      name: 'COPY --from an index that no stage has',
      text: 'FROM scratch\nFROM scratch\nCOPY --from=7 /a /b\n',
      is: 3,
    },
    { name: 'COPY --from a negative index', text: 'FROM scratch\nCOPY --from=-1 /a /b\n', is: 2 },
    {
      name: 'COPY --from an image',
      text: 'FROM scratch\nCOPY --from=base /a /b\n',
      is: history('COPY /a /b # buildkit'),
    },
    { name: 'COPY --from an image that is not there', text: 'FROM scratch\nCOPY --from=missing /a /b\n', is: 2 },
    {
      name: 'COPY --from a stage below',
      text: 'FROM scratch AS a\nCOPY --from=b /a /b\nFROM scratch AS b\n',
      target: 'a',
      is: 2,
    },
    {
      name: 'RUN --mount from a stage',
      text: 'FROM scratch AS One\nFROM base\nRUN --mount=from=ONE,target=/m x\n',
      is: {},
    },
    { name: 'RUN --mount from: no index', text: 'FROM scratch\nFROM base\nRUN --mount=from=0,target=/m x\n', is: 3 },
    { name: 'RUN --mount from an image', text: 'FROM scratch\nRUN --mount=from=base,target=/m x\n', is: {} },
    {
      name: 'RUN --mount from a stage below',
      text: 'FROM base AS a\nRUN --mount=from=b,target=/m x\nFROM scratch AS b\n',
      target: 'a',
      is: 2,
    },
  ],
  'in circles': [
    {
      name: 'two that copy from each other',
      text: 'FROM scratch AS a\nCOPY --from=b /a /\nFROM scratch AS b\nCOPY --from=a /a /\n',
      is: 4,
    },
    { name: 'one with itself', text: 'FROM scratch AS a\nCOPY --from=a /a /\n', is: 2 },
    {
      name: 'of mounts',
      text: 'FROM base AS a\nRUN --mount=from=b,target=/m x\nFROM base AS b\nCOPY --from=a /a /\n',
      is: 4,
    },
    { name: 'also where nobody needs them', text: 'FROM scratch AS a\nCOPY --from=a /a /\nFROM scratch\n', is: 2 },
  ],
  names: [
    {
      name: 'scratch is nothing, also as the name of a stage',
      text: 'FROM base AS scratch\nUSER 1\nFROM scratch\nCMD ["a"]\n',
      is: config({ User: '1' }),
    },
    {
      name: 'context is a name like others',
      text: 'FROM scratch AS context\nUSER 1\nFROM context\n',
      is: config({ User: '1' }),
    },
    { name: 'no image is called in upper case', text: 'FROM Base\n', is: 1 },
    { name: 'not even where nobody needs it', text: 'FROM Base AS a\nFROM scratch\n', is: 1 },
  ],
  'upon stages': [
    {
      name: 'config and variables are handed on',
      text: 'FROM scratch AS a\nENV A=1\nLABEL l=m\nEXPOSE 1\nFROM a\nENV B=$A\n',
      is: { ...env('A=1', 'B=1'), ...history('ENV A=1', 'LABEL l=m', 'EXPOSE [1/tcp]', 'ENV B=1') },
    },
    {
      name: 'the platform of the stage',
      text: 'FROM --platform=linux/arm64 base AS a\nFROM a\nUSER 1\n',
      is: config({ User: '1' }),
    },
  ],
  ONBUILD: [
    {
      name: 'runs right after FROM',
      text: 'FROM scratch AS dep\nFROM onb\nUSER 1\n',
      is: {
        config: { Labels: undefined, OnBuild: undefined, WorkingDir: '/d' },
        ...history(
          'x',
          'RUN /bin/zsh x $B # buildkit',
          'COPY a /b # buildkit',
          'ENV T=',
          'ARG Q=1',
          'WORKDIR /d',
          'COPY c / # buildkit',
          'USER 1',
        ),
      },
    },
    {
      name: 'of a stage',
      text: 'FROM scratch AS a\nONBUILD USER 1\nONBUILD LABEL l=$A\nENV A=1\nFROM a\n',
      is: {
        ...config({ User: '1', Labels: { l: '1' }, OnBuild: undefined }),
        ...history('ENV A=1', 'USER 1', 'LABEL l=1'),
      },
    },
    {
      name: 'not of the stage below that',
      text: 'FROM scratch AS a\nONBUILD USER 1\nFROM a AS b\nUSER 2\nFROM b\n',
      is: config({ User: '2' }),
    },
    {
      name: 'is no history of its own',
      text: 'FROM scratch\nONBUILD USER 1\nCMD ["a"]\n',
      is: { ...config({ OnBuild: ['USER 1'] }), ...history('CMD ["a"]') },
    },
    {
      name: 'may need other stages',
      text: 'FROM scratch AS dep\nWORKDIR /a\nFROM scratch AS a\nONBUILD COPY --from=dep /a /b\nFROM a\n',
      is: history('COPY /a /b # buildkit'),
      ops: [['mkdir', '/a', ':']],
    },
    {
      name: 'of an image may too',
      text: 'FROM scratch AS dep\nWORKDIR /made\nFROM onb\n',
      is: {},
      ops: [
        ['mkdir', '/made', ':'],
        ['copy', '/c', '/', [], false, '', ':'],
      ],
    },
    { name: 'a mistake in it is at the FROM', text: 'FROM scratch AS a\nONBUILD EXPOSE x\nFROM a\n', is: 3 },
    {
      name: 'heredocs are part of it',
      text: 'FROM scratch AS a\nONBUILD COPY <<E /f\n$A\nE\nENV A=1\nFROM a\n',
      is: history('ENV A=1', 'COPY <<E /f # buildkit'),
      ops: [['file', 'E', '1\n']],
    },
  ],
  'for a platform': [
    {
      name: 'scratch is of the target',
      text: 'FROM --platform=linux/s390x scratch\nUSER 1\n',
      platform: 'linux/arm64',
      is: { architecture: 'arm64', os: 'linux' },
    },
    {
      name: 'with a variant',
      text: 'FROM scratch\nUSER 1\n',
      platform: 'linux/arm/v6',
      is: { architecture: 'arm', variant: 'v6' },
    },
    {
      name: 'the config says what was asked for',
      text: 'FROM base\nUSER 1\n',
      platform: 'linux/riscv64',
      is: { architecture: 'riscv64', os: 'linux' },
    },
    {
      name: 'labels of the command line',
      text: 'FROM scratch\nLABEL a=1 b=2\n',
      labels: { b: '3' },
      is: labels({ a: '1', b: '3' }),
    },
  ],
})
