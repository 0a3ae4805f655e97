import type { CopyOptions } from '../copy/request.ts'
import { ArchimageError } from '../errors/error.ts'
import { parsePlatforms } from '../oci/platform.ts'
import { userCredential } from '../registry/credentials.ts'
import type { HostOptions } from '../registry/registry.ts'
import type { SyncEntry, SyncFile } from './entry.ts'
import type { Fields } from './fields.ts'
import { expandTemplate } from './go-template.ts'
import { versionRange } from './version.ts'

type Environment = Readonly<Record<string, string | undefined>>

/** Fields that change nothing of what is copied: a warning. */
const IDLE: Readonly<Record<string, string>> = {
  interval: 'this runs once; cron or a systemd timer repeats it',
  schedule: 'this runs once; cron or a systemd timer repeats it',
  ratelimit: 'what is unchanged costs no pull; a registry that asks for a pause gets it',
  fastCheck: 'what is unchanged is found with a HEAD anyway',
  referrerSlow: 'referrers are listed by what the registry has',
  cacheCount: 'there is no cache to be set up',
  cacheTime: 'there is no cache to be set up',
  userAgent: 'it is "archimage"',
  blobLimit: 'blobs of any size are copied',
  reqPerSec: 'a registry that asks for a pause gets it',
  reqConcurrent: 'a registry that asks for a pause gets it',
  repoAuth: 'tokens are for one repository anyway',
  blobChunk: 'pieces are sent where a registry takes no whole blob',
  blobMax: 'pieces are sent where a registry takes no whole blob',
  priority: 'there are no mirrors here',
  apiOpts: 'there are no such switches',
  api: 'regclient itself does not use it any more',
  credExpire: 'credentials are asked for once',
}

/** Fields without which something else would come out: an error. */
const REFUSED: Readonly<Record<string, string>> = {
  backup: 'tags that move are not kept under another name',
  hooks: 'no commands are run',
  referrerFilters: 'all referrers are copied, or none',
  referrerSource: 'referrers lie in the repository of their image',
  referrerTarget: 'referrers lie in the repository of their image',
  hostname: 'registries.conf has "location" for that',
  scheme: 'use "tls"',
  mirrors: 'registries.conf has mirrors',
  pathPrefix: 'registries.conf has mirrors',
  regcert: 'put it at ~/.config/containers/certs.d/HOST/ca.crt',
  clientCert: 'put it at ~/.config/containers/certs.d/HOST/client.cert',
  clientKey: 'put it at ~/.config/containers/certs.d/HOST/client.key',
  token: 'use user and pass',
  credHelper: "docker's config.json names helpers for registries (credHelpers)",
  credHost: "docker's config.json names helpers for registries (credHelpers)",
}

/** Those that an entry of `sync` takes from `defaults`. */
const INHERITED = ['digestTags', 'referrers', 'forceRecursive', 'includeExternal', 'mediaTypes']
const SETTINGS = [
  ...INHERITED,
  ...['backup', 'interval', 'schedule', 'ratelimit', 'referrerFilters', 'referrerSource', 'referrerTarget'],
  ...['referrerSlow', 'fastCheck', 'hooks'],
]
const TYPES = [
  'application/vnd.docker.distribution.manifest.v2+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.oci.image.index.v1+json',
]

/** The YAML of regsync, version 1. What of it is not done is a warning or an error, by name. Throws CONFIG_INVALID, UNSUPPORTED. */
export function readRegsyncFile(file: Fields, env: Environment): SyncFile {
  const warnings = new Set<string>()
  const known = ['version', 'creds', 'defaults', 'sync']
  const shown = file.keys.filter(key => !key.startsWith('x-'))
  const strange = shown.find(key => !known.includes(key))
  if (strange !== undefined) file.only([...known, ...file.keys.filter(key => key.startsWith('x-'))], 'the file')
  const version = file.text('version') ?? '1'
  if (version !== '1') file.fail('version', `"${version}" is not known`, 'there is version 1')
  const check = (fields: Fields): void => {
    for (const key of fields.keys) {
      if (Object.hasOwn(REFUSED, key) && !isOff(fields, key))
        throw new ArchimageError('UNSUPPORTED', `${key} is not supported: ${REFUSED[key]}`, {
          place: fields.place(key),
        })
      if (Object.hasOwn(IDLE, key)) warnings.add(`${key} is not used: ${IDLE[key]}`)
    }
  }
  const defaults = file.map('defaults')
  defaults.only(
    [...SETTINGS, 'parallel', 'blobLimit', 'cacheCount', 'cacheTime', 'skipDockerConfig', 'userAgent'],
    'defaults',
  )
  check(defaults)
  const hosts: Record<string, HostOptions> = {}
  for (const cred of file.maps('creds')) {
    cred.only(['registry', 'user', 'pass', 'tls', ...HOST_FIELDS], 'an entry of creds')
    check(cred)
    const text = (name: string): string | undefined => {
      const value = cred.text(name)
      return value === undefined ? undefined : expandTemplate(value, env, cred.place(name))
    }
    const registry = text('registry') ?? cred.fail('registry', 'this is missing')
    hosts[registry] = hostOptions(cred, text)
  }
  const entries = file.maps('sync').map(entry => {
    entry.only(
      [...SETTINGS, 'source', 'target', 'type', 'tags', 'tagSets', 'repos', 'platform', 'platforms'],
      'an entry of sync',
    )
    check(entry)
    return readEntry(entry, defaults, env)
  })
  const jobs = defaults.number('parallel')
  return {
    entries,
    hosts,
    ...(jobs === undefined || jobs === 0 ? {} : { jobs }),
    ownCredentialsOnly: defaults.flag('skipDockerConfig') === true,
    warnings: [...warnings],
  }
}

const HOST_FIELDS = [
  ...['regcert', 'clientCert', 'clientKey', 'hostname', 'token', 'credHelper', 'credExpire', 'credHost', 'pathPrefix'],
  ...[
    'mirrors',
    'priority',
    'repoAuth',
    'api',
    'apiOpts',
    'blobChunk',
    'blobMax',
    'reqPerSec',
    'reqConcurrent',
    'scheme',
  ],
]

function isOff(fields: Fields, key: string): boolean {
  try {
    return ['', 'false', undefined].includes(fields.text(key))
  } catch {
    return false
  }
}

function hostOptions(cred: Fields, text: (name: string) => string | undefined): HostOptions {
  const [user, pass, tls] = [text('user'), text('pass'), text('tls')?.toLowerCase()]
  if (tls !== undefined && !['enabled', 'insecure', 'disabled'].includes(tls))
    cred.fail('tls', `"${tls}" is not known`, 'enabled, insecure or disabled')
  return {
    ...(user === undefined || user === '' ? {} : { credential: userCredential(user, pass ?? '') }),
    ...(tls === 'insecure' || tls === 'disabled' ? { tlsVerify: false } : {}),
  }
}

function readEntry(entry: Fields, defaults: Fields, env: Environment): SyncEntry {
  const reference = (name: string): string => {
    const value = entry.text(name) ?? entry.fail(name, 'this is missing')
    return expandTemplate(value, env, entry.place(name))
  }
  const kind = entry.text('type') ?? entry.fail('type', 'this is missing', 'registry, repository or image')
  if (kind !== 'registry' && kind !== 'repository' && kind !== 'image')
    return entry.fail('type', `"${kind}" is not known`, 'registry, repository or image')
  const sets = [...entry.maps('tagSets'), ...(entry.keys.includes('tags') ? [entry.map('tags')] : [])].map(readTags)
  const repos = entry.map('repos')
  repos.only(['allow', 'deny'], 'repos')
  return {
    place: entry.place(),
    kind,
    source: reference('source'),
    target: reference('target'),
    tags: tag => sets.length === 0 || sets.some(fits => fits(tag)),
    repositories: allowDeny(repos),
    options: readOptions(entry, defaults),
  }
}

function readTags(set: Fields): (tag: string) => boolean {
  set.only(['allow', 'deny', 'semverRange'], 'tags')
  const ranges = (set.list('semverRange') ?? []).filter(Boolean).map(range => versionRange(range, 'regsync'))
  const allowed = allowDeny(set)
  return tag => (ranges.length === 0 || ranges.some(fits => fits(tag))) && allowed(tag)
}

/** Patterns have to match the whole. */
function allowDeny(fields: Fields): (text: string) => boolean {
  const patterns = (name: string): readonly RegExp[] =>
    (fields.list(name) ?? []).map(text => fields.pattern(name, text, true))
  const [allow, deny] = [patterns('allow'), patterns('deny')]
  return text => (allow.length === 0 || allow.some(one => one.test(text))) && !deny.some(one => one.test(text))
}

function readOptions(entry: Fields, defaults: Fields): CopyOptions {
  const flag = (name: string): boolean => (entry.flag(name) ?? defaults.flag(name)) === true
  const types = entry.list('mediaTypes') ?? defaults.list('mediaTypes')
  if (types !== undefined && !TYPES.every(type => types.includes(type)))
    throw new ArchimageError('UNSUPPORTED', 'mediaTypes is not supported: images of all types are copied', {
      place: entry.keys.includes('mediaTypes') ? entry.place('mediaTypes') : defaults.place('mediaTypes'),
      hint: 'leave it out',
    })
  const [platform, platforms] = [entry.text('platform'), entry.list('platforms')]
  return {
    ...(platform === undefined || platform === '' ? {} : { platforms: parsePlatforms([platform]) }),
    // As regsync has it: the index keeps its digest.
    ...(platforms === undefined || platforms.length === 0
      ? {}
      : { platforms: parsePlatforms(platforms), sparse: true }),
    ...(flag('referrers') ? { referrers: true } : {}),
    ...(flag('digestTags') ? { digestTags: true } : {}),
    ...(flag('forceRecursive') ? { thorough: true } : {}),
    ...(flag('includeExternal') ? { foreignLayers: true } : {}),
  }
}
