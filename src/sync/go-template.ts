import { readFileSync } from 'node:fs'
import { ArchimageError, type Place } from '../errors/error.ts'

const CALL = /^\s*-?\s*(env|file)\s+(?:"((?:[^"\\]|\\.)*)"|`([^`]*)`)\s*(?:\|\s*(trimSpace|lower|upper)\s*)?-?\s*$/

/**
 * The templates in a regsync file: `{{ env "NAME" }}` and `{{ file "PATH" }}` (its text without white space at the ends; nothing where
 * there is none, as there). Throws UNSUPPORTED for others.
 */
export function expandTemplate(text: string, env: Readonly<Record<string, string | undefined>>, place: Place): string {
  return text.replace(/\{\{([\s\S]*?)\}\}/g, (whole, inner: string) => {
    const [, name, quoted, raw, then] = CALL.exec(inner) ?? []
    if (name === undefined)
      throw new ArchimageError('UNSUPPORTED', `the template ${whole} is not understood`, {
        hint: 'there are {{ env "NAME" }} and {{ file "PATH" }}',
        place,
      })
    const argument = quoted?.replace(/\\(.)/g, '$1') ?? raw!
    const value = name === 'env' ? (env[argument] ?? '') : fileText(argument)
    return then === 'lower' ? value.toLowerCase() : then === 'upper' ? value.toUpperCase() : then ? value.trim() : value
  })
}

function fileText(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim()
  } catch {
    return ''
  }
}
