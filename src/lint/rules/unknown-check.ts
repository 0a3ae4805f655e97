import type { Range } from '../../dockerfile/ast.ts'
import { suggest } from '../../errors/suggest.ts'
import { type CheckOptions, checkComment, parseCheckOptions } from '../check-options.ts'
import type { Report, Rule } from '../rule.ts'

export const UnknownCheck: Rule = {
  name: 'UnknownCheck',
  description: 'A check that is switched off or on does not exist',
  from: 'archimage',
  level: 'warning',
  remedy: 'write a name of docs/checks.md, or remove it',
  about:
    'A mistyped name in `# check=skip=…` does nothing, and BuildKit does not say so. A malformed comment in front of an instruction does nothing either.',
  bad: { dockerfile: '# check=skip=JsonArgsRecommended\nFROM alpine:3.20\n' },
  good: { dockerfile: '# check=skip=JSONArgsRecommended\nFROM alpine:3.20\n' },
  check: {
    file: ({ options, dockerfile, args, ruleNames }, report) => {
      const line = Object.hasOwn(args, 'BUILDKIT_DOCKERFILE_CHECK') ? undefined : dockerfile.directives['check']?.line
      tell(options, ruleNames, line === undefined ? report : message => report(message, lineRange(line)))
    },
    instruction: ({ comments }, report, { ruleNames }) => {
      const value = checkComment(comments)
      const options = value === undefined ? undefined : parseCheckOptions(value)
      if (typeof options === 'string') report(`"# check=${value}" does nothing: ${options}`)
      else if (options) tell(options, ruleNames, report)
    },
  },
}

/** Of a long list the beginning tells enough. */
const MOST = 20

function tell({ skip, experimental }: CheckOptions, known: readonly string[], report: Report): void {
  const named = new Set([skip, experimental].flatMap(list => (list === 'all' ? [] : list)))
  const unknown = named.difference(new Set(known))
  for (const name of unknown.values().take(MOST)) {
    const meant = suggest(name, known)
    report(
      name === ''
        ? 'The list of checks has an empty name'
        : `There is no check "${name}"${meant === undefined ? '' : ` (did you mean ${meant}?)`}`,
    )
  }
}

function lineRange(line: number): Range {
  return { start: { line, column: 1 }, end: { line, column: 1 } }
}
