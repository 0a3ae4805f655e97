import { expect, test } from 'bun:test'
import { parseDockerfile } from '../dockerfile/parse.ts'
import { type Digest, sha256 } from '../oci/digest.ts'
import { encodeImageManifest } from '../oci/manifest.ts'
import { OCI } from '../oci/media-types.ts'
import { parsePlatform } from '../oci/platform.ts'
import { cellKey, type KeyOptions, whatChanged } from './key.ts'
import { lower } from './lower.ts'

const OPTIONS: KeyOptions = {
  docker: false,
  compression: 'gzip',
  timestamps: 'content',
  epoch: undefined,
  annotations: {},
}
const PLATFORM = parsePlatform('linux/amd64')

/** The key of a Dockerfile whose bases are what `seeds` says; `files` is the digest of whatever COPY finds. */
async function key(
  text: string,
  options: { seeds?: Record<string, string>; files?: string; args?: Record<string, string> } = {},
) {
  const lowered = await lower({
    dockerfile: parseDockerfile(text, 'Dockerfile'),
    platform: PLATFORM,
    args: options.args ?? {},
    labels: {},
    image: async name => {
      const digest: Digest = sha256(`${name} ${options.seeds?.[name] ?? ''}`)
      const manifest = encodeImageManifest({
        docker: false,
        config: { mediaType: OCI.config, digest, size: 1 },
        layers: [],
      })
      return {
        name,
        manifest,
        config: { os: 'linux', architecture: 'amd64', rootfs: { type: 'layers', diff_ids: [] } },
        platform: PLATFORM,
        exact: true,
      }
    },
  })
  return cellKey(lowered, OPTIONS, () => options.files ?? '')
}

const SAME_NAME = 'FROM one AS x\nFROM two AS x\nFROM scratch\nCOPY --from=0 / /a\nCOPY --from=1 / /b\n'

test('every base counts, also of two stages of one name', async () => {
  const plain = await key(SAME_NAME)
  expect((await key(SAME_NAME, { seeds: { one: 'new' } })).key).not.toBe(plain.key)
  expect((await key(SAME_NAME, { seeds: { two: 'new' } })).key).not.toBe(plain.key)
  expect((await key(SAME_NAME)).key).toBe(plain.key)
})

test('what changed is said in words', async () => {
  const text = 'FROM scratch\nARG V=1\nCOPY a /a\nENV V=$V\n'
  const before = await key(text)
  const files = await key(text, { files: 'other' })
  expect(whatChanged(before.parts(), files.parts())).toBe('files of COPY a /a changed')
  const args = await key(text, { args: { V: '2' } })
  expect(whatChanged(before.parts(), args.parts())).toBe('the configuration changed')
})

test('of a step count the files that it mounts, its network and rights, and neither caches nor secrets', async () => {
  const step = (mount: string): string => `FROM one\nRUN ${mount} make\n`
  const context = step('--mount=target=/src')
  const plain = await key(context)
  expect((await key(context, { files: 'other' })).key).not.toBe(plain.key)
  expect((await key(step('--mount=target=/src,rw'))).key).not.toBe(plain.key)
  expect((await key(step('--network=none'))).key).not.toBe((await key(step(''))).key)
  const cache = await key(step('--mount=type=cache,target=/c'))
  expect((await key(step('--mount=type=cache,target=/c'), { files: 'other' })).key).toBe(cache.key)
  const proxied = await key(step(''), { args: { HTTP_PROXY: 'http://proxy:3128' } })
  expect(proxied.key).toBe((await key(step(''))).key)
})

test('an argument with the name of a property of objects is an argument', async () => {
  const lowered = await lower({
    dockerfile: parseDockerfile('FROM scratch\nARG constructor=y\nENV X=$constructor\n', 'Dockerfile'),
    platform: PLATFORM,
    args: {},
    labels: {},
    image: async () => Promise.reject(new Error('no image is needed')),
  })
  expect(lowered.target.config.config?.Env?.at(-1)).toBe('X=y')
})
