import { ArchimageError } from '../errors/error.ts'
import { suggest } from '../errors/suggest.ts'
import { formatReference, parseReference, withDefaultTag } from '../oci/reference.ts'
import { openStore, type Store } from '../store/store.ts'
import type { Ref } from '../store/types.ts'
import { command, type Invocation, parse, say } from './command.ts'

const ABOUT = 'Gives an image in the store of this machine further names.'

export async function run(invocation: Invocation): Promise<number> {
  const parsed = parse(command(invocation, 'IMAGE NAME…', ABOUT), invocation)
  if (!parsed) return 0
  const [source, ...names] = parsed.args
  if (source === undefined || names.length === 0)
    throw new ArchimageError('USAGE', 'archimage tag needs an image and at least one new name', {
      hint: 'archimage tag app:1.0 registry.example.com/team/app:1.0',
    })
  const store = openStore({ warn: say })
  try {
    const { descriptor, origin: before } = findImage(store, source)
    const origin = before === 'list' ? before : 'tagged'
    const wanted = names.map(name => withDefaultTag(parseReference(name)))
    for (const name of wanted)
      if (name.digest !== undefined) throw new ArchimageError('USAGE', 'a new name cannot hold a digest')
    store.tagAll(wanted.map(name => ({ name: formatReference(name), descriptor, origin })))
    return 0
  } finally {
    store.close()
  }
}

/** An image of the store by name, or by the beginning of its digest. Throws NOT_FOUND with a suggestion. */
export function findImage(store: Store, text: string): Ref {
  const refs = store.refs()
  const hex = text.replace(/^sha256:/, '')
  const byDigest = /^[0-9a-f]{6,64}$/.test(hex)
    ? refs.filter(ref => ref.descriptor.digest.slice(7).startsWith(hex))
    : []
  const found = byDigest[0] ?? store.ref(formatReference(withDefaultTag(parseReference(text))))
  if (found) return found
  const names = store.list().map(image => image.familiar)
  const meant = suggest(text, [...names, ...names.map(name => name.replace(/:[^:/]*$/, ''))])
  throw new ArchimageError('NOT_FOUND', `there is no image "${text}" in the store`, {
    hint: meant === undefined ? 'archimage ls lists what is there' : `did you mean "${meant}"?`,
  })
}
