import { ArchimageError } from '../errors/error.ts'
import type { Digest } from '../oci/digest.ts'
import type { Transport } from '../transports/transport.ts'
import type { Inspection } from './describe.ts'

/** What has an image as its subject: signatures, SBOMs. */
export interface InspectedReferrer {
  readonly digest: Digest
  readonly artifactType?: string
  readonly size: number
  /** The digest that it is about, and its platform where it is an image of the index. */
  readonly of: Digest
  readonly platform?: string
  readonly annotations?: Readonly<Record<string, string>>
}

const MOST = 1000

/** Referrers of what was asked for and of its images. Throws UNSUPPORTED where the place does not list them. */
export async function readReferrers(
  { digest, images, name }: Inspection,
  transport: Transport,
  options: { readonly signal?: AbortSignal } = {},
): Promise<readonly InspectedReferrer[]> {
  if (transport.referrers === undefined)
    throw new ArchimageError('UNSUPPORTED', `${name}: this kind of place does not list referrers`, {
      hint: 'leave --referrers away',
    })
  const platforms = new Map([
    [digest, undefined as string | undefined],
    ...images.map(one => [one.digest, one.platform] as const),
  ])
  const found: InspectedReferrer[] = []
  for (const [of, platform] of platforms)
    for await (const { digest, size, artifactType, annotations } of transport.referrers(of, options)) {
      if (found.length >= MOST)
        throw new ArchimageError('UNSUPPORTED', `${name} has more than ${MOST} referrers`, {
          hint: 'leave --referrers away',
        })
      found.push({
        ...{ digest, size, of },
        ...(platform === undefined ? {} : { platform }),
        ...(artifactType === undefined ? {} : { artifactType }),
        ...(annotations === undefined ? {} : { annotations }),
      })
    }
  return found
}
