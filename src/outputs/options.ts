/** The kinds of output that `-o type=` names. */
export const TYPES = ['image', 'registry', 'oci', 'docker', 'tar', 'local', 'cacheonly'] as const
export type OutputType = (typeof TYPES)[number]

const IMAGES: readonly OutputType[] = ['image', 'registry', 'oci', 'docker']
const PUSHED: readonly OutputType[] = ['image', 'registry']
const ARCHIVES: readonly OutputType[] = ['oci', 'docker']
const TREES: readonly OutputType[] = ['tar', 'local']

interface Honoured {
  readonly about: string
  readonly types: readonly OutputType[]
}

interface Refused {
  readonly reason: string
  readonly types: readonly OutputType[]
  /** Values that ask for what archimage does anyway. */
  readonly harmless?: readonly string[]
}

/** Options that do something here. */
export const HONOURED: Readonly<Record<string, Honoured>> = {
  dest: { about: 'file or folder, "-" for standard output', types: ['oci', 'docker', 'tar', 'local'] },
  name: { about: 'names of the image, with commas', types: IMAGES },
  push: { about: 'push to the registry', types: PUSHED },
  'push-by-digest': { about: 'push without a tag', types: PUSHED },
  tar: { about: 'false: a folder instead of an archive', types: ARCHIVES },
  compression: { about: 'gzip, zstd or uncompressed, for new layers', types: IMAGES },
  'compression-level': { about: 'gzip 1–12, zstd 1–22', types: IMAGES },
  'platform-split': { about: 'a folder for each platform', types: TREES },
  mode: { about: 'copy, or delete: removes from the folder what is not in the image', types: ['local'] },
}

/** Options that say what happens anyway, or that concern a daemon's own image store: accepted, whatever they say. */
export const ACCEPTED: Readonly<Record<string, readonly OutputType[]>> = {
  unpack: PUSHED,
  store: PUSHED,
  'prefer-nondist-layers': IMAGES,
  'attestation-inline': IMAGES,
  'attestation-prefix': TREES,
}

const ATTESTATIONS = 'attestations are not made yet'

/** Options of BuildKit that archimage refuses, each with the reason. */
export const REFUSED: Readonly<Record<string, Refused>> = {
  'force-compression': {
    reason: 'layers of bases are passed on by digest and never compressed again, so that they stay the same everywhere',
    types: IMAGES,
    harmless: ['false'],
  },
  'oci-mediatypes': {
    reason: "for Docker's media types give --docker-format",
    types: IMAGES,
    harmless: ['true'],
  },
  'oci-artifact': { reason: ATTESTATIONS, types: IMAGES, harmless: ['false', 'true'] },
  'rewrite-timestamp': {
    reason: 'with SOURCE_DATE_EPOCH all new layers have that time already; those of bases stay as they are',
    types: IMAGES,
    harmless: ['true'],
  },
  'source-date-epoch': {
    reason: 'set SOURCE_DATE_EPOCH in the environment or with --build-arg',
    types: [...IMAGES, ...TREES],
  },
  'registry.insecure': { reason: 'give --insecure REGISTRY', types: PUSHED, harmless: ['false'] },
  'name-canonical': { reason: 'every name is printed with its digest already', types: PUSHED, harmless: ['false'] },
  'dangling-name-prefix': { reason: 'an image without a name stays in the store under its digest', types: IMAGES },
  'danging-name-empty-only': { reason: 'it means nothing without dangling-name-prefix', types: IMAGES },
  'buildinfo-attrs': { reason: 'BuildKit has dropped build info', types: IMAGES },
  buildinfo: { reason: 'BuildKit has dropped build info', types: IMAGES, harmless: ['false'] },
  context: {
    reason: 'contexts of docker are not read; set DOCKER_HOST to load into another daemon',
    types: ['docker'],
    harmless: ['default'],
  },
}

/** Every option that a message may suggest. */
export const KEYS: readonly string[] = [
  'type',
  ...Object.keys(HONOURED),
  ...Object.keys(ACCEPTED),
  ...Object.keys(REFUSED),
]
