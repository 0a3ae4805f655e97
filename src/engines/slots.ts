/** Work of at most `limit` in weight at a time; other work waits in order, so that heavy work has its turn too. */
export class Slots {
  readonly limit: number
  private free: number
  private readonly waiting: { readonly weight: number; readonly start: () => void }[] = []

  constructor(limit: number) {
    this.limit = Math.max(1, limit)
    this.free = this.limit
  }

  /** What is heavier than the limit runs alone. */
  async run<T>(work: () => Promise<T>, weight = 1): Promise<T> {
    const taken = Math.min(weight, this.limit)
    if (this.waiting.length === 0 && taken <= this.free) this.free -= taken
    else await new Promise<void>(start => this.waiting.push({ weight: taken, start }))
    try {
      return await work()
    } finally {
      this.free += taken
      this.next()
    }
  }

  private next(): void {
    for (let first = this.waiting[0]; first && first.weight <= this.free; first = this.waiting[0]) {
      this.free -= first.weight
      this.waiting.shift()
      first.start()
    }
  }
}
