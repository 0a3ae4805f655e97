import { ArchimageError, isArchimageError } from '../errors/error.ts'
import type { Transport } from '../transports/transport.ts'
import type { Place } from './request.ts'

/** The ends of a copy, as messages name them. */
export type Side = 'source' | 'destination'

/** Whether what is written there is seen only after `commit`, all of it at once: archives and daemons. */
export function appearsAsWhole({ label, transport }: Place): boolean {
  return transport.commit !== undefined && !label.startsWith('oci:')
}

/** The same transport, whose errors begin with the side that it is on: the same registry is often both. */
export function onSide(transport: Transport, side: Side): Transport {
  const wrap = <A extends unknown[], R>(call: (...args: A) => Promise<R>) => {
    return async (...args: A): Promise<R> => {
      try {
        return await call(...args)
      } catch (error) {
        throw sided(error, side)
      }
    }
  }
  async function* each<T>(items: AsyncIterable<T>): AsyncGenerator<T> {
    try {
      yield* items
    } catch (error) {
      throw sided(error, side)
    }
  }
  const { tags, fits, referrers, commit } = transport
  return {
    name: transport.name,
    manifest: wrap((name, options) => transport.manifest(name, options)),
    head: wrap((name, options) =>
      side === 'source' ? transport.head(name, options) : transport.head(name, options).catch(nothingYet),
    ),
    hasBlob: wrap((descriptor, options) => transport.hasBlob(descriptor, options)),
    blob: wrap(async (descriptor, options) => stream(await transport.blob(descriptor, options), side)),
    putBlob: wrap((descriptor, body, options) => transport.putBlob(descriptor, body, options)),
    putManifest: wrap((manifest, tag, options) => transport.putManifest(manifest, tag, options)),
    ...(fits === undefined
      ? {}
      : {
          fits: (...args) => {
            try {
              fits.apply(transport, args)
            } catch (error) {
              throw sided(error, side)
            }
          },
        }),
    ...(tags === undefined ? {} : { tags: options => each(tags.call(transport, options)) }),
    ...(referrers === undefined
      ? {}
      : { referrers: (subject, options) => each(referrers.call(transport, subject, options)) }),
    ...(commit === undefined ? {} : { commit: wrap(options => commit.call(transport, options)) }),
  }
}

/** Files and folders are made when they are written to. */
function nothingYet(error: unknown): undefined {
  if (!isArchimageError(error) || error.code !== 'NOT_FOUND') throw error
}

/** Errors of the source's bytes come out of the destination's `putBlob`: they say by themselves where they are from. */
function stream(body: ReadableStream<Uint8Array>, side: Side): ReadableStream<Uint8Array> {
  const reader = body.getReader()
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const { done, value } = await reader.read()
          if (done) controller.close()
          else controller.enqueue(value)
        } catch (error) {
          controller.error(sided(error, side))
        }
      },
      cancel: reason => reader.cancel(reason),
    },
    { highWaterMark: 0 },
  )
}

function sided(error: unknown, side: Side): unknown {
  if (!isArchimageError(error) || error.code === 'CANCELLED' || error.details['side'] !== undefined) return error
  const { code, message, hint, place, details, cause, parts } = error
  return new ArchimageError(code, `${side}: ${message}`, {
    ...(hint === undefined ? {} : { hint }),
    ...(place === undefined ? {} : { place }),
    details: { ...details, side },
    cause,
    parts,
  })
}
