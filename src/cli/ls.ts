import { formatPlatform } from '../oci/platform.ts'
import { openStore } from '../store/store.ts'
import { command, type Invocation, parse, print, say } from './command.ts'
import { bytes, table } from './table.ts'

const ABOUT = 'Lists the images in the store of this machine.'

export async function run(invocation: Invocation): Promise<number> {
  const program = command(invocation, '[options]', ABOUT)
    .option('--json', 'print as JSON')
    .option('-q, --quiet', 'print names only')
    .option('--digests', 'whole digests')
  const parsed = parse(program, invocation)
  if (!parsed) return 0
  const { options } = parsed
  const store = openStore({ warn: say })
  try {
    const images = store.list()
    if (options['json'] === true) print(JSON.stringify(images, null, 2))
    else if (options['quiet'] === true) for (const image of images) print(image.familiar)
    else if (images.length === 0) say('the store is empty; archimage build fills it')
    else
      for (const line of table([
        ['NAME', 'DIGEST', 'PLATFORMS', 'SIZE', 'ORIGIN', 'SINCE'],
        ...images.map(image => [
          image.familiar,
          options['digests'] === true ? image.descriptor.digest : image.descriptor.digest.slice(7, 19),
          image.platforms.map(formatPlatform).join(', ') + (image.complete ? '' : ' (not all here)'),
          bytes(image.size),
          image.origin,
          image.stored?.slice(0, 16).replace('T', ' ') ?? '',
        ]),
      ]))
        print(line)
    return 0
  } finally {
    store.close()
  }
}
