/** A fenced block of a Markdown file. The first word behind the fence is its language, the others are `name=value`. */
export interface Block {
  /** Of the opening fence, from 1. */
  readonly line: number
  readonly language: string
  readonly attributes: Readonly<Record<string, string>>
  readonly text: string
}

export function blocksOf(markdown: string): Block[] {
  const blocks: Block[] = []
  const lines = markdown.split('\n')
  for (let i = 0; i < lines.length; i++) {
    const open = /^(\s*)```(\S*)(.*)$/.exec(lines[i]!)
    if (!open) continue
    const [, indent = '', language = '', rest = ''] = open
    const body: string[] = []
    const line = i + 1
    for (i++; i < lines.length && lines[i]!.trim() !== '```'; i++) body.push(lines[i]!.slice(indent.length))
    const attributes = Object.fromEntries([...rest.matchAll(/(\w+)=(\S+)/g)].map(([, name, value]) => [name!, value!]))
    blocks.push({ line, language, attributes, text: body.join('\n') })
  }
  return blocks
}

/** One command line of a block, and what the block says that it prints. */
export interface Step {
  readonly command: string
  readonly exit: number
  readonly output: readonly string[]
}

/**
 * The commands of a `sh` block: its lines that begin with `$ `, those between are output; without any, all of its lines.
 * A line that ends in `\` goes on, `# exit code N` at the end says how it ends.
 */
export function stepsOf(text: string): Step[] {
  const lines = text.split('\n')
  const session = lines.some(line => line.startsWith('$ '))
  const steps: { command: string; exit: number; output: string[] }[] = []
  let open = false
  for (const line of lines) {
    if (open) steps.at(-1)!.command += `\n${line}`
    else if (session && !line.startsWith('$ ')) steps.at(-1)?.output.push(line)
    else if (!session && (line.trim() === '' || line.startsWith('#'))) continue
    else {
      const [, exit = '0'] = /# exit code (\d+)$/.exec(line) ?? []
      steps.push({ command: session ? line.slice(2) : line, exit: Number(exit), output: [] })
    }
    open = line.endsWith('\\')
  }
  return steps
}

const ANY = '…'

/**
 * The first expected line that is not in the output, in order; undefined when all are. `…` stands for anything; digests,
 * durations, sizes, times and the width of gaps are not compared.
 */
export function missingLine(expected: readonly string[], output: string): string | undefined {
  const lines = output.split('\n').map(line => line.trim())
  let at = 0
  for (const wanted of expected) {
    if (wanted.trim() === '' || wanted.trim() === ANY) continue
    const pattern = new RegExp(`^${patternOf(wanted.trim())}$`)
    const found = lines.findIndex((line, i) => i >= at && pattern.test(line))
    if (found < 0) return wanted
    at = found + 1
  }
  return undefined
}

const VARIABLE: readonly (readonly [RegExp, string])[] = [
  [/^[0-9a-f]{12,64}$/, '[0-9a-f]{12,64}'],
  [/^\d+(?:\.\d+)?(?: ms|ms| s|s)$/, '\\d+(?:\\.\\d+)? ?m?s'],
  [/^\d+(?:\.\d+)? [kMG]?B$/, '\\d+(?:\\.\\d+)? [kMG]?B'],
  [/^\d{4}-\d\d-\d\d[ T]\d\d:\d\d$/, '\\d{4}-\\d\\d-\\d\\d[ T]\\d\\d:\\d\\d'],
  [/^…$/, '.*'],
  [/^\s+$/, '\\s+'],
]

function patternOf(line: string): string {
  const parts =
    /[0-9a-f]{12,64}|\d{4}-\d\d-\d\d[ T]\d\d:\d\d|\b\d+(?:\.\d+)?(?: ms|ms| s|s)\b|\b\d+(?:\.\d+)? [kMG]?B\b|…|\s+/g
  let pattern = ''
  let end = 0
  for (const { 0: part, index } of line.matchAll(parts)) {
    pattern += RegExp.escape(line.slice(end, index)) + (VARIABLE.find(([form]) => form.test(part))?.[1] ?? '')
    end = index + part.length
  }
  return pattern + RegExp.escape(line.slice(end))
}
