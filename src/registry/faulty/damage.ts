import type { Damage, Faults } from './faults.ts'

/** Takes one of the `times` that a fault has left, if it has any. */
export function takeOne(fault: { times?: number }): boolean {
  if (fault.times === undefined) return true
  if (fault.times <= 0) return false
  fault.times--
  return true
}

/** The answer to a GET of a blob with what is wrong with blobs done to it; undefined when nothing is. */
export async function damageBlob(response: Response, digest: string, faults: Faults): Promise<Response | undefined> {
  const wanted = (fault: Damage | undefined): fault is Damage =>
    fault !== undefined && (fault.match?.test(digest) ?? true) && takeOne(fault)
  let bytes: Uint8Array<ArrayBuffer> | undefined
  const read = async () => bytes ?? new Uint8Array(await response.arrayBuffer())
  if (wanted(faults.truncateBlob)) {
    const all = await read()
    bytes = all.subarray(0, Math.max(0, all.byteLength - (faults.truncateBlob?.bytes ?? 1)))
  }
  if (wanted(faults.lengthenBlob)) {
    const all = await read()
    bytes = new Uint8Array(all.byteLength + (faults.lengthenBlob?.bytes ?? 1))
    bytes.set(all)
  }
  if (wanted(faults.corruptBlob)) {
    bytes = (await read()).slice()
    const middle = bytes.byteLength >> 1
    const end = Math.min(bytes.byteLength, middle + (faults.corruptBlob?.bytes ?? 1))
    for (let i = middle; i < end; i++) bytes[i] = bytes[i]! ^ 0xff
  }
  if (bytes === undefined) return undefined
  const headers = new Headers(response.headers)
  headers.set('content-length', String(bytes.byteLength))
  return new Response(bytes, { status: response.status, headers })
}
