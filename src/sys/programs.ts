import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'

/** Absolute path of a program: on PATH, or where systems keep those of root, which ordinary users' PATH often lacks. */
export function findProgram(name: string): string | undefined {
  for (const folder of [...(process.env['PATH'] ?? '').split(delimiter), '/usr/local/sbin', '/usr/sbin', '/sbin']) {
    const file = join(folder, name)
    if (!file.startsWith('/')) continue
    try {
      accessSync(file, constants.X_OK)
      return file
    } catch {}
  }
  return undefined
}
