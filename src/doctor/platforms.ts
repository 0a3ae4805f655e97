import { probePlatforms } from '../emulation/ability.ts'
import { KNOWN_PLATFORMS } from '../emulation/report.ts'
import { formatPlatform, parsePlatform } from '../oci/platform.ts'
import { type Finding, ok, weaker } from './finding.ts'

/** What most images are made for: worth a remedy where it does not run. */
const USUAL = ['amd64', 'arm64', 'arm/v7'].map(name => formatPlatform(parsePlatform(name)))

/** For which platforms RUN steps run here; measured, see `archimage emulators ls`. */
export async function diagnosePlatforms(directory: string): Promise<Finding[]> {
  if (process.platform !== 'linux') return []
  const abilities = Object.entries(await probePlatforms(KNOWN_PLATFORMS, { directory }))
  const names = (how: string): string =>
    abilities.flatMap(([name, ability]) => (ability.how === how ? [name.replace(/^linux\//, '')] : [])).join(', ')
  const found = ok('platforms', `RUN steps run for ${names('native')}; emulated for ${names('emulated') || 'none'}`)
  const lacking = abilities.filter(([name, { how }]) => how === 'no' && USUAL.includes(name))
  if (lacking.length === 0) return [found]
  const [, { problem }] = lacking[0]!
  const text = `no RUN steps for ${lacking.map(([name]) => name).join(', ')}: ${problem?.message ?? 'nothing runs them'}`
  return [found, weaker('emulators', text, problem?.hint ?? 'archimage emulators install')]
}
