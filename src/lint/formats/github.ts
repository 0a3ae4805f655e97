import type { CheckedFile } from '../checked.ts'
import { onlyOn } from '../finding.ts'

/** Workflow commands of GitHub Actions, which become annotations of the lines: `::warning file=…,line=…,title=…::message`. */
export function lintGithub(files: readonly CheckedFile[]): string {
  const lines = files.flatMap(({ file, platforms: all, errors, findings }) => [
    ...errors.map(({ error, platforms }) =>
      annotation(
        'error',
        error.code,
        error.message,
        file,
        error.place?.line,
        error.place?.endLine,
        onlyOn(platforms, all),
      ),
    ),
    ...findings.map(({ level, rule, message, range: { start, end }, platforms }) =>
      annotation(level, rule, message, file, start.line, end.line, onlyOn(platforms, all)),
    ),
  ])
  return lines.map(line => `${line}\n`).join('')
}

function annotation(
  level: 'error' | 'warning',
  title: string,
  message: string,
  file: string,
  line: number | undefined,
  endLine: number | undefined,
  only: string | undefined,
): string {
  const place = line === undefined ? '' : `,line=${line},endLine=${endLine ?? line}`
  const text = only === undefined ? message : `${message} (on ${only})`
  return `::${level} file=${property(file)}${place},title=${property(title)}::${data(text)}`
}

// As @actions/core escapes them: what is not escaped ends the value, or is a command of its own.
function data(text: string): string {
  return text.replaceAll('%', '%25').replaceAll('\r', '%0D').replaceAll('\n', '%0A')
}

function property(text: string): string {
  return data(text).replaceAll(':', '%3A').replaceAll(',', '%2C')
}
