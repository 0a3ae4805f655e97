import type { ArgInstruction } from '../../dockerfile/ast.ts'
import { globalArguments } from '../../plan/from.ts'
import type { FileView, Report, Rule } from '../rule.ts'

const AUTOMATIC = /^(?:BUILD|TARGET)(?:PLATFORM|OS|OSVERSION|ARCH|VARIANT)$/

export const AutomaticArgShadowed: Rule = {
  name: 'AutomaticArgShadowed',
  description: 'A default hides the value that the builder gives to a platform argument',
  from: 'archimage',
  level: 'warning',
  remedy: 'leave the default out: the builder gives a value for each platform',
  about:
    'With `ARG TARGETARCH=amd64` the variable is `amd64` in the build for every platform: the default wins over the automatic value. Images for arm64 then hold programs for amd64. An automatic argument is declared without a default.',
  bad: { dockerfile: 'FROM scratch\nARG TARGETARCH=amd64\nCOPY app-$TARGETARCH /app\n' },
  good: { dockerfile: 'FROM scratch\nARG TARGETARCH\nCOPY app-$TARGETARCH /app\n' },
  check: {
    file: (file, report) => {
      for (const instruction of file.dockerfile.globalArgs)
        check(instruction, name => file.globals.get(name), file, report)
    },
    step: ({ instruction, state }, report, file) => {
      if (instruction.kind === 'arg') check(instruction, name => state.env.get(name), file, report)
    },
  },
}

function check(
  instruction: ArgInstruction,
  current: (name: string) => string | undefined,
  file: FileView,
  report: Report,
): void {
  const { dockerfile, platform, args } = file
  for (const { key, value } of instruction.args) {
    if (value === undefined || !AUTOMATIC.test(key) || Object.hasOwn(args, key)) continue
    const automatic = globalArguments({ dockerfile: { ...dockerfile, globalArgs: [] }, args: {} }, platform, '').get(
      key,
    )
    // One architecture for all platforms is wrong, also where it happens to be the one that is built.
    const constant = /(?:ARCH|PLATFORM)$/.test(key) && !value.includes('$')
    if (constant || current(key) !== automatic)
      report(`The default of ARG ${key} hides the value that the builder gives it for each platform`, instruction.range)
  }
}
