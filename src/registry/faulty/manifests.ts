import { gzipSync } from 'node:zlib'
import { sha256 } from '../../oci/digest.ts'
import type { Faults } from './faults.ts'

const SCHEMA1 = JSON.stringify({
  schemaVersion: 1,
  name: 'old',
  tag: 'old',
  architecture: 'amd64',
  fsLayers: [],
  history: [],
  signatures: [],
})

/** The answer to GET or HEAD of a manifest with what is wrong with manifests. */
export async function damageManifest(request: Request, response: Response, faults: Faults): Promise<Response> {
  const { headers } = response
  if (faults.wrongDigestHeader) headers.set('docker-content-digest', sha256('other bytes'))
  if (faults.noDigestHeader === 'always' || (faults.noDigestHeader === 'HEAD' && request.method === 'HEAD'))
    headers.delete('docker-content-digest')
  const { gzipManifests, schema1, padManifests, manifestType } = faults
  const { method } = request
  if (method !== 'GET' && method !== 'HEAD') return response
  if (manifestType !== undefined) headers.set('content-type', manifestType)
  if (!gzipManifests && !schema1 && padManifests === undefined) return response
  headers.delete('docker-content-digest')
  headers.delete('content-length')
  if (schema1) headers.set('content-type', 'application/vnd.docker.distribution.manifest.v1+prettyjws')
  if (gzipManifests) headers.set('content-encoding', 'gzip')
  if (method === 'HEAD') return response
  const whole = schema1 ? Buffer.from(SCHEMA1) : Buffer.from(await response.arrayBuffer())
  const padded = Buffer.concat([whole, Buffer.alloc(padManifests ?? 0, ' ')])
  const bytes = new Uint8Array(gzipManifests ? gzipSync(padded) : padded)
  headers.set('content-length', String(bytes.byteLength))
  return new Response(bytes, { headers })
}
