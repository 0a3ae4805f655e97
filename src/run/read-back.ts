import { configPlatform, parseImageConfig } from '../oci/config.ts'
import type { ImageManifest, Manifest } from '../oci/manifest.ts'
import { isAttestation } from '../oci/manifest.ts'
import type { Platform } from '../oci/platform.ts'
import { formatReference } from '../oci/reference.ts'
import { type Expectation, verifyImage } from '../verify/verify.ts'
import { type Publication, type PublishTools, repositoryOf, target } from './publication.ts'

/**
 * Looks up everything that a publication wrote where it should now be: what the main tag leads to with all its blobs, every
 * other tag's digest, and what lies in other repositories. Returns what does not hold.
 */
export async function readBack(publication: Publication, tools: PublishTools): Promise<string[]> {
  const { signal } = tools
  const whole = new Map<string, Publication['tags'][number]>()
  // The last wish of a repository is the one that needs most of it: the main tag comes last.
  for (const wish of publication.tags) whole.set(repositoryOf(wish.reference), wish)
  const problems = await Promise.all(
    publication.tags.map(async wish => {
      const { reference, manifest } = wish
      const repository = target(reference, tools)
      const name = reference.tag ?? manifest.digest
      if (whole.get(repositoryOf(reference)) === wish) {
        const { problems } = await verifyImage(repository, name, expectation(manifest, publication, tools), { signal })
        return problems
      }
      const head = await repository.head(name, { signal })
      if (head?.digest === manifest.digest) return []
      const text = formatReference(reference)
      return [head ? `${text} is ${head.digest}, expected ${manifest.digest}` : `${text} is not there`]
    }),
  )
  return problems.flat()
}

function expectation(manifest: Manifest, { children }: Publication, tools: PublishTools): Expectation {
  const platforms =
    manifest.kind === 'index'
      ? manifest.manifests.filter(entry => !isAttestation(entry)).flatMap(entry => entry.platform ?? [])
      : children.filter(child => child.digest === manifest.digest).map(child => platformOf(child, tools))
  return { digest: manifest.digest, platforms }
}

function platformOf(image: ImageManifest, { store }: PublishTools): Platform {
  return configPlatform(parseImageConfig(store.read(image.config.digest)))
}
