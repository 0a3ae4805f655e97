import { peerOrThrow, run } from '../peers/index.ts'

/** A question to `dockerfile-oracle/main.go`; which fields count for what stands there. */
export interface Question {
  readonly ask: 'parse' | 'syntax' | 'expand' | 'convert' | 'match' | 'glob'
  readonly dockerfile?: string | Uint8Array
  readonly platform?: string
  readonly target?: string
  readonly args?: Readonly<Record<string, string>>
  readonly labels?: Readonly<Record<string, string>>
  readonly images?: Readonly<Record<string, unknown>>
  readonly all?: boolean
  readonly word?: string
  readonly env?: Readonly<Record<string, string>>
  readonly escape?: string
  readonly rawQuotes?: boolean
  readonly skipUnset?: boolean
  readonly skipQuotes?: boolean
  readonly patterns?: string
  readonly paths?: readonly string[]
}

/** What BuildKit says; `error` and `lines` where it refuses. */
export interface Answer {
  readonly error?: string
  readonly lines?: readonly number[]
  readonly panic?: boolean
  readonly [field: string]: unknown
}

/** The answers of BuildKit's own packages, in the order of the questions. Needs the peer `dockerfile-oracle`. */
export async function askBuildKit(questions: readonly Question[]): Promise<Answer[]> {
  const input = questions
    .map(one => ({
      ...one,
      ...(one.dockerfile === undefined ? {} : { dockerfile: Buffer.from(one.dockerfile).toString('base64') }),
    }))
    .map(one => `${JSON.stringify(one)}\n`)
    .join('')
  const { code, stdout, stderr } = await run([peerOrThrow('dockerfile-oracle')], { input, timeout: 120_000 })
  const answers = stdout.split('\n').slice(0, -1)
  if (code !== 0 || answers.length !== questions.length)
    throw new Error(`the oracle ended with ${code} after ${answers.length} of ${questions.length} answers\n${stderr}`)
  return answers.map(line => JSON.parse(line) as Answer)
}
