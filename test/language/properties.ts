import fc from 'fast-check'
import { compileGlob, hasWildcards } from '../../src/context/glob.ts'
import { parseIgnoreFile } from '../../src/context/ignore.ts'
import type { Range } from '../../src/dockerfile/ast.ts'
import { applyChmod, parseChmod } from '../../src/dockerfile/chmod.ts'
import { parseCsvLine } from '../../src/dockerfile/csv.ts'
import { parseDevice } from '../../src/dockerfile/devices.ts'
import { parseDuration } from '../../src/dockerfile/duration.ts'
import { expandHeredoc, expandWord, expandWords } from '../../src/dockerfile/expand.ts'
import { parseMount } from '../../src/dockerfile/mounts.ts'
import { parseDockerfile } from '../../src/dockerfile/parse.ts'
import { judgeSyntax } from '../../src/dockerfile/syntax.ts'
import { ArchimageError, isArchimageError } from '../../src/errors/error.ts'
import { bytes, dockerfile, globbing, ignoring, VARIABLES, word } from './arbitraries.ts'
import { convert } from './conversion.ts'
import { project } from './projects.ts'

/** What holds for any input. A property throws when it does not; nothing else than an ArchimageError may come out of the code. */
export interface Property {
  readonly about: string
  readonly check: fc.IAsyncPropertyWithHooks<unknown> | fc.IPropertyWithHooks<unknown>
}

function must(condition: boolean, what: string): void {
  if (!condition) throw new Error(what)
}

/** The error's message and place are for people: they are there, and lead into the file. */
function refusal(error: unknown, codes: readonly string[], lines?: number): void {
  if (!isArchimageError(error)) throw error
  must(codes.includes(error.code), `code ${error.code}: ${error.message}`)
  must(error.message !== '' && !/undefined|\[object/.test(error.message), `the message is ${error.message}`)
  if (lines === undefined) return
  const { line = 1, column = 1, endLine = line } = error.place ?? {}
  must(error.place !== undefined, `no place: ${error.message}`)
  must(
    line >= 1 && column >= 1 && endLine >= line && endLine <= Math.max(1, lines),
    `the place is ${line}:${column}–${endLine}`,
  )
}

function parses(text: string | Uint8Array): void {
  const whole = typeof text === 'string' ? text : new TextDecoder('utf-8').decode(text)
  const count = whole.split('\n').length
  try {
    const file = parseDockerfile(text, 'Dockerfile')
    const inside = (inner: Range, outer: Range): boolean => {
      const number = ({ line, column }: Range['start']): number => line * 1e6 + column
      return number(inner.start) >= number(outer.start) && number(inner.end) <= number(outer.end)
    }
    const all = [...file.globalArgs, ...file.stages.flatMap(stage => [stage.from, ...stage.instructions])]
    let before = 0
    for (const { range, written, flags, heredocs, kind } of all) {
      const { start, end } = range
      must(
        start.line > before && end.line >= start.line && end.line <= file.lines.length,
        `${kind}: lines ${start.line}–${end.line}`,
      )
      before = end.line
      const first = file.lines[start.line - 1]!.slice(start.column - 1)
      must(
        first.startsWith(written) || written.startsWith(first.replace(/[\\`][ \t]*$/, '')),
        `${kind} begins at ${start.column} with ${first}`,
      )
      for (const flag of flags) {
        must(inside(flag.range, range), `--${flag.name} is outside of its instruction`)
        must(
          file.lines[flag.range.start.line - 1]![flag.range.start.column - 1] === '-',
          `--${flag.name} begins elsewhere`,
        )
      }
      for (const { range: own, content } of heredocs) {
        must(own.start.line > start.line && own.end.line <= end.line, 'a heredoc is outside of its instruction')
        must(
          content.split('\n').length - 1 === own.end.line - own.start.line,
          'a heredoc has other lines than its range',
        )
      }
    }
  } catch (error) {
    refusal(error, ['DOCKERFILE_INVALID'], count)
  }
}

const env = { get: (name: string) => (Object.hasOwn(VARIABLES, name) ? VARIABLES[name] : undefined) }
const fail = (message: string): ArchimageError => new ArchimageError('DOCKERFILE_INVALID', message)

const anyWord = fc.oneof(word, fc.string({ unit: 'binary', maxLength: 40 }))
const options = fc.record({
  escape: fc.constantFrom('\\' as const, '`' as const),
  keepQuotes: fc.boolean(),
  keepUnset: fc.boolean(),
  windows: fc.boolean(),
})

export const PROPERTIES: Readonly<Record<string, Property>> = {
  parser: {
    about: 'a Dockerfile is understood, with ranges inside of it, or refused with a place',
    check: fc.property(
      fc.oneof({ weight: 8, arbitrary: dockerfile }, fc.string({ unit: 'binary', maxLength: 80 })),
      parses,
    ),
  },
  bytes: { about: 'so are any bytes', check: fc.property(bytes, parses) },
  expansion: {
    about: 'words have a value or are refused; single quotes keep what is inside',
    check: fc.property(anyWord, options, (text, how) => {
      for (const work of [expandWord, expandWords, expandHeredoc])
        try {
          const { matched, unmatched } = work(text, env, how)
          must(
            matched.every(name => !unmatched.includes(name)),
            'a name is set and unset',
          )
        } catch (error) {
          refusal(error, ['DOCKERFILE_INVALID'])
        }
      const inner = text.replace(/'|^\ufeff/g, '')
      must(expandWord(`'${inner}'`, env).value === inner, 'single quotes change what is inside')
    }),
  },
  ignore: {
    about: 'an ignore file has rules or is refused at a line; what an exception keeps is not cut off above it',
    check: fc.property(
      fc.oneof(
        ignoring,
        fc.record({ file: fc.string({ unit: 'binary', maxLength: 60 }), paths: fc.constant(['a', 'a/b', 'b', 'b/c']) }),
      ),
      ({ file, paths }) => {
        try {
          const rules = parseIgnoreFile(Buffer.from(file), '.dockerignore')
          if (rules === undefined) return
          const states = new Map([['', rules.root]])
          for (const path of paths) {
            const above = path.slice(0, Math.max(0, path.lastIndexOf('/')))
            const state = rules.descend(path, states.get(above)!)
            states.set(path, state)
            must(rules.ignores(path, states.get(above)!) === state.ignored, `two answers for ${path}`)
            if (!state.ignored && states.get(above)!.ignored)
              must(rules.mayKeepBelow(above), `${path} is kept, and ${above} is cut off`)
          }
        } catch (error) {
          refusal(error, ['CONTEXT_INVALID'], file.split('\n').length)
        }
      },
    ),
  },
  glob: {
    about: 'a pattern matches or does not; without wildcards it matches itself',
    check: fc.property(
      fc.oneof(
        globbing,
        fc.record({
          pattern: fc.string({ unit: 'binary', maxLength: 20 }),
          names: fc.array(fc.string({ unit: 'binary' })),
        }),
      ),
      ({ pattern, names }) => {
        const glob = compileGlob(pattern)
        for (const name of names) must(glob === undefined || typeof glob(name) === 'boolean', 'no answer')
        if (glob !== undefined && !hasWildcards(pattern))
          must(glob(pattern.replace(/\\(.)/gsu, '$1')), 'a plain pattern does not match itself')
      },
    ),
  },
  values: {
    about: 'values of flags are understood or refused: mounts, devices, modes, times',
    check: fc.property(
      fc.oneof(
        fc
          .array(
            fc.constantFrom(
              'type=',
              'cache',
              'secret',
              ',',
              '"',
              'target',
              '=',
              '/x',
              'ro',
              'id',
              'size=1',
              'k',
              'mode=',
              '07',
              'u',
              '+',
              '=rwX',
              'g',
              'o-x',
              's',
              't',
              '1h',
              '.5',
              'ms',
              '-',
              'name=',
              'required',
              '$a',
            ),
            { maxLength: 8 },
          )
          .map(parts => parts.join('')),
        fc.string({ unit: 'binary', maxLength: 30 }),
      ),
      text => {
        for (const work of [() => parseMount(text, one => one, fail), () => parseDevice(text, fail)])
          try {
            work()
          } catch (error) {
            refusal(error, ['DOCKERFILE_INVALID'])
          }
        parseCsvLine(text)
        judgeSyntax(text)
        const time = parseDuration(text)
        must(time === undefined || Number.isFinite(time), `a time of ${time}`)
        const mode = parseChmod(text)
        for (const before of [0, 0o644, 0o7777])
          if (mode !== undefined) must((applyChmod(before, true, mode) & ~0o7777) === 0, 'a mode of more than 12 bits')
      },
    ),
  },
  lowering: {
    about: 'a Dockerfile means something for a platform or is refused with a place',
    check: fc.asyncProperty(project, async one => {
      try {
        await convert(one)
      } catch (error) {
        refusal(error, ['DOCKERFILE_INVALID', 'NOT_FOUND', 'UNSUPPORTED', 'NOT_ALLOWED', 'PLATFORM_MISMATCH'])
        must(isArchimageError(error) && error.place !== undefined, 'no place')
      }
    }),
  },
}
