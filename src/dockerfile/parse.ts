import { ArchimageError } from '../errors/error.ts'
import type { ArgInstruction, Dockerfile, Heredoc, Instruction, Stage } from './ast.ts'
import { readDirectives } from './directives.ts'
import { type Fail, invalid, type Source } from './fault.ts'
import { chompTabs, heredocsIn } from './heredoc.ts'
import { type Node, readInstruction } from './instruction.ts'
import { type LogicalLine, type Reader, rangeOf, readLines } from './reader.ts'
import { type Statement, splitStatement } from './statement.ts'
import { explainBySyntax } from './syntax.ts'

/** No Dockerfile of a person comes near this. */
const LARGEST = 16 << 20
const UTF8 = new TextDecoder('utf-8', { ignoreBOM: true })

/**
 * Reads a Dockerfile. `file` is its name in errors. Throws DOCKERFILE_INVALID with the place, the lines around it and a
 * remedy, and nothing else, for any input. What it accepts and how it splits is what BuildKit's frontend does.
 */
export function parseDockerfile(content: Uint8Array | string, file: string): Dockerfile {
  const text = textOf(content, file)
  const known = RECENT.get(text)
  if (known !== undefined) return { ...known, file }
  const raw = text.split('\n')
  if (raw.at(-1) === '') raw.pop()
  const lines = raw.map(line => (line.endsWith('\r') ? line.replace(/\r+$/, '') : line))
  const source: Source = { file, lines }
  try {
    const dockerfile = readDockerfile(source, raw)
    if (RECENT.size === MOST_RECENT) RECENT.clear()
    RECENT.set(text, dockerfile)
    return dockerfile
  } catch (error) {
    throw explainBySyntax(error, source)
  }
}

/** A project's Dockerfiles are read more than once: to find their contexts, to plan, to check. The same text is the same file. */
const RECENT = new Map<string, Dockerfile>()
const MOST_RECENT = 1000

function readDockerfile(source: Source, raw: readonly string[]): Dockerfile {
  const header = readDirectives(source)
  const nodes = readNodes(source, readLines(source, raw, header), header.escape)
  if (nodes.length === 0) throw empty(source)
  const globalArgs: ArgInstruction[] = []
  const stages: (Stage & { instructions: Instruction[] })[] = []
  for (const node of nodes) {
    const instruction = readInstruction(source, node)
    const stage = stages.at(-1)
    if (instruction.kind === 'from') {
      const name = instruction.name === undefined ? {} : { name: instruction.name }
      stages.push({ index: stages.length, ...name, from: instruction, instructions: [] })
    } else if (stage !== undefined) stage.instructions.push(instruction)
    else if (instruction.kind === 'arg') globalArgs.push(instruction)
    else
      throw invalid(
        source,
        instruction.range,
        `${instruction.keyword} stands before the first FROM, where only ARG may stand`,
        'begin the stage above it: FROM image, or FROM scratch',
      )
  }
  if (stages.length === 0)
    throw invalid(
      source,
      nodes.at(-1)!.range,
      'the Dockerfile has no FROM, so there is no stage to build',
      'begin a stage with FROM image, or with FROM scratch for an empty one',
    )
  return { ...source, escape: header.escape, directives: header.directives, globalArgs, stages }
}

function textOf(content: Uint8Array | string, file: string): string {
  const refuse = (message: string, hint: string): ArchimageError =>
    new ArchimageError('DOCKERFILE_INVALID', message, { hint, place: { file } })
  if (content.length > LARGEST)
    throw refuse(`the Dockerfile has more than ${LARGEST} bytes`, 'is this a Dockerfile? -f chooses another file')
  let text = content
  if (typeof text !== 'string') {
    if ((text[0] === 0xff && text[1] === 0xfe) || (text[0] === 0xfe && text[1] === 0xff))
      throw refuse('the Dockerfile is encoded as UTF-16', 'save it as UTF-8')
    text = UTF8.decode(text)
  }
  return text.charCodeAt(0) === 0xfeff ? text.slice(1) : text
}

function empty(source: Source): ArchimageError {
  const last = Math.max(1, source.lines.length)
  return invalid(
    source,
    { start: { line: last, column: 1 }, end: { line: last, column: 1 } },
    source.lines.length === 0 ? 'the Dockerfile is empty' : 'the Dockerfile has no instructions',
    'begin with FROM image, or with FROM scratch for an empty one',
  )
}

/** All statements with their heredocs: errors of form anywhere come before errors of meaning, as in BuildKit. */
function readNodes(source: Source, reader: Reader, escapeWith: string): readonly Node[] {
  const nodes: Node[] = []
  for (let line = reader.next(); line !== undefined; line = reader.next()) {
    const { last } = line
    const own = line
    const fail: Fail = (message, hint) => invalid(source, rangeOf(source, own, last), message, hint)
    const statement = splitStatement(line, 0, escapeWith, fail)
    const heredocs = holdsHeredocs(statement) && line.text.includes('<<') ? readHeredocs(line, reader, fail) : []
    nodes.push({ statement, line, range: rangeOf(source, line, reader.line()), heredocs })
  }
  return nodes
}

function holdsHeredocs(statement: Statement): boolean {
  const { name, json } = statement.name === 'onbuild' ? (statement.child ?? statement) : statement
  return !json && (name === 'run' || name === 'copy' || name === 'add')
}

function readHeredocs(line: LogicalLine, reader: Reader, fail: Fail): readonly Heredoc[] {
  return heredocsOf(line, fail).map(mark => {
    const body = reader.body(mark.name, mark.chomp)
    if (body === undefined)
      throw fail(
        `unterminated heredoc: no line is exactly "${mark.name}"`,
        mark.chomp
          ? 'the closing line may have tabs before it and nothing else'
          : 'the closing line must have no blanks before or after it (<<- allows tabs before it)',
      )
    const content = mark.chomp ? chompTabs(body.content) : body.content
    return { ...mark, ...body, content, ...(content === body.content ? {} : { raw: body.content }) }
  })
}

function heredocsOf(line: LogicalLine, fail: Fail): ReturnType<typeof heredocsIn> {
  try {
    return heredocsIn(line.text)
  } catch (error) {
    throw fail(`a heredoc's delimiter is wrong: ${(error as Error).message}`)
  }
}
