import { ArchimageError, isArchimageError } from '../errors/error.ts'
import { familiarReference, parseReference } from '../oci/reference.ts'
import { openStore } from '../store/store.ts'
import { command, type Invocation, parse, print, say } from './command.ts'

const ABOUT =
  'Removes images from the store of this machine: names, or beginnings of digests. Content goes with: archimage cache prune'

export async function run(invocation: Invocation): Promise<number> {
  const program = command(invocation, 'IMAGE…', ABOUT).option('-f, --force', 'names that are not there are no error')
  const parsed = parse(program, invocation)
  if (!parsed) return 0
  const { args, options } = parsed
  if (args.length === 0)
    throw new ArchimageError('USAGE', 'archimage rm needs the name of an image', { hint: 'archimage ls lists them' })
  const store = openStore({ warn: say })
  try {
    for (const name of args)
      try {
        for (const ref of store.remove(name)) print(`removed ${familiarReference(parseReference(ref.name))}`)
      } catch (error) {
        if (options['force'] !== true || !isArchimageError(error) || error.code !== 'NOT_FOUND') throw error
      }
    return 0
  } finally {
    store.close()
  }
}
