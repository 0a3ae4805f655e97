import { ArchimageError, isArchimageError } from '../errors/error.ts'
import type { Environment } from './home.ts'
import type { Pruned } from './prune.ts'
import type { Store } from './store.ts'

const UNITS: Readonly<Record<string, number>> = { '': 1, k: 1e3, m: 1e6, g: 1e9, t: 1e12 }

/** `500MB`, `20GB`: bytes, in powers of 1000, as disks are sold. Undefined for what is no size. */
export function parseDiskSize(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)\s*([kmgt]?)b?$/i.exec(text)
  return match ? Math.floor(Number(match[1]) * UNITS[match[2]!.toLowerCase()]!) : undefined
}

/** Bytes that a store keeps beside its images, by ARCHIMAGE_STORE_LIMIT; undefined without one. Throws USAGE. */
export function storeLimit(env: Environment = process.env): number | undefined {
  const text = env['ARCHIMAGE_STORE_LIMIT']
  if (!text) return undefined
  const limit = parseDiskSize(text)
  if (limit === undefined)
    throw new ArchimageError('USAGE', `ARCHIMAGE_STORE_LIMIT=${text} is not a size`, {
      hint: 'for instance 500MB, 20GB',
    })
  return limit
}

/** Prunes what was used least recently until the store keeps its limit; undefined while others use it, who will do it. */
export function keepLimit(store: Store): Pruned | undefined {
  if (store.limit === undefined) return undefined
  try {
    return store.prune({ keepBytes: store.limit, wait: 0 })
  } catch (error) {
    if (isArchimageError(error) && error.code === 'STORE_BUSY') return undefined
    throw error
  }
}
