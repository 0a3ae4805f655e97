import type { ArgInstruction, Instruction } from '../../dockerfile/ast.ts'
import { commandsOf, shellScript } from '../../dockerfile/shell.ts'
import { findStage } from '../../dockerfile/stages.ts'
import type { Platform } from '../../oci/platform.ts'
import { architectureOf, architecturesIn, fits, hasSystem } from '../architecture-names.ts'
import type { FileView, Rule } from '../rule.ts'
import type { StageView } from '../stage-views.ts'

export const HardcodedArchitecture: Rule = {
  name: 'HardcodedArchitecture',
  description: 'The name of an architecture is written into a URL, a path or an argument',
  from: 'archimage',
  level: 'warning',
  remedy: 'write $TARGETARCH, with ARG TARGETARCH above; where the name differs choose it with case "$TARGETARCH" in …',
  about:
    'For every other platform the step fetches or copies what does not run there, mostly without an error until a container starts. Said for the platforms that the name does not fit. Where an instruction asks for the architecture (`$TARGETARCH`, `uname -m`, `dpkg --print-architecture`, `case … in`), and where the Dockerfile names several, they are taken for chosen.',
  bad: { dockerfile: 'FROM alpine:3.20\nADD https://example.com/tool-linux-amd64.tar.gz /opt/\n' },
  good: {
    dockerfile: 'FROM alpine:3.20\nARG TARGETARCH\nADD https://example.com/tool-linux-${TARGETARCH}.tar.gz /opt/\n',
  },
  check: {
    file: (file, report) => {
      const named = file.dockerfile.globalArgs.flatMap(arg => namesIn(arg, argWords(arg, file), [file.platform]))
      // A stage that is not built for this platform may be the one for another: FROM build-$TARGETARCH.
      for (const view of file.stages)
        if (view.needed && view.base.kind !== 'context') named.push(...namesOfStage(view, file))
      // Several are taken for a choice, or for meant: a file for each.
      if (new Set(named.map(({ name }) => architectureOf(name))).size !== 1) return
      for (const { name, word, instruction, platforms } of firstOfEach(named))
        if (!platforms.some(platform => fits(name, platform)))
          report(`The architecture ${name} is written into ${JSON.stringify(shortened(word, name))}`, instruction)
    },
  },
}

interface Named {
  readonly name: string
  readonly word: string
  readonly instruction: Instruction
  /** The platforms of which one has to fit. */
  readonly platforms: readonly Platform[]
}

function namesOfStage(view: StageView, file: FileView): readonly Named[] {
  const { from, instructions } = view.stage
  // A tool in a stage for the build platform may be for that one; nobody can tell from here what it is for.
  const platforms = [file.platform, view.platform]
  const base = view.base.kind === 'image' && view.platformFlag === undefined ? piecesOf(from.image) : []
  return [
    ...namesIn(from, base, platforms),
    ...instructions.flatMap(instruction => namesIn(instruction, wordsOf(instruction, file), platforms)),
  ]
}

function namesIn(instruction: Instruction, words: readonly string[], platforms: readonly Platform[]): readonly Named[] {
  return words.flatMap(word => architecturesIn(word).map(name => ({ name, word, instruction, platforms })))
}

function firstOfEach(named: readonly Named[]): readonly Named[] {
  return [...Map.groupBy(named, ({ instruction }) => instruction).values()].map(([first]) => first!)
}

const LONGEST = 72

/** The part of a long word around a name. */
function shortened(word: string, name: string): string {
  if (word.length <= LONGEST) return word
  const start = Math.max(0, Math.min(word.indexOf(name) - LONGEST / 2, word.length - LONGEST))
  const end = start + LONGEST
  return `${start > 0 ? '…' : ''}${word.slice(start, end)}${end < word.length ? '…' : ''}`
}

/** Cheap to ask, before anything is taken apart: most instructions name none. */
const PERHAPS = /64|86|arm|s390/i

/** The words of an instruction in which an architecture would be one of a URL, a path or an argument. */
function wordsOf(instruction: Instruction, file: FileView): readonly string[] {
  const { original, heredocs } = instruction
  if (!PERHAPS.test(original) && !heredocs.some(({ content }) => PERHAPS.test(content))) return []
  switch (instruction.kind) {
    case 'arg':
      return argWords(instruction, file)
    case 'env':
      return instruction.pairs.flatMap(({ key, value }) => assigned(key, value))
    case 'copy':
    case 'add': {
      const from = instruction.kind === 'copy' ? instruction.from : undefined
      // A stage may be called what it is for; what it holds is looked at there.
      const image = from === undefined || findStage(file.dockerfile, from) ? [] : [from]
      return [...image, ...instruction.sources, instruction.dest].flatMap(piecesOf)
    }
    case 'run':
      return runWords(shellScript(instruction) ?? '')
    default:
      return []
  }
}

/** ARG ARCH=amd64: what nobody gives has that value for every platform. Automatic arguments have a rule of their own. */
function argWords(instruction: ArgInstruction, { args }: FileView): readonly string[] {
  return instruction.args.flatMap(({ key, value }) => {
    const own = value !== undefined && !Object.hasOwn(args, key) && !/^(?:BUILD|TARGET)[A-Z]+$/.test(key)
    return own && !ASKED.test(value) ? assigned(key, value) : []
  })
}

/** What is assigned to a variable: an architecture, a URL or a path. */
function assigned(key: string, value: string): readonly string[] {
  return piecesOf(value.replace(/^["']|["']$/g, '')).flatMap(piece => {
    const [name] = architecturesIn(piece)
    const told = name !== undefined && (isPath(piece) || piece.length === name.length || /arch/i.test(key))
    return told ? [`${key}=${piece}`] : []
  })
}

/** Where the architecture is asked for or compared, the rest of the step is taken for knowing what it does. */
const ASKED =
  /TARGET(?:ARCH|PLATFORM|VARIANT)|BUILD(?:ARCH|PLATFORM)|\buname\b|\barch\s*[)`]|print-arch|dpkg-architecture|rpm\s+(?:-E|--eval)|process\.arch|platform\.machine|\bcase\s+\S+\s+in\b|env GOARCH|\bxx-/
const COMPARED = /(?:\s=|==|=~|!=)\s*["']?(?:amd64|x86_64|arm64|aarch64|arm|armv?\d\w*)["']?\s*(?:\]|&&|\|\||;|$)/m
/** They look for names or remove: nothing of that architecture comes into the image. */
const LOOKING = new Set(['rm', 'grep', 'egrep', 'fgrep', 'sed', 'awk', 'tr', 'find', 'test', '[', '[['])

function runWords(script: string): readonly string[] {
  if (ASKED.test(script) || COMPARED.test(script)) return []
  return commandsOf(script).flatMap(({ name, args, assignments }) => {
    if (LOOKING.has(name)) return []
    const named = args.flatMap((word, i) => {
      const equals = /^[\w-]+=/.exec(word)?.[0].length ?? 0
      if (equals > 0 && !word.includes(' ')) return assigned(word.slice(0, equals - 1), word.slice(equals))
      const isValue = /^-{1,2}(?:arch|target|platform|a|r)$/.test(args[i - 1] ?? '')
      return piecesOf(word).filter(piece => isValue || isPath(piece) || /\barch=/.test(piece))
    })
    const variables = assignments.flatMap(pair => {
      const equals = pair.indexOf('=')
      return assigned(pair.slice(0, equals), pair.slice(equals + 1))
    })
    return [...variables, ...named]
  })
}

const PATH = /\/|\.(?:tar|tgz|tbz2?|txz|gz|xz|bz2|zst|zip|deb|rpm|apk|bin|run|sh|so|whl|jar|exe|msi|appimage)\b/i
/** The emulator of an architecture is not of that architecture. */
const EMULATOR = /qemu-[a-z0-9_]+/

function isPath(text: string): boolean {
  return PATH.test(text) || hasSystem(text)
}

/** The parts of a word that may hold blanks, without what is chosen and not written: `$NAME`, `${…}`, `$(…)`. */
function piecesOf(word: string): readonly string[] {
  const written = word.replace(/\$\{[^}$]*\}|\$\([^)$]*\)|\$\w+/g, '$')
  return written.split(/\s+/).filter(piece => piece !== '' && !EMULATOR.test(piece))
}
