import { expect, test } from 'bun:test'
import { parseDockerfile } from '../dockerfile/parse.ts'
import { formatPlatform, parsePlatform } from '../oci/platform.ts'
import { imageUses } from './references.ts'

function uses(text: string, named: readonly string[] = [], target?: string): string[] {
  const found = imageUses(parseDockerfile(text, 'Dockerfile'), {
    platform: parsePlatform('linux/arm64'),
    args: { V: '2' },
    named: Object.fromEntries(named.map(name => [name, '.'])),
    ...(target === undefined ? {} : { target }),
  })
  return found.map(({ how, reference, platform }) => `${how} ${reference} ${formatPlatform(platform)}`)
}

test('what the target builds upon and copies from, and nothing else', () => {
  const text = `ARG V=1
FROM --platform=linux/amd64 go:$V AS build
COPY --from=tools:1 /x /
FROM unused
FROM scratch AS mid
COPY --from=BUILD /x /
COPY --from=0 /x /
COPY --from=scratch /x /
FROM mid
COPY --from=other /x /
`
  expect(uses(text)).toEqual(['from go:2 linux/amd64', 'copy tools:1 linux/arm64', 'copy other linux/arm64'])
  expect(uses(text, [], 'mid')).toEqual(['from go:2 linux/amd64', 'copy tools:1 linux/arm64'])
})

test('named contexts take the place of stages and images', () => {
  const text = 'FROM docker.io/library/a AS s\nCOPY --from=b /x /\nFROM s\nCOPY --from=c:latest /x /\n'
  expect(uses(text, ['s', 'c'])).toEqual([])
  expect(uses(text, ['a', 'b'])).toEqual(['copy c:latest linux/arm64'])
  expect(uses(text, ['s::linux/arm64', 'c::linux/amd64'])).toEqual(['copy c:latest linux/arm64'])
})

test('a stage of another case is no base, and no image has such a name', () => {
  expect(() => uses('FROM scratch AS Base\nFROM Base\n')).toThrow('FROM Base')
})
