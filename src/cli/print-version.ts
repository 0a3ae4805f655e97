import type { Invocation } from './command.ts'
import { VERSION } from './version.ts'

export async function run(_: Invocation): Promise<number> {
  const { terminal } = await import('../sys/terminal.ts')
  terminal(1).write(`archimage ${VERSION}\n`)
  return 0
}
