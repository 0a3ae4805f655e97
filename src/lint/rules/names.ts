import type { Instruction } from '../../dockerfile/ast.ts'
import type { Rule } from '../rule.ts'
import { ruleUrl } from './url.ts'

const isLower = (text: string): boolean => text === text.toLowerCase()
const isUpper = (text: string): boolean => text === text.toUpperCase()

export const StageNameCasing: Rule = {
  name: 'StageNameCasing',
  description: 'Stage names should be lowercase',
  url: ruleUrl('stage-name-casing'),
  from: 'buildkit',
  level: 'warning',
  remedy: 'write the name in lower case',
  about:
    'Names of stages are kept in lower case, so `FROM Base` does not find what `AS Base` made. Write them in lower case everywhere.',
  bad: { dockerfile: 'FROM alpine:3.20 AS Builder\n' },
  good: { dockerfile: 'FROM alpine:3.20 AS builder\n' },
  check: {
    instruction: (one, report) => {
      if (one.kind === 'from' && one.alias && !isLower(one.alias.name))
        report(`Stage name '${one.alias.name}' should be lowercase`)
    },
  },
}

export const FromAsCasing: Rule = {
  name: 'FromAsCasing',
  description: "The 'as' keyword should match the case of the 'from' keyword",
  url: ruleUrl('from-as-casing'),
  from: 'buildkit',
  level: 'warning',
  remedy: 'write both keywords in the same case',
  about: '`FROM … AS name` or `from … as name`: two keywords of one line in two styles are hard to read.',
  bad: { dockerfile: 'FROM alpine:3.20 as builder\n' },
  good: { dockerfile: 'FROM alpine:3.20 AS builder\n' },
  check: {
    instruction: (one, report) => {
      if (one.kind !== 'from' || !one.alias) return
      const { written, alias } = one
      const match = isLower(written) ? isLower(alias.as) : isUpper(written) ? isUpper(alias.as) : true
      if (!match) report(`'${alias.as}' and '${written}' keywords' casing do not match`)
    },
  },
}

export const ConsistentInstructionCasing: Rule = {
  name: 'ConsistentInstructionCasing',
  description: 'All commands within the Dockerfile should use the same casing (either upper or lower)',
  url: ruleUrl('consistent-instruction-casing'),
  from: 'buildkit',
  level: 'warning',
  wholeFile: true,
  remedy: 'write all keywords in the same case',
  about: 'Keywords may be written in either case. The case of most of them is taken for the one that is meant.',
  bad: { dockerfile: 'FROM alpine:3.20\nCOPY app /app\nCmd ["/app"]\n' },
  good: { dockerfile: 'FROM alpine:3.20\nCOPY app /app\nCMD ["/app"]\n' },
  check: {
    file: ({ dockerfile }, report) => {
      const all: readonly Instruction[] = dockerfile.stages.flatMap(stage => [stage.from, ...stage.instructions])
      const lower = all.filter(one => isLower(one.written)).length
      const upper = all.filter(one => isUpper(one.written)).length
      const casing = lower > upper ? 'lowercase' : 'uppercase'
      for (const { written, range } of all)
        if (casing === 'lowercase' ? !isLower(written) : !isUpper(written))
          report(`Command '${written}' should match the case of the command majority (${casing})`, range)
    },
  },
}

export const DuplicateStageName: Rule = {
  name: 'DuplicateStageName',
  description: 'Stage names should be unique',
  url: ruleUrl('duplicate-stage-name'),
  from: 'buildkit',
  level: 'warning',
  wholeFile: true,
  remedy: 'give each stage a name of its own',
  about:
    'Of two stages with one name `COPY --from` and `--target` mean the last, `FROM` the last one above it. Give each a name of its own.',
  bad: { dockerfile: 'FROM debian:12 AS build\nRUN make\n\nFROM alpine:3.20 AS build\nRUN make\n' },
  good: { dockerfile: 'FROM debian:12 AS build-debian\nRUN make\n\nFROM alpine:3.20 AS build-alpine\nRUN make\n' },
  check: {
    file: ({ dockerfile }, report) => {
      const seen = new Set<string>()
      for (const { name, from } of dockerfile.stages) {
        if (name === undefined) continue
        if (seen.has(name)) report(`Duplicate stage name "${name}", stage names should be unique`, from.range)
        seen.add(name)
      }
    },
  },
}

export const ReservedStageName: Rule = {
  name: 'ReservedStageName',
  description: 'Reserved words should not be used as stage names',
  url: ruleUrl('reserved-stage-name'),
  from: 'buildkit',
  level: 'warning',
  wholeFile: true,
  remedy: 'choose another name',
  about: '`scratch` is the empty image and `context` the build context: a stage of that name cannot be told from them.',
  bad: { dockerfile: 'FROM alpine:3.20 AS context\nFROM scratch\nCOPY --from=context /etc/passwd /etc/\n' },
  good: { dockerfile: 'FROM alpine:3.20 AS users\nFROM scratch\nCOPY --from=users /etc/passwd /etc/\n' },
  check: {
    file: ({ dockerfile }, report) => {
      for (const { name, from } of dockerfile.stages)
        if (name === 'scratch' || name === 'context')
          report(`Stage name should not use the same name as reserved stage "${name}"`, from.range)
    },
  },
}
