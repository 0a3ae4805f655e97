import { ArchimageError } from '../errors/error.ts'

/** A mistake in a template, with the place and the line. */
export function templateFault(source: string, at: number, message: string, hint?: string): ArchimageError {
  const before = source.slice(0, at)
  const line = before.split('\n').length
  const column = at - before.lastIndexOf('\n')
  return new ArchimageError('USAGE', `the template of --format: ${message}`, {
    place: { file: '--format', line, column, excerpt: [source.split('\n')[line - 1]!], excerptLine: line },
    ...(hint === undefined ? {} : { hint }),
  })
}
