import { createInterface } from 'node:readline/promises'
import { ArchimageError } from '../errors/error.ts'

/** Asks on the terminal; a password is not shown while it is typed. Throws USAGE with `hint` where there is no terminal. */
export async function ask(question: string, hint: string): Promise<string> {
  if (!process.stdin.isTTY) throw new ArchimageError('USAGE', 'there is no terminal to ask on', { hint })
  const hidden = question.startsWith('Password')
  const input = createInterface({ input: process.stdin, output: process.stderr, terminal: true })
  try {
    if (hidden) {
      // readline echoes what is typed: a password is written over with nothing.
      Object.assign(input, { _writeToOutput: () => {} })
      process.stderr.write(question)
    }
    return (await input.question(hidden ? '' : question)).trim()
  } finally {
    if (hidden) process.stderr.write('\n')
    input.close()
  }
}
