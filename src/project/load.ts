import { existsSync } from 'node:fs'
import { basename, dirname, join, relative, resolve } from 'node:path'
import { ArchimageError } from '../errors/error.ts'
import { didYouMean } from '../errors/suggest.ts'
import { buildPlatform } from '../oci/platform.ts'
import { isTag, parseReference, parseRegistryPrefix } from '../oci/reference.ts'
import { assign, checkNames, filesOf, shownFolder } from './assign.ts'
import { type ConfigFile, placed, readConfig, readSmallFile } from './config.ts'
import { discover, type Found } from './discover.ts'
import type { Project, Service } from './project.ts'
import { platformsAt, serviceOf } from './service.ts'

export interface LoadOptions {
  /** The folder of the project. */
  readonly cwd: string
  /** A project file elsewhere (`--project`); its folder is the project's root. Relative to `cwd`. */
  readonly projectFile?: string
}

const NAMES = ['archimage.yaml', 'archimage.yml']

function projectFileIn(folder: string): string | undefined {
  return NAMES.map(name => join(folder, name)).find(existsSync)
}

/** The project file of a folder above, which is not used; for hints. */
function fileAbove(folder: string): string | undefined {
  for (let at = dirname(folder), below = folder; at !== below; below = at, at = dirname(at)) {
    const file = projectFileIn(at)
    if (file !== undefined) return file
  }
  return undefined
}

/**
 * The project in `cwd`: its archimage.yaml (or .yml), if there is one, and the services that discovery finds. A project
 * without services is returned as it is; `selectServices` is what refuses it. Throws PROJECT_INVALID with the place.
 */
export async function loadProject(options: LoadOptions): Promise<Project> {
  const file =
    options.projectFile === undefined ? projectFileIn(resolve(options.cwd)) : resolve(options.cwd, options.projectFile)
  const root = file === undefined || options.projectFile === undefined ? resolve(options.cwd) : dirname(file)
  const warnings: string[] = []
  if (file === undefined) {
    const above = fileAbove(root)
    if (above !== undefined)
      warnings.push(
        `${relative(root, above)} is not used from here; to use it: archimage -C ${relative(root, dirname(above))}`,
      )
  } else if (file.endsWith('.yaml') && existsSync(join(root, NAMES[1]!)) && options.projectFile === undefined)
    warnings.push('there are archimage.yaml and archimage.yml; archimage.yml is not used')
  const config = file === undefined ? undefined : await readConfig(file)
  const given = config?.config ?? {}

  const platforms = platformsAt(config, ['platforms'], given.platforms) ?? [buildPlatform()]
  const registry =
    given.registry === undefined
      ? undefined
      : placed(config, ['registry'], () => parseRegistryPrefix(given.registry as string))
  const pattern = given.image ?? '{service}'
  const archTags = given['arch-tags'] ?? '{tag}-{arch}'
  if (!archTags.includes('{arch}') || !archTags.includes('{tag}'))
    config?.fail(
      ['arch-tags'],
      '"arch-tags" must contain {tag} and {arch}',
      'for instance {tag}-{arch} or {image}-{arch}:{tag}',
    )
  checkPattern(config, ['arch-tags'], archTags, ['tag', 'arch', 'image'])
  checkPattern(config, ['image'], pattern, ['service'])
  const tag = tagOf(config, root)
  for (const [i, extra] of (given.tags ?? []).entries())
    if (!isTag(extra)) config?.fail(['tags', i], `"${extra}" is not a tag`)

  const discovered = discover(root)
  const configured = given.services ?? {}
  const { own, free } = assign(root, discovered, configured, config)
  const make = (name: string, found: Found | undefined): Service =>
    serviceOf({
      root,
      config,
      name,
      given: Object.hasOwn(configured, name) ? configured[name]! : {},
      found,
      free,
      platforms,
      pattern,
      warnings,
    })
  const named = Object.keys(configured).map(name => make(name, own.get(name)))
  // A discovered Dockerfile that the file gives to a service under another name is that service's.
  const claimed = new Set(named.flatMap(one => [one.dockerfile, ...Object.values(one.dockerfiles)]))
  const owned = new Set(own.values())
  const others = discovered.filter(one => !owned.has(one) && !filesOf(one).some(path => claimed.has(path)))
  checkNames(root, others, configured)
  for (const { name, folder } of others)
    if (name !== basename(folder)) warnings.push(`${shownFolder(root, folder)} is service "${name}"`)
  for (const { folder, set } of discovered)
    for (const file of set.shadowed)
      warnings.push(`${join(relative(root, folder), file)} is not used: another file is for the same platform`)
  const services = [...named, ...others.map(one => make(one.name!, one))].sort((a, b) => (a.name < b.name ? -1 : 1))
  checkImages(config, services, registry, tag)
  return {
    root,
    ...(file === undefined ? {} : { file }),
    ...(registry === undefined ? {} : { registry }),
    tag,
    extraTags: [...new Set(given.tags ?? [])].filter(extra => extra !== tag),
    archTags,
    platforms,
    services,
    warnings,
  }
}

function checkPattern(
  config: ConfigFile | undefined,
  path: readonly PropertyKey[],
  text: string,
  known: string[],
): void {
  for (const [, word] of text.matchAll(/\{([^{}]*)\}/g))
    if (!known.includes(word!))
      config?.fail(path, `"{${word}}" is unknown here`, didYouMean(word!, known) ?? `known: {${known.join('}, {')}}`)
}

function tagOf(config: ConfigFile | undefined, root: string): string {
  const { tag, 'version-file': versionFile } = config?.config ?? {}
  if (tag !== undefined && versionFile !== undefined)
    config?.fail(['version-file'], '"tag" and "version-file" exclude each other')
  if (versionFile !== undefined) {
    const bytes = placed(config, ['version-file'], () => readSmallFile(resolve(root, versionFile), 4096, versionFile))
    if (bytes === undefined) return config!.fail(['version-file'], `there is no file ${versionFile}`)
    const version = bytes
      .toString('utf8')
      .replace(/^\ufeff/, '')
      .trim()
    if (!isTag(version))
      config?.fail(['version-file'], `${versionFile} holds "${version.slice(0, 80)}", which is not a tag`)
    return version
  }
  if (tag !== undefined && !isTag(tag))
    config?.fail(['tag'], `"${tag}" is not a tag`, 'a tag has letters, digits, "_", "." and "-", at most 128')
  return tag ?? 'latest'
}

/** Two services with one image name would overwrite each other. */
function checkImages(
  config: ConfigFile | undefined,
  services: readonly Service[],
  registry: string | undefined,
  tag: string,
): void {
  const owners = new Map<string, string>()
  for (const { name, image } of services) {
    const path = config?.config.services?.[name]?.image === undefined ? ['image'] : ['services', name, 'image']
    placed(config, path, () => {
      if (/[:@]/.test(image))
        throw new ArchimageError('PROJECT_INVALID', `"${image}" is not an image name without registry and tag`)
      parseReference(`${registry ?? 'localhost'}/${image}:${tag}`)
    })
    const owner = owners.get(image)
    if (owner !== undefined)
      config?.fail(
        path,
        `services ${owner} and ${name} have the same image name "${image}"`,
        'use {service} in the pattern',
      )
    owners.set(image, name)
  }
}
