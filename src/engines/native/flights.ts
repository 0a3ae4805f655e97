import { cancelled } from '../../errors/error.ts'

interface Flight<T> {
  readonly promise: Promise<T>
  readonly stop: AbortController
  waiting: number
}

/**
 * Work that several want is done once, and what it gave (or why it failed) is kept. It is stopped when nobody waits for it
 * any more; who comes after that begins anew.
 */
export class Flights<T> {
  readonly #flights = new Map<string, Flight<T>>()

  /** `first` tells whether this call began the work. Rejects with CANCELLED when `signal` is aborted. */
  run(
    key: string,
    signal: AbortSignal,
    work: (signal: AbortSignal) => Promise<T>,
  ): Promise<{ readonly value: T; readonly first: boolean }> {
    if (signal.aborted) return Promise.reject(cancelled(signal.reason))
    const known = this.#flights.get(key)
    const flight = known ?? this.#begin(key, work)
    flight.waiting++
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        if (--flight.waiting === 0) {
          this.#flights.delete(key)
          flight.stop.abort(signal.reason)
        }
        reject(cancelled(signal.reason))
      }
      signal.addEventListener('abort', leave, { once: true })
      flight.promise
        .then(value => resolve({ value, first: known === undefined }), reject)
        .finally(() => signal.removeEventListener('abort', leave))
    })
  }

  #begin(key: string, work: (signal: AbortSignal) => Promise<T>): Flight<T> {
    const stop = new AbortController()
    const flight = { promise: work(stop.signal), stop, waiting: 0 }
    this.#flights.set(key, flight)
    return flight
  }
}
