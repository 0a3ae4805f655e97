import type { Rule } from '../rule.ts'
import { ruleUrl } from './url.ts'

export const JSONArgsRecommended: Rule = {
  name: 'JSONArgsRecommended',
  description: 'JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to OS signals',
  url: ruleUrl('json-args-recommended'),
  from: 'buildkit',
  level: 'warning',
  remedy: 'write it as ["program", "argument"]',
  about:
    'In the shell form the program is a child of `/bin/sh -c`, which does not hand signals on: `docker stop` waits ten seconds and kills. Nothing is said where SHELL was chosen.',
  bad: { dockerfile: 'FROM alpine:3.20\nENTRYPOINT my-program start\n' },
  good: { dockerfile: 'FROM alpine:3.20\nENTRYPOINT ["my-program", "start"]\n' },
  check: {
    step: ({ instruction, state }, report) => {
      if (instruction.kind !== 'cmd' && instruction.kind !== 'entrypoint') return
      if (instruction.command.form === 'shell' && !state.shell)
        report(
          `JSON arguments recommended for ${instruction.written} to prevent unintended behavior related to OS signals`,
        )
    },
  },
}

export const MultipleInstructionsDisallowed: Rule = {
  name: 'MultipleInstructionsDisallowed',
  description: 'Multiple instructions of the same type should not be used in the same stage',
  url: ruleUrl('multiple-instructions-disallowed'),
  from: 'buildkit',
  level: 'warning',
  remedy: 'remove it, or the later one',
  about: 'Of several CMD, ENTRYPOINT or HEALTHCHECK in one stage only the last counts; those before it are named.',
  bad: { dockerfile: 'FROM alpine:3.20\nCMD ["one"]\nCMD ["two"]\n' },
  good: { dockerfile: 'FROM alpine:3.20\nCMD ["two"]\n' },
  check: {
    step: ({ instruction, state }, report) => {
      const { kind, written } = instruction
      if (kind !== 'cmd' && kind !== 'entrypoint' && kind !== 'healthcheck') return
      const before = state[kind]
      if (before)
        report(
          `Multiple ${written} instructions should not be used in the same stage because only the last one will be used`,
          before,
        )
    },
  },
}

export const WorkdirRelativePath: Rule = {
  name: 'WorkdirRelativePath',
  description:
    'Relative workdir without an absolute workdir declared within the build can have unexpected results if the base image changes',
  url: ruleUrl('workdir-relative-path'),
  from: 'buildkit',
  level: 'warning',
  remedy: 'begin with an absolute path',
  about: 'A relative WORKDIR goes on from that of the base image, which may be another one tomorrow.',
  bad: { dockerfile: 'FROM nginx:1.27\nWORKDIR html\n' },
  good: { dockerfile: 'FROM nginx:1.27\nWORKDIR /usr/share/nginx/html\n' },
  check: {
    step: ({ instruction, state, stage, word }, report) => {
      if (instruction.kind !== 'workdir' || state.workdir) return
      const path = word(instruction.path)
      if (!isAbsolute(path, stage.platform.os))
        report(`Relative workdir ${JSON.stringify(path)} can have unexpected results if the base image changes`)
    },
  },
}

/** On Windows with or without a drive, and with either slash. */
function isAbsolute(path: string, os: string): boolean {
  return os === 'windows' ? /^(?:[a-z]:)?[\\/]/i.test(path) : path.startsWith('/')
}
