import { describe, expect, test } from 'bun:test'
import { buildPlatform } from '../../oci/platform.ts'
import type { LintOptions } from '../lint.ts'
import { found, lintExample } from '../testing/lint-example.ts'

const only = (rule: string, list: readonly string[]): string[] =>
  list.filter(one => one.startsWith(`${rule}:`)).map(one => one.slice(rule.length + 1))

/** Dockerfiles and the lines at which the rule is broken, `LINE on PLATFORM` where not on all. */
function table(
  rule: string,
  rows: readonly (readonly [name: string, dockerfile: string, ...lines: string[]])[],
  platforms?: string[],
  more?: LintOptions,
): void {
  test.each(rows.map(row => [row[0], row] as const))('%s', (_, [, dockerfile, ...lines]) => {
    expect(only(rule, found(dockerfile, platforms, more))).toEqual(lines)
  })
}

describe('AutomaticArgShadowed', () => {
  table('AutomaticArgShadowed', [
    ['a constant', 'FROM scratch\nARG TARGETARCH=amd64\n', '2'],
    ['a constant before FROM', 'ARG TARGETPLATFORM=linux/arm64\nFROM scratch\n', '1'],
    ['for who builds without BuildKit', 'ARG BUILDPLATFORM=linux/amd64\nFROM --platform=$BUILDPLATFORM scratch\n', '1'],
    ['among others', 'FROM scratch\nARG VERSION=1 TARGETARCH="amd64" X\n', '2'],
    [
      'it names itself, where it is not set yet',
      'FROM scratch\nARG TARGETARCH=${TARGETARCH:-amd64}\n',
      '2 on linux/arm64',
    ],
    ['it names itself before FROM, where it is set', 'ARG TARGETARCH=${TARGETARCH:-amd64}\nFROM scratch\n'],
    ['it names itself after it was declared', 'FROM scratch\nARG TARGETARCH\nARG TARGETARCH=${TARGETARCH:-amd64}\n'],
    ['an operating system that is the right one', 'FROM scratch\nARG TARGETOS=linux\n'],
    ['without a default', 'FROM scratch\nARG TARGETARCH TARGETOS\n'],
    ['another name', 'FROM scratch\nARG TARGET_ARCH=amd64x\nARG TARGETSTAGE=prod\n'],
  ])
  table(
    'AutomaticArgShadowed',
    [
      ['an empty variant', 'FROM scratch\nARG TARGETVARIANT=\n', '2 on linux/arm/v7'],
      ['another operating system', 'FROM scratch\nARG TARGETOS=linux\n', '2 on windows/amd64'],
    ],
    ['linux/amd64', 'linux/arm/v7', 'windows/amd64'],
  )
  table('AutomaticArgShadowed', [['given on the command line', 'FROM scratch\nARG TARGETARCH=amd64\n']], ['amd64'], {
    args: { TARGETARCH: 'arm64' },
  })
})

describe('FinalStagePinned', () => {
  const other = buildPlatform().architecture === 'amd64' ? 'linux/arm64' : 'linux/amd64'
  table('FinalStagePinned', [
    ['the build platform', 'FROM --platform=$BUILDPLATFORM alpine\n', `1 on ${other}`],
    ['a constant', 'FROM --platform=linux/amd64 alpine\n', '1 on linux/arm64'],
    [
      'through another stage',
      'FROM --platform=$BUILDPLATFORM alpine AS base\nFROM scratch\nFROM base\n',
      `1 on ${other}`,
    ],
    ['a stage that is copied from', 'FROM --platform=$BUILDPLATFORM alpine AS a\nFROM alpine\nCOPY --from=a /a /a\n'],
    ['nothing but files', 'FROM --platform=$BUILDPLATFORM scratch\nCOPY a /a\n'],
    ['the target platform', 'FROM --platform=$TARGETPLATFORM alpine\n'],
    ['the target platform in parts', 'FROM --platform=$TARGETOS/$TARGETARCH alpine\n'],
    ['skipped', '# check=skip=FinalStagePinned\nFROM --platform=$BUILDPLATFORM alpine\n'],
  ])
  table('FinalStagePinned', [['with a reason', 'FROM --platform=linux/amd64 alpine\n']], ['amd64', 'arm64'], {
    platformException: 'firmware for another machine',
  })
  table('FinalStagePinned', [['another target', 'FROM alpine AS a\nFROM --platform=linux/amd64 alpine\n']], ['arm64'], {
    target: 'a',
  })
  table('FinalStagePinned', [['a lower variant', 'FROM --platform=linux/arm/v6 alpine\n']], ['linux/arm/v7'])
})

describe('CacheMountWithoutPlatform', () => {
  const run = (mount: string, from = 'FROM debian:12'): string =>
    `${from}\nARG TARGETPLATFORM ID=x\nRUN --mount=type=cache,${mount} true\n`
  table('CacheMountWithoutPlatform', [
    ['apt', run('target=/var/lib/apt,sharing=locked'), '3'],
    ['a folder of objects', run('target=/src/target'), '3'],
    ['with an id', run('id=objects,target=/src/obj'), '3'],
    ['private', run('target=/build,sharing=private'), '3'],
    [
      'two of them',
      'FROM a\nRUN --mount=type=cache,target=/var/cache/apt --mount=type=cache,target=/var/lib/apt x\n',
      '2',
      '2',
    ],
    ['the platform in the id', run('id=apt-$TARGETPLATFORM,target=/var/lib/apt')],
    ['some variable in the id', run('id=${ID}-apt,target=/var/lib/apt')],
    ['some variable in the target', run('target=/cache/$TARGETPLATFORM')],
    ['in a stage of the build platform', run('target=/src/target', 'FROM --platform=$BUILDPLATFORM rust:1')],
    ['in a stage upon one', `FROM --platform=$BUILDPLATFORM rust:1 AS a\n${run('target=/src/target', 'FROM a')}`],
    ['Go', run('target=/go/pkg/mod')],
    ["Go's compiler", run('target=/root/.cache/go-build')],
    ['npm', run('target=/root/.npm')],
    ['pip', run('target=/root/.cache/pip')],
    ["cargo's registry", run('target=/usr/local/cargo/registry')],
    ['yarn', run('target=/usr/local/share/.cache/yarn')],
    ['pnpm', run('id=pnpm,target=/pnpm/store')],
    ['Maven', run('target=/root/.m2')],
    ['Gradle', run('target=/home/gradle/.gradle/caches')],
    ['NuGet', run('id=nuget,target=/root/.nuget/packages')],
    ['not a cache', 'FROM a\nRUN --mount=type=bind,target=/src --mount=type=tmpfs,target=/tmp true\n'],
    ['skipped in place', 'FROM a\n# check=skip=CacheMountWithoutPlatform\nRUN --mount=type=cache,target=/x true\n'],
  ])
  table('CacheMountWithoutPlatform', [['for one platform only', run('target=/var/lib/apt')]], ['linux/arm64'])
})

describe('HardcodedArchitecture', () => {
  table('HardcodedArchitecture', [
    ['ADD of a URL', 'FROM a\nADD https://example.com/tini-amd64 /tini\n', '2 on linux/arm64'],
    ['the other one', 'FROM a\nADD https://example.com/tini-arm64 /tini\n', '2 on linux/amd64'],
    ['curl', 'FROM a\nRUN curl -fsSL https://example.com/v1/tool_Linux_x86_64.tar.gz | tar -xz\n', '2 on linux/arm64'],
    [
      'wget in a long RUN',
      'FROM a\nRUN apt-get update \\\n  && apt-get install -y wget \\\n  && wget -q https://dl.example.com/pkg_1.0_amd64.deb \\\n  && dpkg -i pkg_1.0_amd64.deb \\\n  && rm pkg_1.0_amd64.deb\n',
      '2 on linux/arm64',
    ],
    [
      'miniconda',
      'FROM a\nRUN wget https://repo.example.com/Miniconda3-latest-Linux-x86_64.sh -O ~/m.sh\n',
      '2 on linux/arm64',
    ],
    ['node', 'FROM a\nRUN curl https://example.com/node-v22.0.0-linux-x64.tar.xz | tar -xJ\n', '2 on linux/arm64'],
    ['a driver', 'FROM a\nRUN wget https://example.com/chromedriver_linux64.zip\n', '2 on linux/arm64'],
    [
      'a source of apt',
      'FROM a\nRUN echo "deb [arch=amd64] https://example.com/apt stable main" > /etc/apt/sources.list.d/x.list\n',
      '2 on linux/arm64',
    ],
    [
      'a folder of libraries',
      'FROM a AS b\nFROM a\nCOPY --from=b /usr/lib/x86_64-linux-gnu/libz.so.1 /usr/lib/x86_64-linux-gnu/\n',
      '3 on linux/arm64',
    ],
    [
      'a target of cargo',
      'FROM a AS b\nRUN cargo build --target x86_64-unknown-linux-musl\nFROM scratch\nCOPY --from=b /target/x86_64-unknown-linux-musl/release/app /app\n',
      '2 on linux/arm64',
      '4 on linux/arm64',
    ],
    ['a binary of the context', 'FROM a\nCOPY bin/linux-amd64/app /app\n', '2 on linux/arm64'],
    [
      'Go for one architecture',
      'FROM a\nRUN CGO_ENABLED=0 GOOS=linux GOARCH=amd64 go build -o /app .\n',
      '2 on linux/arm64',
    ],
    ['Go in the environment', 'FROM a\nENV GOOS=linux GOARCH=amd64\n', '2 on linux/arm64'],
    ['JAVA_HOME', 'FROM a\nENV JAVA_HOME=/usr/lib/jvm/java-17-openjdk-amd64\n', '2 on linux/arm64'],
    ['a preloaded library', 'FROM a\nENV LD_PRELOAD=/usr/lib/x86_64-linux-gnu/libjemalloc.so.2\n', '2 on linux/arm64'],
    [
      'an argument with a default',
      'FROM a\nARG ARCH=amd64\nADD https://example.com/tool-$ARCH /tool\n',
      '2 on linux/arm64',
    ],
    ['an argument before FROM', 'ARG ARCH=arm64v8\nFROM ${ARCH}/alpine\n', '1 on linux/amd64'],
    ['an image for one architecture', 'FROM arm64v8/alpine:3.20\n', '1 on linux/amd64'],
    ['a tag for one architecture', 'FROM example.com/team/base:1.0-amd64\n', '1 on linux/arm64'],
    ['copied from an image for one', 'FROM a\nCOPY --from=amd64/busybox /bin/busybox /bin/\n', '2 on linux/arm64'],
    ['.NET', 'FROM a\nRUN dotnet publish -c Release -r linux-x64 -o /out\n', '2 on linux/arm64'],
    ['in a heredoc', 'FROM a\nRUN <<EOF\nset -e\ncurl -O https://example.com/x-amd64.tgz\nEOF\n', '2 on linux/arm64'],
    ['in the exec form', 'FROM a\nRUN ["wget", "https://example.com/x-amd64.tgz"]\n', '2 on linux/arm64'],
    ['in a shell of its own', 'FROM a\nRUN bash -c "curl -O https://example.com/x-amd64.tgz"\n', '2 on linux/arm64'],
    ['make', 'FROM a\nRUN make build-linux-amd64\n', '2 on linux/arm64'],
    ['-march', 'FROM a\nRUN gcc -march=x86-64-v2 -o a a.c\n', '2 on linux/arm64'],
  ])
  describe('chosen, compared, or something else', () => {
    table('HardcodedArchitecture', [
      ['the argument', 'FROM a\nARG TARGETARCH\nADD https://example.com/x-${TARGETARCH}.tgz /\n'],
      [
        'case',
        'FROM a\nARG TARGETARCH\nRUN case "$TARGETARCH" in amd64) A=x86_64 ;; arm64) A=aarch64 ;; esac; curl -O https://example.com/x-$A.tgz\n',
      ],
      [
        'case of another variable',
        'FROM a\nARG A\nRUN case ${A} in x86) U=https://example.com/x-amd64 ;; esac; curl $U\n',
      ],
      [
        'if',
        'FROM a\nARG TARGETARCH\nRUN if [ "$TARGETARCH" = "amd64" ]; then curl -O https://example.com/x-amd64.tgz; fi\n',
      ],
      [
        'if of another variable',
        'FROM a\nARG ARCH\nRUN if [ "$ARCH" = "amd64" ]; then curl -O https://example.com/x-amd64.tgz; fi\n',
      ],
      ['uname', 'FROM a\nRUN if [ $(uname -m) = x86_64 ]; then curl -O https://example.com/x-amd64.tgz; fi\n'],
      [
        'dpkg',
        'FROM a\nRUN echo "deb [arch=$(dpkg --print-architecture)] https://example.com/apt/amd64 stable main" > /etc/apt/sources.list.d/x.list\n',
      ],
      [
        'replaced',
        'FROM a\nARG TARGETARCH\nRUN A=$(echo $TARGETARCH | sed s/amd64/x86_64/); curl -O https://example.com/x-$A\n',
      ],
      ['a default in braces', 'FROM a\nARG TARGETARCH\nENV URL=https://example.com/x-${TARGETARCH:-amd64}\n'],
      [
        'a table of both',
        'FROM a\nRUN for a in amd64 arm64; do curl -O https://example.com/x-$a; done; ls bin/amd64 bin/arm64\n',
      ],
      ['one file for each', 'FROM a\nCOPY app-amd64 /bin/\nCOPY app-arm64 /bin/\n'],
      [
        'stages for each',
        'FROM a AS build-amd64\nADD https://example.com/x-amd64 /x\nFROM a AS build-arm64\nADD https://example.com/x-arm64 /x\nFROM build-$TARGETARCH\n',
      ],
      ['an emulator', 'FROM a\nCOPY --from=multiarch/qemu-user-static /usr/bin/qemu-aarch64-static /usr/bin/\n'],
      ['a cross compiler', 'FROM a\nRUN apt-get install -y gcc-aarch64-linux-gnu crossbuild-essential-arm64\n'],
      ['a foreign architecture of dpkg', 'FROM a\nRUN dpkg --add-architecture arm64\n'],
      ['what is removed', 'FROM a\nRUN rm -rf node_modules/x/prebuilds/linux-arm64\n'],
      ['what is looked for', 'FROM a\nRUN find / -name "*_arm64.so" -delete; file /app | grep -q x86-64.bin\n'],
      ['a comment', 'FROM a\nRUN <<EOF\n# https://example.com/x-amd64.tgz\ntrue\nEOF\n'],
      [
        'a word that only sounds so',
        'FROM a\nRUN curl -O https://example.com/camd64x.tgz https://example.com/arm64x/charm64.zip\n',
      ],
      ['text', 'FROM a\nLABEL about="for amd64 only"\nRUN echo built for arm64\n'],
      ['an argument that is given', 'FROM a\nARG TARGETPLATFORM\nRUN tool --platform $TARGETPLATFORM\n'],
      [
        'a script of another language',
        'FROM a\nRUN <<EOF\n#!/usr/bin/env python3\nprint("https://example.com/x-amd64.tgz")\nEOF\n',
      ],
      ['skipped in place', 'FROM a\n# check=skip=HardcodedArchitecture\nADD https://example.com/x-amd64 /x\n'],
      ['a stage that nobody needs', 'FROM a AS b\nADD https://example.com/x-amd64 /x\nFROM a\n'],
    ])
    table(
      'HardcodedArchitecture',
      [
        ['for the only platform', 'FROM a\nADD https://example.com/x-amd64 /x\nENV A=/usr/lib/x86_64-linux-gnu\n'],
        ['32 bits on 64', 'FROM a\nADD https://example.com/x-i386.tgz /x\n'],
      ],
      ['linux/amd64'],
    )
    table(
      'HardcodedArchitecture',
      [
        ['an older variant', 'FROM a\nADD https://example.com/x-armv6.tgz /x\n'],
        ['its own', 'FROM a\nADD https://example.com/x-armhf.deb /x\n'],
      ],
      ['linux/arm/v7'],
    )
  })
  table(
    'HardcodedArchitecture',
    [['a newer variant', 'FROM a\nADD https://example.com/x-armv7l.tgz /x\n', '2']],
    ['linux/arm/v6'],
  )

  test('says what it found', () => {
    const long = `https://example.com/${'a'.repeat(60)}/x-amd64.tgz?${'b'.repeat(90)}`
    const { findings } = lintExample({ dockerfile: `FROM a\nADD ${long} /x\n` })
    expect(findings[0]!.message).toMatch(/^The architecture amd64 is written into "….{72}…"$/)
    expect(findings[0]!.message).toContain('/x-amd64.tgz')
  })
})

describe('EmulatedCompile', () => {
  const other = buildPlatform().architecture === 'amd64' ? 'linux/arm64' : 'linux/amd64'
  const built = (run: string, copy = '/out/app', from = 'FROM a'): string =>
    `${from} AS build\nWORKDIR /app\n${run}\nFROM scratch\nCOPY --from=build ${copy} /x\n`
  table('EmulatedCompile', [
    ['go build', built('RUN CGO_ENABLED=0 go build -o /out/app ./cmd/app'), `3 on ${other}`],
    ['go install', built('RUN go install ./...'), `3 on ${other}`],
    ['cargo', built('RUN --mount=type=cache,id=$X,target=/x cargo build --release --locked'), `3 on ${other}`],
    [
      'make after configure',
      built('RUN ./configure --prefix=/usr && make -j$(nproc) && make install'),
      `3 on ${other}`,
    ],
    ['gcc', built('RUN gcc -O2 -o /out/app app.c'), `3 on ${other}`],
    ['cmake', built('RUN cmake -B build . && cmake --build build'), `3 on ${other}`],
    ['in a heredoc', built('RUN <<EOF\nset -e\ngo build -o /out/app .\nEOF'), `3 on ${other}`],
    ['dotnet', built('RUN dotnet publish -c Release -o /out'), `3 on ${other}`],
    ['JavaScript', built('RUN npm ci && npm run build', '/app/dist'), `3 on ${other}`],
    ['JavaScript with yarn', built('RUN yarn build', '/app/build/'), `3 on ${other}`],
    ['TypeScript', built('RUN npx tsc -p .', '/app/dist'), `3 on ${other}`],
    ['Java', built('RUN mvn -B package -DskipTests', '/app/target/app.jar'), `3 on ${other}`],
    ['Java with a wrapper', built('RUN ./gradlew bootJar', '/app/build/libs/app.jar'), `3 on ${other}`],
    ['several: the first', built('RUN go build -o /a ./a\nRUN go build -o /b ./b'), `3 on ${other}`],
    [
      'taken by a mount',
      'FROM a AS build\nRUN go build -o /app .\nFROM b\nRUN --mount=from=build,target=/b cp /b/app /\n',
      `2 on ${other}`,
    ],
    [
      'through another stage',
      'FROM a AS build\nRUN go build -o /app .\nFROM build AS packed\nFROM b\nCOPY --from=packed /app /\n',
      `2 on ${other}`,
    ],
    [
      'in a stage of the build platform',
      built('RUN go build -o /out/app .', undefined, 'FROM --platform=$BUILDPLATFORM a'),
    ],
    ['in the last stage', 'FROM golang:1\nRUN go build -o /app .\nCMD ["/app"]\n'],
    ['in what the last stage stands on', 'FROM a AS b\nRUN make\nFROM b\nCMD ["x"]\n'],
    ['of which nothing is taken', 'FROM a AS b\nRUN go build .\nFROM scratch\nCOPY x /\n'],
    ['modules go along', built('RUN npm ci && npm run build', '/app')],
    [
      'modules are copied too',
      `FROM a AS b\nRUN npm run build\nFROM c\nCOPY --from=b /app/dist /app/dist\nCOPY --from=b /app/node_modules /app/node_modules\n`,
    ],
    [
      'what only sounds so',
      built(
        'RUN echo go build; apt-get install -y make gcc g++; npm run builder; go mod download; cargo fetch; make --version',
      ),
    ],
    ['a script of another language', built('RUN python3 <<EOF\nmake = 1\nEOF')],
    ['skipped in place', built('# check=skip=EmulatedCompile\nRUN go build -o /out/app .')],
  ])
  table('EmulatedCompile', [['only for this machine', built('RUN make')]], [`linux/${buildPlatform().architecture}`])
  table('EmulatedCompile', [['for Windows nothing is emulated', built('RUN make')]], ['windows/amd64'])
})

describe('bases that are no index', () => {
  const digest = `sha256:${'ab'.repeat(32)}`
  const image = (reference: string, index: boolean) => ({ [reference]: { index, platforms: ['linux/amd64'] } })
  const of = (dockerfile: string, images: ReturnType<typeof image>, platforms?: string[]): string[] =>
    lintExample({ dockerfile, images, ...(platforms ? { platforms } : {}) }).findings.map(
      ({ rule, platforms: on }) => `${rule} on ${on.join(', ')}`,
    )

  test('a tag', () => {
    expect(of('FROM x:1\n', image('x:1', false))).toEqual([
      'BaseNotIndex on linux/amd64, linux/arm64',
      'InvalidBaseImagePlatform on linux/arm64',
    ])
    expect(of('FROM x:1\n', image('x:1', false), ['linux/amd64'])).toEqual([])
    expect(of('FROM scratch\nCOPY --from=x:1 /a /a\n', image('x:1', false), ['linux/amd64', 'linux/amd64/v3'])).toEqual(
      ['BaseNotIndex on linux/amd64, linux/amd64/v3'],
    )
  })

  test('a digest', () => {
    const reference = `x:1@${digest}`
    expect(of(`FROM ${reference}\n`, image(reference, false))).toContain(
      'BasePinnedToPlatform on linux/amd64, linux/arm64',
    )
    expect(of(`FROM ${reference}\n`, image(reference, true), ['linux/amd64'])).toEqual([])
  })

  test('wanted for the build platform alone', () => {
    expect(
      of('FROM --platform=linux/amd64 x:1 AS amd64\nFROM scratch\nCOPY --from=amd64 /a /a\n', image('x:1', false)),
    ).toEqual([])
  })
})

describe('GroupWritableFiles', () => {
  const modes = (...list: number[]) => list.map((mode, i) => ({ path: `f${i}`, mode }))
  const of = (dockerfile: string, ...list: number[]): string[] =>
    lintExample({ dockerfile, modes: modes(...list) }).findings.map(({ message }) => message)

  test('as a umask makes them', () => {
    expect(of('FROM scratch\nCOPY a /a\n', 0o775, 0o664, 0o664)).toEqual([
      '3 of 3 files and folders that it copies are writable for the group: f0 has mode 775',
    ])
    expect(of('FROM scratch\nADD a /a\n', 0o666)).toEqual(['What it copies is writable for the group: f0 has mode 666'])
    expect(of('FROM scratch\nCOPY a /a\n', 0o664, 0o775, 0o644)).toHaveLength(1)
  })

  test('meant, or not from the context', () => {
    expect(of('FROM scratch\nCOPY a /a\n', 0o644, 0o755, 0o644)).toEqual([])
    expect(of('FROM scratch\nCOPY a /a\n', 0o664, 0o644, 0o644)).toEqual([])
    expect(of('FROM scratch\nCOPY --chmod=644 a /a\n', 0o664)).toEqual([])
    expect(of('FROM scratch AS a\nFROM scratch\nCOPY --from=a a /a\n', 0o664)).toEqual([])
    expect(of('FROM scratch\nCOPY <<E /a\nE\n')).toEqual([])
  })
})

describe('UnknownCheck', () => {
  const of = (dockerfile: string, more?: LintOptions): string[] =>
    lintExample({ dockerfile }, more).findings.map(({ range, message }) => `${range.start.line}: ${message}`)

  test('at the top, and in front of an instruction', () => {
    expect(of('# escape=\\\n# check=skip=StageNameCasin,all;experimental=Nothing\nFROM scratch\n')).toEqual([
      '2: There is no check "StageNameCasin" (did you mean StageNameCasing?)',
      '2: There is no check "all"',
      '2: There is no check "Nothing"',
    ])
    expect(of('FROM scratch\n# check=skip=undefinedvar\nENV a=b\n# check=skipp=UndefinedVar\nENV a=b\n')).toEqual([
      '3: There is no check "undefinedvar" (did you mean UndefinedVar?)',
      '5: "# check=skipp=UndefinedVar" does nothing: "skipp" is unknown, there are skip, error and experimental',
    ])
    expect(of('# check=skip=StageNameCasing,\nFROM scratch\n')).toEqual(['1: The list of checks has an empty name'])
  })

  test('in the build argument', () => {
    const more = { args: { BUILDKIT_DOCKERFILE_CHECK: 'skip=Nothing' } }
    expect(of('# check=skip=Other\nFROM scratch\n', more)).toEqual(['2: There is no check "Nothing"'])
  })

  test('names that exist', () => {
    expect(of('# check=skip=all\nFROM scratch\n')).toEqual([])
    expect(of('# check=skip=UndefinedVar,HardcodedArchitecture;experimental=all\nFROM scratch\n')).toEqual([])
    expect(of('FROM scratch\n# check=skip=all\nENV a=b\n')).toEqual([])
  })
})
