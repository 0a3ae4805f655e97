import { type Memory, probePlatforms } from '../emulation/ability.ts'
import { formatPlatform, type Platform } from '../oci/platform.ts'
import type { RunAbility } from './engine.ts'

export type { Memory } from '../emulation/ability.ts'

/** How programs run on this machine: measured once for each platform, by starting one. */
export function measuredAbility(memory?: Memory): (platform: Platform) => Promise<RunAbility> {
  const known = new Map<string, Promise<RunAbility>>()
  const measure = async (platform: Platform): Promise<RunAbility> => {
    const abilities = await probePlatforms([platform], memory ? { memory } : {})
    return Object.values(abilities)[0]!
  }
  return platform => {
    const name = formatPlatform(platform)
    const promise = known.get(name) ?? measure(platform)
    known.set(name, promise)
    return promise
  }
}
