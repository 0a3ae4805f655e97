import type { Dockerfile } from '../dockerfile/ast.ts'
import type { Finding } from '../lint/finding.ts'
import type { LintOptions } from '../lint/lint.ts'
import { formatPlatform, type Platform } from '../oci/platform.ts'
import type { Records } from '../store/records.ts'
import { hashHex } from '../sys/hash.ts'

/** Record kind: what checks found in a Dockerfile. */
const KIND = 'findings'
/** To be raised when a rule says something else than before. */
const FORMAT = 1

export type CheckOptions = Omit<LintOptions, 'platforms' | 'modes'>

/** A question that checks put to what is around the Dockerfile, with the answer. */
type Asked =
  | { readonly what: 'contexts' | 'ignored'; readonly of: string; readonly answer: boolean }
  | { readonly what: 'image'; readonly of: string; readonly platform: Platform; readonly answer: unknown }

interface Remembered {
  readonly asked: readonly Asked[]
  readonly findings: readonly Finding[]
}

/**
 * What `find` finds, or found before: checks are pure, so the same file with the same options and the same answers to all that they
 * asked has the same findings. A check that throws is not remembered.
 */
export function rememberedFindings(
  records: Pick<Records, 'get' | 'put'>,
  dockerfile: Dockerfile,
  platform: Platform,
  options: CheckOptions,
  find: (options: CheckOptions) => readonly Finding[],
): readonly Finding[] {
  const { contexts, ignored, image, ...plain } = options
  const facts = [FORMAT, dockerfile.file, dockerfile.lines, formatPlatform(platform), plain, ignored !== undefined]
  const key = hashHex('sha256', Buffer.from(JSON.stringify(facts)))
  const known = records.get<Remembered>(KIND, key)
  if (known?.asked.every(question => same(answerTo(question, options), question.answer))) return known.findings
  const asked: Asked[] = []
  const findings = find({
    ...options,
    ...(contexts && { contexts: of => noted(asked, { what: 'contexts', of, answer: contexts(of) }) }),
    ...(ignored && { ignored: of => noted(asked, { what: 'ignored', of, answer: ignored(of) }) }),
    ...(image && {
      image: (of, wanted) => {
        const answer = image(of, wanted)
        asked.push({ what: 'image', of, platform: wanted, answer: answer ?? null })
        return answer
      },
    }),
  })
  records.put(KIND, key, { asked, findings } satisfies Remembered)
  return findings
}

function noted(asked: Asked[], question: Extract<Asked, { answer: boolean }>): boolean {
  asked.push(question)
  return question.answer
}

function answerTo(question: Asked, { contexts, ignored, image }: CheckOptions): unknown {
  if (question.what === 'image') return image?.(question.of, question.platform) ?? null
  return (question.what === 'contexts' ? contexts : ignored)?.(question.of)
}

function same(a: unknown, b: unknown): boolean {
  return a === b || JSON.stringify(a) === JSON.stringify(b)
}
