import { existsSync, readFileSync, statSync } from 'node:fs'
import { basename, join, relative } from 'node:path'
import type { Instruction } from '../dockerfile/ast.ts'
import { parseDockerfile } from '../dockerfile/parse.ts'
import { isArchimageError } from '../errors/error.ts'

const MAX_DOCKERFILE = 4 * 1024 * 1024

/**
 * The files that a Dockerfile takes from its context, as far as they are written out: the leading components without
 * wildcards and variables. Sources that say nothing about the context (".", "*", URLs, --from) are left out.
 */
export function literalSources(source: string, file: string): string[] {
  const out = new Set<string>()
  const add = (path: string): void => {
    const parts: string[] = []
    for (const part of path.split('/')) {
      if (part === '' || part === '.') continue
      if (part === '..' || /[*?[\\$"']/.test(part)) break
      parts.push(part)
    }
    if (parts.length > 0) out.add(parts.join('/'))
  }
  const visit = (instruction: Instruction): void => {
    if (instruction.kind === 'onbuild') {
      visit(instruction.instruction)
    } else if (instruction.kind === 'run') {
      for (const mount of instruction.mounts) {
        const fields = new Map<string, string>()
        for (const field of mount.split(',')) fields.set(field.replace(/=.*$/s, ''), field.replace(/^[^=]*=?/, ''))
        const path = fields.get('source') ?? fields.get('src')
        if ((fields.get('type') ?? 'bind') === 'bind' && !fields.has('from') && path !== undefined) add(path)
      }
    } else if ((instruction.kind === 'copy' && instruction.from === undefined) || instruction.kind === 'add') {
      for (const path of instruction.sources) if (!/^[a-z][a-z0-9+.-]*:\/\/|^git@/i.test(path)) add(path)
    }
  }
  for (const stage of parseDockerfile(source, file).stages) for (const one of stage.instructions) visit(one)
  return [...out]
}

/** Which part of `path` exists below `folder`, from 0 to 1: files that a prebuild makes are not there yet. */
function found(folder: string, path: string): number {
  const parts = path.split('/')
  for (let n = parts.length; n > 0; n--) if (existsSync(join(folder, ...parts.slice(0, n)))) return n / parts.length
  return 0
}

/**
 * The build context of a service: the folder of its Dockerfiles, or the project's root when more of what they COPY is
 * found from there. Never fails: a Dockerfile that cannot be read says nothing.
 */
export function guessContext(
  root: string,
  folder: string,
  dockerfiles: readonly string[],
): { readonly context: string; readonly because: string } {
  if (folder === root) return { context: root, because: 'the context is the project folder' }
  const own = { context: folder, because: 'the context is the folder of its Dockerfile' }
  const sources = new Set<string>()
  for (const file of dockerfiles)
    try {
      if (statSync(file).size > MAX_DOCKERFILE) continue
      for (const path of literalSources(readFileSync(file, 'utf8'), file)) sources.add(path)
    } catch (error) {
      if (!isArchimageError(error) && (error as { code?: unknown }).code === undefined) throw error
    }
  let [atRoot, atFolder] = [0, 0]
  const witnesses: string[] = []
  for (const path of sources) {
    const [there, here] = [found(root, path), found(folder, path)]
    atRoot += there
    atFolder += here
    if (there > here) witnesses.push(path)
  }
  if (atRoot <= atFolder) return own
  const more = witnesses.length > 1 ? ` and ${witnesses.length - 1} more` : ''
  return {
    context: root,
    because: `the context is the project folder: ${basename(folder)} copies ${witnesses[0]}${more}, found from there and not from ${relative(root, folder)}`,
  }
}
