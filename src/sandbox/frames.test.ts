import { expect, test } from 'bun:test'
import fc from 'fast-check'
import {
  decodeJson,
  decodeOutput,
  encodeJson,
  encodeOutput,
  type Frame,
  frameReader,
  JSON_FRAME,
  OUTPUT_FRAME,
} from './frames.ts'

test('frames come out as they went in, however a pipe cuts them', () => {
  const message = fc.oneof(
    fc.record({ json: fc.jsonValue() }),
    fc.record({
      step: fc.nat(),
      stream: fc.constantFrom('stdout' as const, 'stderr' as const),
      bytes: fc.uint8Array(),
    }),
  )
  fc.assert(
    fc.property(
      fc.array(message, { maxLength: 8 }),
      fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 }),
      (messages, cuts) => {
        const all = Buffer.concat(
          messages.map(one => ('json' in one ? encodeJson(one.json) : encodeOutput(one.step, one.stream, one.bytes))),
        )
        const frames: Frame[] = []
        const read = frameReader(({ kind, body }) => frames.push({ kind, body: Buffer.from(body) }))
        for (let at = 0, i = 0; at < all.length; i++) {
          const end = at + cuts[i % cuts.length]!
          read(all.subarray(at, end))
          at = end
        }
        expect(frames.map(({ kind }) => kind)).toEqual(messages.map(one => ('json' in one ? JSON_FRAME : OUTPUT_FRAME)))
        for (const [i, one] of messages.entries()) {
          if ('json' in one) expect(decodeJson<unknown>(frames[i]!.body)).toEqual(JSON.parse(JSON.stringify(one.json)))
          else expect(decodeOutput(frames[i]!.body)).toEqual({ ...one, bytes: Buffer.from(one.bytes) })
        }
      },
    ),
  )
})

test('bytes in JSON', () => {
  const [frame] = [Buffer.from(encodeJson({ a: [{ bytes: Uint8Array.of(0, 255, 7) }], b: Buffer.from('x') }))]
  expect(decodeJson<unknown>(frame.subarray(5))).toEqual({
    a: [{ bytes: Buffer.from([0, 255, 7]) }],
    b: Buffer.from('x'),
  })
})

test('nonsense is not waited for', () => {
  expect(() => frameReader(() => {})(Buffer.from([0, 0, 0, 0]))).toThrow('a frame of 0 bytes')
  expect(() => frameReader(() => {})(Buffer.from([255, 255, 255, 255]))).toThrow('a frame of 4294967295 bytes')
})
