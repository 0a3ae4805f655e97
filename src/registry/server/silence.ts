import { refuse } from './answers.ts'

/** The pieces of a body; throws Refusal 408 when none comes for a time. */
export async function* withoutSilence(
  body: ReadableStream<Uint8Array>,
  milliseconds: number,
): AsyncGenerator<Uint8Array> {
  const reader = body.getReader()
  let timer: ReturnType<typeof setTimeout> | undefined
  try {
    for (;;) {
      const silence = new Promise<never>((_, reject) => {
        const late = () => reject(refuse(408, 'UNKNOWN', 'nothing came for too long'))
        timer = setTimeout(late, milliseconds)
      })
      const { done, value } = await Promise.race([reader.read(), silence])
      clearTimeout(timer)
      if (done) return
      yield value
    }
  } finally {
    clearTimeout(timer)
    await reader.cancel().catch(() => {})
  }
}
