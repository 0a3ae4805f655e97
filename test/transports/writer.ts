import { parseLocation } from '../../src/transports/location.ts'
import { openTransport } from '../../src/transports/open.ts'
import { imageOf, putAll } from '../../src/transports/testing/images.ts'

// writer.ts PLACE PREFIX COUNT: images PREFIX0, PREFIX1 …, each said when it is put
const [place = '', prefix = '', count = ''] = process.argv.slice(2)
const none = (): never => {
  throw new Error('files only')
}
const location = parseLocation(place, () => undefined)
const transport = await openTransport(location, { registry: none, store: none }, 'write')
for (let i = 0; i < Number(count); i++) {
  await putAll(transport, imageOf(`${prefix}${i} `.repeat(50_000)), `${prefix}${i}`)
  console.log(`${prefix}${i}`)
}
await transport.commit?.()
