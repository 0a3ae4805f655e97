import { placeOf } from '../../dockerfile/fault.ts'
import { formatPlace, renderError, renderHint } from '../../errors/render.ts'
import { renderExcerpt } from '../../errors/render-excerpt.ts'
import { paint, type Style } from '../../errors/render-style.ts'
import { sanitizeText, wrap } from '../../errors/render-text.ts'
import type { CheckedFile } from '../checked.ts'
import { type Finding, onlyOn } from '../finding.ts'
import { ruleNamed } from '../rules.ts'

/** What people read: a block for each finding and each error, with the place and its lines, and a line that counts them. */
export function lintText(files: readonly CheckedFile[], style: Style): string {
  const blocks = files.flatMap(file => [
    ...file.errors.map(({ error, platforms }) => {
      const only = onlyOn(platforms, file.platforms)
      return `${renderError(error, style)}${only === undefined ? '' : `\n  on ${only}`}`
    }),
    ...file.findings.map(finding => findingText(finding, file, style)),
  ])
  return `${[...blocks, summary(files)].join('\n\n')}\n`
}

function findingText(finding: Finding, file: CheckedFile, style: Style): string {
  const rule = ruleNamed(finding.rule)
  const [head = '', ...more] = wrap(
    sanitizeText(`${finding.level}: ${finding.rule}: ${finding.message}`),
    style.columns,
  )
  const start = finding.level.length + 1
  const only = onlyOn(finding.platforms, file.platforms)
  const place = placeOf(file, finding.range)
  return [
    paint(style, finding.level === 'error' ? 'red' : 'yellow', head.slice(0, start)) +
      paint(style, 'bold', head.slice(start)),
    ...more.map(line => `  ${line}`),
    `  ${paint(style, 'cyan', formatPlace({ file: place.file, line: place.line }))}${only === undefined ? '' : `, on ${only}`}`,
    ...renderExcerpt(
      { lines: place.excerpt!, first: place.excerptLine!, line: place.line!, endLine: place.endLine },
      style,
    ),
    ...(rule === undefined ? [] : renderHint(rule.remedy, style)),
  ].join('\n')
}

/** `2 warnings and 1 error in 3 Dockerfiles, checked for linux/amd64 and linux/arm64`. */
function summary(files: readonly CheckedFile[]): string {
  const findings = files.flatMap(file => file.findings)
  const errors = files.flatMap(file => file.errors).length + findings.filter(({ level }) => level === 'error').length
  const warnings = findings.filter(({ level }) => level === 'warning').length
  const counted = [
    ...(warnings > 0 ? [`${warnings} warning${warnings === 1 ? '' : 's'}`] : []),
    ...(errors > 0 ? [`${errors} error${errors === 1 ? '' : 's'}`] : []),
  ]
  const platforms = [...new Set(files.flatMap(file => file.platforms))]
  const where = `${files.length} Dockerfile${files.length === 1 ? '' : 's'}, checked for ${platforms.join(', ')}`
  return `${counted.length === 0 ? 'no findings' : counted.join(' and ')} in ${where}`
}
