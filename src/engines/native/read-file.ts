import { ArchimageError } from '../../errors/error.ts'
import { resolveLinks, type SourceTree } from '../../plan/source-tree.ts'
import { readRegularFile } from '../../sys/files.ts'
import { fsPath } from '../../tar/path-bytes.ts'
import type { BuildTools } from '../engine.ts'
import { layerContent } from './layer-content.ts'

/**
 * The bytes of a file in a tree, links followed inside it: a Dockerfile in a context that is no folder. Undefined when there
 * is none; throws CONTEXT_INVALID for what is no file or has more than `limit` bytes.
 */
export async function readFile(
  tree: SourceTree,
  path: string,
  limit: number,
  tools: Pick<BuildTools, 'store' | 'fetch'>,
): Promise<Uint8Array | undefined> {
  const { entry } = resolveLinks(tree, path)
  if (entry === undefined) return undefined
  if (entry.type !== 'file') throw new ArchimageError('CONTEXT_INVALID', `"${path}" in ${tree.name} is no file`)
  if (entry.size > limit)
    throw new ArchimageError('CONTEXT_INVALID', `"${path}" in ${tree.name} has more than ${limit} bytes`)
  if (entry.content?.kind === 'host') {
    const host = entry.content.path
    const bytes = readRegularFile(typeof host === 'string' ? fsPath(host) : host, limit)
    return typeof bytes === 'string' ? undefined : bytes
  }
  const content = layerContent(tools)
  try {
    return await content.read(entry, limit)
  } finally {
    content.close()
  }
}
