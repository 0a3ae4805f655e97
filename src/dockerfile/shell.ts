import type { RunInstruction } from './ast.ts'

const SHELL = /(?:^|[\s/])(?:ba|da|a|z|k)?sh(?:\s|$)/

/** What a RUN gives to a shell, its heredocs included; undefined for another program. Line breaks end commands. */
export function shellScript({ command, heredocs }: RunInstruction): string | undefined {
  if (command.form === 'exec') {
    const [program = '', flag = ''] = command.args
    if (!/(?:^|\/)(?:ba|da|a|z|k)?sh$/.test(program)) return command.args.map(quote).join(' ')
    return /^-[a-z]*c$/.test(flag) ? (command.args[2] ?? '') : undefined
  }
  const { text } = command
  if (heredocs.length === 0) return text
  const bodies = heredocs.map(({ content }) => content)
  if (/^\s*<</.test(text)) {
    const script = bodies.join('\n')
    return /^#!(?!\s*\S*\/(?:env\s+)?(?:ba|da|a|z|k)?sh\b)/.test(script) ? undefined : script
  }
  const [before = ''] = text.split('<<', 1)
  const reader = before.slice(Math.max(...['|', ';', '&'].map(end => before.lastIndexOf(end))) + 1)
  return SHELL.test(reader) ? [text, ...bodies].join('\n') : text
}

function quote(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`
}

/** Words that stand before a command without being one. */
const KEYWORDS = new Set([
  'if',
  'then',
  'elif',
  'else',
  'while',
  'until',
  'do',
  '!',
  '{',
  'time',
  'exec',
  'sudo',
  'nice',
  'env',
  'command',
])
const END = /[;&|()\n]/

/**
 * The simple commands of a shell script: their words without quotes, keywords and assignments in front of a command set apart.
 * No more than a rough reading: substitutions stay in their words.
 */
export function commandsOf(script: string): readonly ShellCommand[] {
  const commands: ShellCommand[] = []
  let words: string[] = []
  let word = ''
  let begun = false
  const endWord = (): void => {
    if (begun) words.push(word)
    word = ''
    begun = false
  }
  const endCommand = (): void => {
    endWord()
    if (words.length > 0) commands.push(commandOf(words))
    words = []
  }
  for (let at = 0; at < script.length; at++) {
    const ch = script[at]!
    if (ch === '\\') {
      if (script[at + 1] !== '\n') {
        word += script[at + 1] ?? ''
        begun = true
      }
      at++
    } else if (ch === "'" || ch === '"') {
      const end = closing(script, at)
      word += script.slice(at + 1, end)
      begun = true
      at = end
    } else if (ch === '$' && (script[at + 1] === '(' || script[at + 1] === '{')) {
      const end = closing(script, at + 1)
      word += script.slice(at, end + 1)
      begun = true
      at = end
    } else if (ch === '#' && !begun) {
      const line = script.indexOf('\n', at)
      at = (line < 0 ? script.length : line) - 1
    } else if (END.test(ch)) endCommand()
    else if (/\s/.test(ch)) endWord()
    else {
      word += ch
      begun = true
    }
  }
  endCommand()
  return commands
}

/** Where a quote or bracket that opens at `from` closes; the end of the script where it does not. */
function closing(script: string, from: number): number {
  const open = script[from]!
  const close = open === '(' ? ')' : open === '{' ? '}' : open
  let depth = 0
  for (let at = from; at < script.length; at++) {
    const ch = script[at]!
    if (ch === '\\' && open !== "'") at++
    else if (ch === close && (depth > 1 || close !== open || at > from)) {
      if (open === close || --depth === 0) return at
    } else if (ch === open) depth++
  }
  return script.length
}

export interface ShellCommand {
  /** Its last part: `make` for /usr/bin/make. Empty where there are assignments only. */
  readonly name: string
  /** The words behind the name. */
  readonly args: readonly string[]
  readonly assignments: readonly string[]
}

function commandOf(words: readonly string[]): ShellCommand {
  let at = 0
  const assignments: string[] = []
  for (; at < words.length; at++) {
    const word = words[at]!
    if (/^[A-Za-z_]\w*\+?=/.test(word)) assignments.push(word)
    else if (word === 'export') continue
    else if (!KEYWORDS.has(word)) break
  }
  const program = words[at] ?? ''
  return { name: program.slice(program.lastIndexOf('/') + 1), args: words.slice(at + 1), assignments }
}
