import { afterAll, beforeAll, expect, test } from 'bun:test'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseDockerfile } from '../../src/dockerfile/parse.ts'
import { outlineOf, outlineText } from '../../src/lint/outline.ts'
import { targetList, targetsText } from '../../src/lint/targets.ts'
import { parsePlatform } from '../../src/oci/platform.ts'
import { type BuildKit, removeFolder, startBuildKit, temporaryFolder } from '../peers/index.ts'
import { canRun, requirePeers } from '../peers/require.ts'

const NEEDS = ['buildkitd', 'buildctl', 'buildx', 'runc', 'root'] as const
const folder = temporaryFolder('calls')
let buildkit: BuildKit

interface Asked {
  readonly dockerfile: string
  readonly target?: string
  readonly args?: Readonly<Record<string, string>>
}

const ASKED: Readonly<Record<string, Asked>> = {
  'one stage without a name': { dockerfile: 'FROM scratch\nLABEL a=b\n' },
  'one stage with a name, nothing to give': { dockerfile: 'FROM scratch AS app\nLABEL a=b\n' },
  'arguments with values and descriptions': {
    dockerfile: `# VERSION is the version
# that is built
ARG VERSION=1
ARG unused=2

# app is the application
FROM scratch AS app
# NAME what it is called
ARG NAME=x\${VERSION} OTHER
# no name
ARG VERSION
ARG TARGETARCH
ENV A=$NAME
`,
  },
  'arguments that others are made of': {
    dockerfile: `ARG A=1
ARG B=$A-2
ARG A=\${A}3
ARG D=4
ARG C=\${B}\${D:+x}
FROM scratch\${C:+} AS base
ARG C
FROM base
ARG E
`,
  },
  'given on the command line': {
    dockerfile: 'ARG A=1\nFROM scratch\nARG A\nARG B=2\nARG C\nARG D=$B\n',
    args: { A: 'x', C: 'y', Z: 'z' },
  },
  'stages that are needed, and one that is not': {
    dockerfile: `FROM scratch AS base
# BASED on this
ARG BASED=1
FROM scratch AS not
ARG NOT
FROM base AS build
ARG BUILD=2
RUN --mount=type=secret,id=token,required --mount=type=ssh true
RUN --mount=type=secret,target=/x/netrc true
FROM scratch AS tool
RUN --mount=type=ssh,id=github,required=true --mount=type=secret,id=other true
FROM scratch AS last
# last of all
COPY --from=build /a /b
RUN --mount=from=tool,target=/tool true
ARG LAST
`,
  },
  'a target': {
    dockerfile: 'FROM scratch AS one\nARG A=1\n# two the other\nFROM scratch AS two\nARG B=2\n',
    target: 'Two',
  },
  'bases and platforms': {
    dockerfile:
      'ARG V=1\nFROM scratch\nFROM --platform=$BUILDPLATFORM scratch AS b\nFROM b as C\n# c not this one\nFROM scratch\n',
  },
}

beforeAll(async () => {
  if (canRun(...NEEDS)) buildkit = await startBuildKit()
}, 60_000)
afterAll(async () => {
  await buildkit?.stop()
  await removeFolder(folder)
})

/** BuildKit tells arguments, secrets and agents in another order each time. */
function ordered(outline: object): object {
  const name = (one: unknown): string => (one as { readonly name?: string }).name ?? ''
  const sorted = (list: readonly unknown[]) => list.toSorted((a, b) => (name(a) < name(b) ? -1 : 1))
  return Object.fromEntries(
    Object.entries(outline).map(([key, value]) => [
      key,
      ['args', 'secrets', 'ssh'].includes(key) && Array.isArray(value) ? sorted(value) : value,
    ]),
  )
}

for (const [name, asked] of Object.entries(ASKED))
  requirePeers(...NEEDS)(`outline and targets as BuildKit tells them: ${name}`, async () => {
    const context = join(folder, String(Object.keys(ASKED).indexOf(name)))
    mkdirSync(context)
    writeFileSync(join(context, 'Dockerfile'), asked.dockerfile)
    const args = Object.entries(asked.args ?? {}).flatMap(([key, value]) => ['--build-arg', `${key}=${value}`])
    const target = asked.target === undefined ? [] : ['--target', asked.target]
    const call = (what: string): Promise<string> =>
      buildkit.buildx(['build', '--progress=quiet', `--call=${what}`, ...args, ...target, context])
    const bytes = Buffer.from(asked.dockerfile)
    const dockerfile = parseDockerfile(bytes, 'Dockerfile')
    const outline = outlineOf(dockerfile, bytes, { ...asked, platform: parsePlatform('linux/amd64') })
    expect(ordered(outline)).toEqual(ordered(JSON.parse(await call('outline,format=json'))))
    expect(outlineText(outline).split('\n').sort()).toEqual((await call('outline')).split('\n').sort())
    const list = targetList(dockerfile, bytes)
    expect(list).toEqual(JSON.parse(await call('targets,format=json')))
    expect(targetsText(list)).toBe(await call('targets'))
  })

test('a Dockerfile that is wrong has no outline, but an error with its place', () => {
  const text = 'FROM scratch\nENV A=${A:?no}\n'
  expect(() => outlineOf(parseDockerfile(text, 'Dockerfile'), Buffer.from(text))).toThrow(/no/)
})
