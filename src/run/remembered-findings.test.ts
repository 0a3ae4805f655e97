import { expect, test } from 'bun:test'
import { parseDockerfile } from '../dockerfile/parse.ts'
import type { Finding } from '../lint/finding.ts'
import { lintDockerfile } from '../lint/lint.ts'
import type { KnownImage } from '../lint/stage-views.ts'
import { type CheckOptions, rememberedFindings } from './remembered-findings.ts'

const AMD64 = { os: 'linux', architecture: 'amd64' }
const ARM64 = { os: 'linux', architecture: 'arm64' }
const file = (text: string) => parseDockerfile(Buffer.from(text), 'Dockerfile')
const TEXT = 'FROM base\nCOPY a b /x/\nENV KEY value\nCMD run\n'

function memory() {
  const kept = new Map<string, string>()
  return {
    get: <T>(kind: string, key: string): T | undefined => {
      const text = kept.get(`${kind} ${key}`)
      return text === undefined ? undefined : JSON.parse(text)
    },
    put: (kind: string, key: string, value: unknown) => void kept.set(`${kind} ${key}`, JSON.stringify(value)),
  }
}

test('checks are made anew when the file, an option or an answer is another one, and only then', () => {
  const records = memory()
  let made = 0
  const check = (text: string, options: CheckOptions, platform = AMD64): readonly Finding[] =>
    rememberedFindings(records, file(text), platform, options, asked => {
      made++
      return lintDockerfile(file(text), { ...asked, platforms: [platform] }).findings
    })
  const image = (shell: boolean) => (): KnownImage => ({ platform: AMD64, index: true, env: [], shell, onbuild: [] })
  const options: CheckOptions = {
    args: {},
    ignored: source => source === 'b',
    contexts: () => false,
    image: image(false),
  }
  const first = check(TEXT, options)
  expect(first.map(({ rule }) => rule)).toContain('LegacyKeyValueFormat')
  expect(first.map(({ rule }) => rule)).toContain('CopyIgnoredFile')
  expect(check(TEXT, options)).toEqual([...first])
  expect(made).toBe(1)

  const cases: readonly (readonly [string, CheckOptions, typeof AMD64])[] = [
    [TEXT.replace('KEY value', 'KEY=value'), options, AMD64],
    [`# check=skip=all\n${TEXT}`, options, AMD64],
    [TEXT, options, ARM64],
    [TEXT, { ...options, args: { A: '1' } }, AMD64],
    [TEXT, { ...options, ignored: source => source === 'a' }, AMD64],
    [TEXT, { ...options, image: image(true) }, AMD64],
    [TEXT, { ...options, image: () => undefined }, AMD64],
    [TEXT, { ...options, contexts: name => name === 'base' }, AMD64],
  ]
  for (const [i, [text, others, platform]] of cases.entries()) {
    const found = check(text, others, platform)
    expect([i, made]).toEqual([i, i + 2])
    expect([...found]).toEqual([...lintDockerfile(file(text), { ...others, platforms: [platform] }).findings])
    check(text, others, platform)
    expect([i, made]).toEqual([i, i + 2])
  }
})

test('a check that throws is made again', () => {
  const records = memory()
  let made = 0
  const fails = () =>
    rememberedFindings(records, file(TEXT), AMD64, {}, () => {
      made++
      throw new Error('forbidden')
    })
  expect(fails).toThrow('forbidden')
  expect(fails).toThrow('forbidden')
  expect(made).toBe(2)
})
