import { formatPlatform } from '../../oci/platform.ts'
import type { Example, FileView, Rule } from '../rule.ts'
import type { ImageUse } from '../stage-views.ts'
import { hasArchitectures } from './cache-mounts.ts'

const DIGEST = `sha256:${'0123456789abcdef'.repeat(4)}`
const INDEX: Example['images'] = { 'alpine:3.20': { index: true, platforms: ['linux/amd64', 'linux/arm64'] } }

export const BaseNotIndex: Rule = {
  name: 'BaseNotIndex',
  description: 'A base image is of one platform and no index',
  from: 'archimage',
  level: 'warning',
  needs: 'images',
  remedy: 'take a base that is published as an index, with an image for each platform',
  about:
    'The tag leads to the image of a single platform. For the others there is nothing to build upon. Images that were pushed with `docker push` of a classic daemon are often so.',
  bad: {
    dockerfile: 'FROM registry.example.com/team/base:1\n',
    images: { 'registry.example.com/team/base:1': { index: false, platforms: ['linux/amd64'] } },
  },
  good: { dockerfile: 'FROM alpine:3.20\n', images: INDEX },
  check: {
    image: (use, report, file) => {
      const single = singleImage(use, file)
      if (single !== undefined && !use.reference.includes('@'))
        report(`The image ${use.reference} is of ${single} alone: its tag leads to no index`)
    },
  },
}

export const BasePinnedToPlatform: Rule = {
  name: 'BasePinnedToPlatform',
  description: "A base image is pinned to the digest of one platform's manifest",
  from: 'archimage',
  level: 'warning',
  needs: 'images',
  remedy: 'pin to the digest of the index, which archimage verify and docker buildx imagetools inspect print first',
  about:
    'An index and each of its images have digests of their own. The digest of one image holds for its platform only. (`docker images --digests` and web pages of registries show those.)',
  bad: {
    dockerfile: `FROM alpine@${DIGEST}\n`,
    images: { [`alpine@${DIGEST}`]: { index: false, platforms: ['linux/amd64'] } },
  },
  good: {
    dockerfile: `FROM alpine:3.20@${DIGEST}\n`,
    images: { [`alpine:3.20@${DIGEST}`]: { index: true, platforms: ['linux/amd64', 'linux/arm64'] } },
  },
  check: {
    image: (use, report, file) => {
      const single = singleImage(use, file)
      if (single !== undefined && use.reference.includes('@'))
        report(`The digest of ${use.reference.split('@')[0]} is that of its image for ${single}, not that of an index`)
    },
  },
}

/** The platform of an image that is no index, where several are built and it is not wanted for the build platform alone. */
function singleImage({ by, known }: ImageUse, file: FileView): string | undefined {
  if (known === undefined || known.index || !hasArchitectures(file)) return undefined
  if (by.kind === 'from' && by.platform !== undefined && !by.platform.includes('TARGET')) return undefined
  return formatPlatform(known.platform)
}
