import { redactUrls } from '../errors/redact.ts'
import type { Instruction } from './ast.ts'

const WIDEST = 80

/** An instruction in at most 80 characters for progress: its keyword and what was written, on one line, without passwords of URLs. */
export function instructionLabel(instruction: Instruction): string {
  const [heredoc] = instruction.heredocs
  const body = heredoc && instruction.kind === 'run' ? ` (${summary(heredoc.content)})` : ''
  const rest = instruction.original.trimStart().slice(instruction.written.length, 4 * WIDEST)
  const text = redactUrls(flat(`${instruction.keyword} ${rest}${body}`))
  return text.length > WIDEST ? `${text.slice(0, WIDEST - 1).trimEnd()}…` : text
}

function summary(content: string): string {
  const [line = '', ...more] = content.trim().split('\n', 2)
  return more.length > 0 ? `${line.trimEnd()}…` : line
}

/** Without control characters, which must not reach a terminal, and with single blanks. */
function flat(text: string): string {
  const isFlat = !/[\u0000-\u001f\u007f-\u009f]|[^\S ]| {2}/.test(text)
  return (isFlat ? text : text.replace(/[\u0000-\u001f\u007f-\u009f\s]+/g, ' ')).trim().toWellFormed()
}
