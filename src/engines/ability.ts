import { type Ability, probePlatforms } from '../emulation/ability.ts'
import { type ReadyOptions, readyPlatforms } from '../emulation/ready.ts'
import { formatPlatform, normalizePlatform, type Platform } from '../oci/platform.ts'

export type { Ability } from '../emulation/ability.ts'

/** How programs run on this machine: measured once for each platform, by starting one. */
export class MachineAbility {
  readonly #options: ReadyOptions
  readonly #known = new Map<string, Promise<Ability>>()

  constructor(options: ReadyOptions = {}) {
    this.#options = options
  }

  /** Measures what a run needs before it begins, and gets ready what may be without asking, or was asked for. */
  async ready(wanted: readonly Platform[]): Promise<void> {
    const platforms = [...new Map(wanted.map(normalizePlatform).map(one => [formatPlatform(one), one])).values()]
    if (platforms.length === 0) return
    const measured = readyPlatforms(platforms, this.#options)
    for (const name of platforms.map(one => formatPlatform(one))) {
      const ability = measured.then(abilities => abilities[name]!)
      ability.catch(() => {})
      this.#known.set(name, ability)
    }
    await measured
  }

  readonly of = (platform: Platform): Promise<Ability> => {
    const name = formatPlatform(normalizePlatform(platform))
    const known = this.#known.get(name) ?? this.#measure(platform)
    this.#known.set(name, known)
    return known
  }

  async #measure(platform: Platform): Promise<Ability> {
    return Object.values(await probePlatforms([platform], this.#options))[0]!
  }
}
