import { isAbsolute } from 'node:path'
import { pathToFileURL } from 'node:url'
import { CODES } from '../../errors/codes.ts'
import type { CheckedFile } from '../checked.ts'
import { onlyOn } from '../finding.ts'
import { RULES } from '../rules.ts'

const SCHEMA = 'https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json'

/** SARIF 2.1.0, for code scanning. Errors of a Dockerfile are results whose rule is the code of the error. */
export function lintSarif(files: readonly CheckedFile[], version: string): string {
  const codes = [...new Set(files.flatMap(file => file.errors.map(({ error }) => error.code)))]
  const rules = [
    ...RULES.map(({ name, description, about, remedy, url, level }) => ({
      id: name,
      shortDescription: { text: description },
      help: { text: `${remedy}.`, markdown: about },
      ...(url === undefined ? {} : { helpUri: url }),
      defaultConfiguration: { level },
    })),
    ...codes.map(code => ({
      id: code,
      shortDescription: { text: CODES[code].about },
      defaultConfiguration: { level: 'error' },
    })),
  ]
  const results = files.flatMap(file => [
    ...file.errors.map(({ error, platforms }) => {
      const { line, column, endLine } = error.place ?? {}
      const text = error.hint === undefined ? error.message : `${error.message}\n${error.hint}`
      return result(file, error.code, 'error', text, platforms, line && { line, column, endLine, endColumn: undefined })
    }),
    ...file.findings.map(({ rule, level, message, range: { start, end }, platforms }) => {
      const place = { line: start.line, column: start.column, endLine: end.line, endColumn: end.column + 1 }
      return result(file, rule, level, message, platforms, place)
    }),
  ])
  const driver = { name: 'archimage', version, rules }
  const runs = [{ tool: { driver }, columnKind: 'utf16CodeUnits', results }]
  return `${JSON.stringify({ $schema: SCHEMA, version: '2.1.0', runs }, null, 2)}\n`

  function result(
    file: CheckedFile,
    id: string,
    level: 'error' | 'warning',
    message: string,
    platforms: readonly string[],
    place: Place | undefined | 0,
  ): object {
    const only = onlyOn(platforms, file.platforms)
    return {
      ruleId: id,
      ruleIndex: rules.findIndex(rule => rule.id === id),
      level,
      message: { text: only === undefined ? message : `${message} (on ${only})` },
      locations: [
        {
          physicalLocation: {
            artifactLocation: artifact(file.file),
            ...(place ? { region: region(place) } : {}),
          },
        },
      ],
      properties: { platforms },
    }
  }
}

interface Place {
  readonly line: number
  readonly column: number | undefined
  readonly endLine: number | undefined
  /** Behind the last character. */
  readonly endColumn: number | undefined
}

function region({ line, column, endLine, endColumn }: Place): object {
  return {
    startLine: line,
    ...(column === undefined ? {} : { startColumn: column }),
    ...(endLine === undefined ? {} : { endLine }),
    ...(endColumn === undefined ? {} : { endColumn }),
  }
}

/** A URI relative to the root of the sources where the file is below it. */
function artifact(file: string): object {
  if (isAbsolute(file)) return { uri: pathToFileURL(file).href }
  return { uri: file.split(/[\\/]/).map(encodeURIComponent).join('/'), uriBaseId: '%SRCROOT%' }
}
