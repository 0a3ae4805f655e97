import type { Range } from '../../dockerfile/ast.ts'
import type { Rule } from '../rule.ts'
import { ruleUrl } from './url.ts'

export const NoEmptyContinuation: Rule = {
  name: 'NoEmptyContinuation',
  description: 'Empty continuation lines will become errors in a future release',
  url: ruleUrl('no-empty-continuation'),
  from: 'buildkit',
  level: 'warning',
  wholeFile: true,
  remedy: 'remove the empty line, or make a comment of it',
  about:
    'An empty line after a `\\` does not end the instruction, though it looks so: what follows still belongs to it. Remove the line, or make a comment of it. The line that is named is the last one of the instruction.',
  bad: { dockerfile: 'FROM alpine:3.20\nRUN apk add \\\n\n    curl\n' },
  good: { dockerfile: 'FROM alpine:3.20\nRUN apk add \\\n    # for the health check\n    curl\n' },
  check: {
    instruction: (one, report) => {
      if (one.emptyLines === undefined) return
      const line = (one.heredocs[0]?.range.start.line ?? one.range.end.line + 1) - 1
      report('Empty continuation line', lineRange(line))
    },
  },
}

function lineRange(line: number): Range {
  return { start: { line, column: 1 }, end: { line, column: 1 } }
}

export const MaintainerDeprecated: Rule = {
  name: 'MaintainerDeprecated',
  description: 'The MAINTAINER instruction is deprecated, use a label instead to define an image author',
  url: ruleUrl('maintainer-deprecated'),
  from: 'buildkit',
  level: 'warning',
  remedy: 'write LABEL org.opencontainers.image.authors="…"',
  about: 'The label `org.opencontainers.image.authors` says the same, and tools look there.',
  bad: { dockerfile: 'FROM alpine:3.20\nMAINTAINER team@example.com\n' },
  good: { dockerfile: 'FROM alpine:3.20\nLABEL org.opencontainers.image.authors="team@example.com"\n' },
  check: {
    instruction: (one, report) => {
      if (one.kind === 'maintainer') report('Maintainer instruction is deprecated in favor of using label')
    },
  },
}

export const LegacyKeyValueFormat: Rule = {
  name: 'LegacyKeyValueFormat',
  description: 'Legacy key/value format with whitespace separator should not be used',
  url: ruleUrl('legacy-key-value-format'),
  from: 'buildkit',
  level: 'warning',
  remedy: 'put "=" between name and value, and quotes around a value with blanks',
  about: '`ENV a b c` sets `a` to `b c`, and `ENV a b c=d` sets `a` to `b c=d`. Write `a="b c"`.',
  bad: { dockerfile: 'FROM alpine:3.20\nENV DIR /app\n' },
  good: { dockerfile: 'FROM alpine:3.20\nENV DIR=/app\n' },
  check: {
    step: ({ instruction }, report) => {
      if ((instruction.kind === 'env' || instruction.kind === 'label') && instruction.legacy)
        report(
          `"${instruction.written} key=value" should be used instead of legacy "${instruction.written} key value" format`,
        )
    },
  },
}

export const InvalidDefinitionDescription: Rule = {
  name: 'InvalidDefinitionDescription',
  description:
    'Comment for build stage or argument should follow the format: `# <arg/stage name> <description>`. If this is not intended to be a description comment, add an empty line or comment between the instruction and the comment.',
  url: ruleUrl('invalid-definition-description'),
  from: 'buildkit',
  level: 'warning',
  experimental: true,
  remedy: 'begin the comment with the name, or put an empty comment (#) below it',
  about:
    '`archimage build --call=outline` and `--call=targets` show the comment above an ARG or a FROM as its description, if it begins with the name. An empty comment (`#`) keeps other comments apart.',
  bad: {
    dockerfile:
      '# check=experimental=InvalidDefinitionDescription\nFROM alpine:3.20 AS build\n# the release\nARG VERSION\n',
  },
  good: {
    dockerfile:
      '# check=experimental=InvalidDefinitionDescription\nFROM alpine:3.20 AS build\n# VERSION is the release\nARG VERSION\n',
  },
  check: {
    instruction: (one, report) => {
      const names =
        one.kind === 'from' ? [one.name ?? []].flat() : one.kind === 'arg' ? one.args.map(arg => arg.key) : []
      const last = one.comments.at(-1)
      if (last === undefined || names.length === 0 || names.includes(last.split(' ')[0]!)) return
      const keyword = one.kind === 'from' ? 'FROM' : 'ARG'
      const name = names.length > 1 ? '<arg_key>' : names[0]
      report(`Comment for ${keyword} should follow the format: \`# ${name} <description>\``)
    },
  },
}
