import { parseCsvLine } from '../dockerfile/csv.ts'
import { parseBool } from '../dockerfile/mounts.ts'
import { ArchimageError } from '../errors/error.ts'
import { didYouMean } from '../errors/suggest.ts'
import type { Options } from './request.ts'

const METHODS = ['build', 'check', 'lint', 'outline', 'targets']

/** Something that is asked for instead of a build. */
export interface Call {
  readonly method: string
  readonly json: boolean
  readonly ignoreStatus: boolean
}

/** What `--call` and `--check` ask for instead of a build; undefined for a build. Throws USAGE. */
export function callOf(options: Options): Call | undefined {
  const given = options['call'] as string | undefined
  if (given === undefined || given === '') return options['check'] === true ? plain('check') : undefined
  const call = parseCall(given)
  return call.method === 'build' ? undefined : call
}

function plain(method: string): Call {
  return { method, json: false, ignoreStatus: false }
}

/** `check,format=json,ignorestatus=true`, as buildx reads it. */
function parseCall(given: string): Call {
  const fail = (why: string, hint: string): ArchimageError =>
    new ArchimageError('USAGE', `--call=${given}: ${why}`, { hint })
  let call = plain('')
  for (const field of parseCsvLine(given) ?? [given]) {
    const equals = field.indexOf('=')
    const key = field.slice(0, equals)
    const value = field.slice(equals + 1)
    if (equals < 0) {
      if (call.method !== '') throw fail(`"${field}" is a second method`, 'name one')
      if (!METHODS.includes(field))
        throw fail(`there is no method "${field}"`, didYouMean(field, METHODS) ?? `there are ${METHODS.join(', ')}`)
      call = { ...call, method: field }
    } else if (key === 'format') {
      if (value !== 'json' && value !== 'text')
        throw fail(`there is no format "${value}"`, 'write format=json, or leave it out')
      call = { ...call, json: value === 'json' }
    } else if (key === 'ignorestatus') {
      const ignoreStatus = parseBool(value)
      if (ignoreStatus === undefined) throw fail(`"${value}" is neither true nor false`, 'write ignorestatus=true')
      call = { ...call, ignoreStatus }
    } else throw fail(`"${key}" is unknown`, 'there are format and ignorestatus')
  }
  return call
}

/** For commands with the flags of a build that do not build one: throws USAGE where --check or --call is given. */
export function refuseCall(name: string, options: Options): void {
  const call = callOf(options)
  if (call)
    throw new ArchimageError(
      'USAGE',
      `archimage ${name} does not take ${options['check'] === true ? '--check' : '--call'}`,
      {
        hint:
          call.method === 'check' || call.method === 'lint'
            ? 'archimage lint checks'
            : `archimage build --call=${call.method} SERVICE`,
      },
    )
}
