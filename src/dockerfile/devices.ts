import { didYouMean } from '../errors/suggest.ts'
import { parseCsvLine } from './csv.ts'
import { type Fail, quoted } from './fault.ts'
import { parseBool } from './mounts.ts'

/** One `RUN --device`: the name of a CDI device. */
export interface Device {
  readonly name: string
  readonly required: boolean
}

/** Reads the raw value of a `--device` (`vendor.com/class=name[,required]`). Throws with the rules of BuildKit. */
export function parseDevice(raw: string, fail: Fail): Device {
  const fields = parseCsvLine(raw)
  if (fields === undefined) throw fail(`--device: ${quoted(raw)} is not well formed`)
  let name = ''
  let required = false
  for (const field of fields) {
    const equals = field.indexOf('=')
    const key = (equals < 0 ? field : field.slice(0, equals)).toLowerCase()
    const value = equals < 0 ? undefined : field.slice(equals + 1)
    if (key === 'required') {
      const yes = value === undefined ? true : parseBool(value)
      if (yes === undefined) throw fail(`--device: invalid value ${quoted(value!)} for required`)
      required = yes
    } else if (key === 'name' && value !== undefined) {
      if (name !== '') throw fail(`--device: the name is already ${quoted(name)}`)
      name = value
    } else if (name === '') name = field
    else throw fail(`--device: unknown option ${quoted(field)}`, didYouMean(key, ['name', 'required']))
  }
  return { name, required }
}
