import { describe, expect, test } from 'bun:test'
import { ArchimageError } from '../errors/error.ts'
import type { Dockerfile } from './ast.ts'
import { instructionLabel } from './label.ts'
import { parseDockerfile } from './parse.ts'
import { findStage, reachableStages, type StageOptions, targetStage } from './stages.ts'

const parse = (text: string): Dockerfile => parseDockerfile(text, 'Dockerfile')
const options: StageOptions = { baseOf: stage => stage.from.image }
const reach = (text: string, target?: string, more: Partial<StageOptions> = {}): readonly number[] => {
  const dockerfile = parse(text)
  return reachableStages(dockerfile, targetStage(dockerfile, target), { ...options, ...more }).map(
    ({ stage }) => stage.index,
  )
}

describe('a target', () => {
  const file = parse('FROM a AS Base\nFROM b\nFROM c AS base\nFROM d AS other')

  test('by name, in any case, the last of several; by index; none is the last stage', () => {
    expect(targetStage(file, 'BASE').index).toBe(2)
    expect(targetStage(file, '1').index).toBe(1)
    expect(targetStage(file).index).toBe(3)
    expect(findStage(file, 0)?.name).toBe('base')
    expect(findStage(file, 'none')).toBeUndefined()
  })

  test('that does not exist gets a suggestion', () => {
    try {
      targetStage(file, 'bsae')
      expect.unreachable()
    } catch (error) {
      expect(error).toMatchObject({ code: 'DOCKERFILE_INVALID', hint: 'did you mean "base"?' })
    }
    expect(() => targetStage(file, '4')).toThrow(ArchimageError)
  })
})

describe('reachable stages', () => {
  test('by FROM, COPY --from by name and index, and mounts', () => {
    const text =
      'FROM x AS a\nFROM x AS b\nFROM x AS c\nFROM x AS unused\nFROM a\n' +
      'COPY --from=B /x /\nRUN --mount=from=C,target=/x y\nFROM 4\nCOPY --from=4 / /\n'
    expect(reach(text)).toEqual([0, 1, 2, 4, 5])
    expect(reach(text, 'unused')).toEqual([3])
  })

  test('FROM finds earlier stages by their lower-case name only', () => {
    expect(reach('FROM x AS Base\nFROM Base')).toEqual([1])
    expect(reach('FROM x AS Base\nFROM base')).toEqual([0, 1])
    expect(reach('FROM base AS base\nFROM base AS base\nFROM base')).toEqual([0, 1, 2])
  })

  test('FROM is looked up as the caller expands it', () => {
    expect(
      reach('ARG B=a\nFROM x AS a\nFROM $B', undefined, { baseOf: ({ from }) => from.image.replace('$B', 'a') }),
    ).toEqual([0, 1])
  })

  test('a stage that a named context replaces needs nothing', () => {
    const text = 'FROM x AS a\nFROM x AS b\nCOPY --from=a / /\nFROM b'
    expect(reach(text, undefined, { baseOf: stage => (stage.name === 'b' ? undefined : stage.from.image) })).toEqual([
      1, 2,
    ])
  })

  test('ONBUILD of the base counts, that of its base does not', () => {
    const text = 'FROM x AS a\nFROM x AS b\nONBUILD COPY --from=a / /\nFROM b AS c\nFROM c'
    expect(reach(text)).toEqual([0, 1, 2, 3])
    expect(reach(text, 'b')).toEqual([1])
    const [trigger] = parse('FROM x\nCOPY --from=a / /').stages[0]!.instructions
    expect(
      reach('FROM x AS a\nFROM y', undefined, { triggersOf: ({ index }) => (index === 1 ? [trigger!] : []) }),
    ).toEqual([0, 1])
  })

  test('circles are errors wherever they are', () => {
    const text = 'FROM x AS a\nCOPY --from=b / /\nFROM x AS b\nCOPY --from=a / /\nFROM x'
    expect(() => reach(text)).toThrow('"a" → "b" → "a"')
    expect(() => reach('FROM x AS a\nCOPY --from=A / /')).toThrow('"a" → "a"')
    expect(() => reach('FROM x\nCOPY --from=0 / /')).toThrow('number 0 → number 0')
  })

  test('a later stage is an error, if it is needed', () => {
    const text = 'FROM x AS a\nCOPY --from=b / /\nFROM x AS b'
    expect(() => reach(text, 'a')).toThrow('defined later (line 3)')
    expect(reach(text, 'b')).toEqual([1])
  })

  test('an index out of range and a variable in --from are errors with a place', () => {
    for (const from of ['7', '-1', '$x', '"a$x"'])
      try {
        reach(`FROM x\nCOPY --from=${from} / /\nFROM y`)
        expect.unreachable()
      } catch (error) {
        expect(error).toMatchObject({ code: 'DOCKERFILE_INVALID', place: { line: 2 } })
      }
  })

  test('thousands of stages in a chain do not fill the stack', () => {
    const text = Array.from({ length: 5_000 }, (_, i) => `FROM ${i === 0 ? 'x' : `s${i - 1}`} AS s${i}`).join('\n')
    expect(reach(text)).toHaveLength(5_000)
  })
})

describe('a label', () => {
  test.each([
    ['copy  dist/app \\\n   /app', 'COPY dist/app /app'],
    ['RUN <<EOF\n\n  set -e\nmake\nEOF', 'RUN <<EOF (set -e…)'],
    ['RUN \u001b[31mx', 'RUN [31mx'],
    [`RUN ${'x'.repeat(200)}`, `RUN ${'x'.repeat(75)}…`],
    ['ONBUILD RUN x', 'ONBUILD RUN x'],
  ])('%p', (text, label) => {
    expect(instructionLabel(parse(`FROM x\n${text}`).stages[0]!.instructions[0]!)).toBe(label)
  })
})
