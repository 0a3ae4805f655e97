import { describe, expect, test } from 'bun:test'
import { isArchimageError } from '../../src/errors/error.ts'
import { requirePeers } from '../peers/require.ts'
import { type Conversion, conversionOfAnswer, convert } from './conversion.ts'
import { type Answer, askBuildKit } from './oracle.ts'
import { type ProjectCase, questionOf } from './projects.ts'

/** A Dockerfile with what the command line says, and what must come of it. */
export interface Vector extends Partial<Omit<ProjectCase, 'dockerfile'>> {
  readonly name: string
  readonly text: string
  /** A part of the config with its history; or the line of the refusal. */
  readonly is: Readonly<Record<string, unknown>> | number
  /** Steps and files that are among the operations. */
  readonly ops?: readonly (readonly unknown[])[]
  /** BuildKit says otherwise, or only when it builds. */
  readonly apart?: true
}

export const PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/** Lines of history, by what created them, of those that this Dockerfile adds to one upon scratch. */
export const history = (...lines: string[]): Readonly<Record<string, unknown>> => ({
  history: lines.map(line => expect.objectContaining({ created_by: line })),
})
/** A part of what containers get. */
export const config = (part: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> => ({ config: part })
/** The labels at the end: the shortest way to see what a word became. */
export const labels = (part: Readonly<Record<string, string>>): Readonly<Record<string, unknown>> =>
  config({ Labels: part })
export const env = (...pairs: string[]): Readonly<Record<string, unknown>> => config({ Env: [PATH, ...pairs] })

/** One test for each vector of each row, and one that BuildKit agrees with all of them. */
export function testRows(what: string, rows: Readonly<Record<string, readonly Vector[]>>): void {
  for (const [row, vectors] of Object.entries(rows))
    describe(`${what}: ${row}`, () => {
      test.each(vectors.map(one => [one.name, one] as const))('%s', async (_, vector) => {
        hold(vector, await outcome(vector))
      })
    })

  requirePeers('dockerfile-oracle')(`${what}: BuildKit agrees with every vector`, async () => {
    const vectors = Object.values(rows).flat()
    const answers = await askBuildKit(vectors.map(one => questionOf(caseOf(one))))
    const wrong = vectors.flatMap((vector, i) => {
      const answer = answers[i]!
      try {
        hold(vector, answer.error === undefined ? conversionOfAnswer(answer) : lineOf(answer, vector.is))
        return vector.apart ? [`${vector.name}: BuildKit agrees`] : []
      } catch (error) {
        // Some refusals name no line.
        const same = typeof vector.is === 'number' && answer.error !== undefined && !answer.lines?.length
        return same || vector.apart ? [] : [`${vector.name}: ${answer.error ?? (error as Error).message}`]
      }
    })
    expect(wrong).toEqual([])
  })
}

/** Of the lines that BuildKit names the one that is expected, if it is among them. */
const lineOf = ({ lines = [] }: Answer, is: Vector['is']): number =>
  lines.find(line => line === is) ?? lines[0] ?? Number.NaN

const caseOf = ({
  text,
  platform = 'linux/amd64',
  target = '',
  args = {},
  labels: given = {},
}: Vector): ProjectCase => ({
  ...{ dockerfile: text, platform, target, args, labels: given },
})

async function outcome(vector: Vector): Promise<Conversion | number> {
  try {
    return await convert(caseOf(vector))
  } catch (error) {
    if (isArchimageError(error)) return error.place?.line ?? Number.NaN
    throw error
  }
}

function hold({ is, ops = [] }: Vector, found: Conversion | number): void {
  if (typeof is === 'number' || typeof found === 'number') {
    expect(found).toEqual(is as never)
    return
  }
  expect(withAbsent(found.config, is)).toMatchObject(is)
  for (const op of ops) expect(found.ops).toContain(JSON.stringify(op))
}

/** What is expected to be undefined must not be there, which is not what `toMatchObject` takes it for. */
function withAbsent(found: unknown, expected: unknown): Record<string, unknown> {
  if (!isRecord(found) || !isRecord(expected)) return found as Record<string, unknown>
  const fields = Object.entries(expected).map(([key, value]) => [key, withAbsent(found[key], value)] as const)
  return { ...found, ...Object.fromEntries(fields) }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
