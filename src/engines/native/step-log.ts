/** As many lines as a failure carries with it. */
const LAST_LINES = 20
/** Text without a line break goes out in pieces of this many characters. */
const LONGEST = 8192
/** Characters after which a step is no longer listened to, so that none fills the disk; a failure still has its last lines. */
const LIMIT = 16 << 20
/** Milliseconds without a word after which a step is said to be silent; then twice as long, and so on. */
const SILENCE = 60_000

/**
 * What a step says, put together to whole lines, since several steps of a cell may speak at once; and a word when one is
 * silent for long.
 */
export class StepLog {
  readonly #emit: (text: string) => void
  readonly #silent: (seconds: number) => void
  readonly #streams = {
    stdout: { decoder: new TextDecoder(), rest: '' },
    stderr: { decoder: new TextDecoder(), rest: '' },
  }
  #last: string[] = []
  #left = LIMIT
  #heard = performance.now()
  #patience = SILENCE
  #timer: ReturnType<typeof setTimeout>

  /** `emit` gets whole lines, `silent` how many seconds nothing was heard. */
  constructor(emit: (text: string) => void, silent: (seconds: number) => void) {
    this.#emit = emit
    this.#silent = silent
    this.#timer = this.#watch(SILENCE)
  }

  /** The last lines that were said. */
  get last(): readonly string[] {
    return this.#last
  }

  output(stream: 'stdout' | 'stderr', bytes: Uint8Array): void {
    this.#heard = performance.now()
    const one = this.#streams[stream]
    one.rest += one.decoder.decode(bytes, { stream: true })
    const end = one.rest.length > LONGEST ? one.rest.length : one.rest.lastIndexOf('\n') + 1
    if (end === 0) return
    this.#say(one.rest.slice(0, end))
    one.rest = one.rest.slice(end)
  }

  /** The step has ended: what has no line break gets one. */
  end(): void {
    clearTimeout(this.#timer)
    for (const one of Object.values(this.#streams)) {
      const rest = one.rest + one.decoder.decode()
      one.rest = ''
      if (rest !== '') this.#say(`${rest}\n`)
    }
  }

  #say(text: string): void {
    if (this.#left > 0) this.#emit(text)
    this.#left -= text.length
    if (this.#left <= 0 && this.#left + text.length > 0)
      this.#emit(`[what more it says is left out: it said ${LIMIT >> 20} MiB]\n`)
    const lines = text.split('\n')
    if (lines.at(-1) === '') lines.pop()
    this.#last = [...this.#last, ...lines].slice(-LAST_LINES)
  }

  #watch(wait: number): ReturnType<typeof setTimeout> {
    const timer = setTimeout(() => {
      const quiet = performance.now() - this.#heard
      if (quiet < SILENCE) this.#patience = SILENCE
      else if (quiet >= this.#patience) {
        this.#silent(Math.round(quiet / 1000))
        this.#patience *= 2
      }
      this.#timer = this.#watch(Math.max(1000, this.#patience - (performance.now() - this.#heard)))
    }, wait)
    timer.unref?.()
    return timer
  }
}
