import { describe, expect, test } from 'bun:test'
import { parseDockerfile } from '../dockerfile/parse.ts'
import { formatPlatform, parsePlatform } from '../oci/platform.ts'
import { rewriteDockerfile } from './rewrite.ts'
import { type CellChange, cellOf, emptyImage } from './testing/cells.ts'

async function rewrite(
  text: string,
  more: CellChange & { syntax?: boolean; platforms?: boolean } = {},
): Promise<string[]> {
  const cell = await cellOf(text, more)
  const seen: string[] = []
  const number = (kind: string, what: string): string => {
    if (!seen.includes(what)) seen.push(what)
    return `${kind}${seen.indexOf(what)}`
  }
  const rewritten = rewriteDockerfile(
    cell,
    {
      image: ({ name, platform }) => number('image-', `${name} ${formatPlatform(platform)}`),
      directory: path => number('dir-', path),
    },
    { syntax: more.syntax ?? false, platforms: more.platforms ?? false },
  )
  // It is a Dockerfile again, and nobody's line moved.
  parseDockerfile(rewritten.text, 'Dockerfile')
  expect(rewritten.text.split('\n')).toHaveLength(text.split('\n').length)
  return rewritten.text.split('\n')
}

describe('a Dockerfile for another engine', () => {
  test('bases, stages and platforms are named', async () => {
    const text = `ARG TAG=1
FROM --platform=$BUILDPLATFORM golang:\${TAG} AS Build
RUN make
FROM debian
COPY --link --from=build /out /out
COPY --from=0 /a /a
COPY --from=nginx:alpine --chown=1:1 /b /b
RUN --mount=type=bind,from=busybox,target=/bb --mount="type=cache,target=/c" cp /bb/x /x`
    expect(await rewrite(text)).toEqual([
      'ARG TAG=1',
      'FROM --platform=linux/amd64 image-3 AS build',
      'RUN make',
      'FROM image-2 AS stage-1',
      'COPY --link --from=build /out /out',
      'COPY --from=build /a /a',
      'COPY --from=image-1 --chown=1:1 /b /b',
      'RUN --mount=type=bind,from=image-0,target=/bb --mount="type=cache,target=/c" cp /bb/x /x',
    ])
  })

  test('platforms of all images, where an engine wants them', async () => {
    const text = 'FROM --platform=$BUILDPLATFORM a AS x\nFROM b AS y\nFROM y\nCOPY --from=0 /a /a'
    expect(await rewrite(text, { platforms: true })).toEqual([
      'FROM --platform=linux/amd64 image-1 AS x',
      'FROM --platform=linux/arm64 image-0 AS y',
      'FROM y AS stage-2',
      'COPY --from=x /a /a',
    ])
  })

  test('stages that are not needed are gone, so that a target is the last', async () => {
    const text = 'FROM a AS one\nRUN 1\n\nFROM b AS two\nRUN 2\nFROM one AS three\nRUN 3\nFROM c\nRUN 4\n'
    expect(await rewrite(text, { target: 'three' })).toEqual([
      ...['FROM image-0 AS one', 'RUN 1', '', '', '', 'FROM one AS three', 'RUN 3', '', '', ''],
    ])
  })

  test('of stages with one name the last keeps it for what comes later', async () => {
    const text = 'FROM a AS x\nFROM x AS x\nRUN 1\nFROM scratch\nCOPY --from=x /a /a'
    expect(await rewrite(text)).toEqual([
      'FROM image-0 AS x',
      'FROM x AS x-1',
      'RUN 1',
      'FROM scratch AS stage-2',
      'COPY --from=x-1 /a /a',
    ])
  })

  test('a stage with the name of its base, and an image of both platforms', async () => {
    const text = 'FROM --platform=linux/amd64 golang AS golang\nRUN 1\nFROM golang:latest\nCOPY --from=golang /a /'
    expect(await rewrite(text)).toEqual([
      'FROM --platform=linux/amd64 image-1 AS golang',
      'RUN 1',
      'FROM image-0 AS stage-1',
      'COPY --from=golang /a /',
    ])
  })

  test('named contexts: an image for an image and for a whole stage, a folder', async () => {
    const text = 'FROM base AS deps\nRUN never\nFROM base\nCOPY --from=deps /a /a\nCOPY --from=docs . /d\n'
    const named = {
      deps: { kind: 'image', image: emptyImage('deps', parsePlatform('linux/arm64')) },
      docs: { kind: 'directory', path: '/docs' },
    } as const
    expect(await rewrite(text, { named })).toEqual([
      'FROM image-2 AS deps',
      '',
      'FROM image-1 AS stage-1',
      'COPY --from=deps /a /a',
      'COPY --from=dir-0 . /d',
      '',
    ])
  })

  test('instructions over several lines', async () => {
    const text = 'FROM \\\n  a \\\n  AS b\nCOPY --chown=1 \\\n  --from=c\\\nd \\\n  /a /b\nRUN <<EOF\n  FROM x\nEOF\n'
    const lines = await rewrite(text)
    expect(lines.slice(0, 3)).toEqual(['FROM image-1 AS b', '', ''])
    expect(lines.slice(3)).toEqual([
      'COPY --chown=1 \\',
      '  --from=image-0 \\',
      ' \\',
      '  /a /b',
      ...['RUN <<EOF', '  FROM x', 'EOF', ''],
    ])
  })

  test('directives: escape stays, syntax where it is wanted, checks are ours', async () => {
    const text = '# syntax=docker/dockerfile:1\n# check=error=true\n# escape=`\nFROM a `\n  AS b\r\nRUN x\r\n'
    const rest = ['FROM image-0 AS b', '', 'RUN x\r', '']
    expect(await rewrite(text)).toEqual(['# escape=`', '#', '#', ...rest])
    expect(await rewrite(text, { syntax: true })).toEqual([
      ...['# syntax=docker/dockerfile:1', '# escape=`', '#'],
      ...rest,
    ])
  })
})
