import { expect, test } from 'bun:test'
import { secret } from '../errors/redact.ts'
import { traceLine } from './trace.ts'

test('one line says what was asked and what came; what signs or identifies is left out', () => {
  const url = new URL('https://user:pw@r.test/v2/a/blobs/uploads/1?_state=abc&X-Amz-Signature=def&digest=sha256%3A12')
  expect(traceLine('PUT', url, 201, 12.4)).toBe(
    'PUT https://r.test/v2/a/blobs/uploads/1?_state=***&X-Amz-Signature=***&digest=sha256:12 201, 12 ms',
  )
  const reset = Object.assign(new Error('x'), { code: 'ECONNRESET' })
  expect(traceLine('GET', new URL('https://r.test/v2/'), reset, 3)).toBe('GET https://r.test/v2/ ECONNRESET, 3 ms')
  secret('hidden-path-part')
  expect(traceLine('GET', new URL('https://r.test/hidden-path-part/x'), 200, 0)).toBe(
    'GET https://r.test/***/x 200, 0 ms',
  )
})
