import { isArchimageError } from '../errors/error.ts'
import { formatReference, parseReference, type Reference } from '../oci/reference.ts'
import type { Project, Service } from './project.ts'

/** `REGISTRY/IMAGE:TAG`, or `IMAGE:TAG` in a project without registry. */
export function imageName(
  project: Pick<Project, 'registry' | 'tag'>,
  service: Pick<Service, 'image'>,
  tag = project.tag,
): string {
  return `${repositoryName(project, service)}:${tag}`
}

function repositoryName(project: Pick<Project, 'registry'>, service: Pick<Service, 'image'>): string {
  return project.registry === undefined ? service.image : `${project.registry}/${service.image}`
}

/** All names under which a service is published, the main one first. */
export function serviceReferences(
  project: Pick<Project, 'registry' | 'tag' | 'extraTags'>,
  service: Pick<Service, 'image'>,
): string[] {
  return [project.tag, ...project.extraTags].map(tag => imageName(project, service, tag))
}

/** The name of one platform's image by the project's pattern (`--arch-tags`); `arch` is `platformTag`. */
export function archImageName(
  project: Pick<Project, 'registry' | 'tag' | 'archTags'>,
  service: Pick<Service, 'image'>,
  arch: string,
  tag = project.tag,
): string {
  const fill = (text: string): string =>
    text.replaceAll('{image}', service.image).replaceAll('{tag}', tag).replaceAll('{arch}', arch)
  const pattern = project.archTags
  if (!pattern.includes('{image}')) return imageName(project, service, fill(pattern))
  return repositoryName(project, { image: fill(pattern) })
}

export type ServiceMatch =
  | { readonly service: Service }
  /** Looks like a service of the project and is not: `why` ends the sentence "… is not service x: ". */
  | { readonly nearMiss: Service; readonly why: string }

interface ProjectNames extends Pick<Project, 'registry' | 'tag' | 'extraTags'> {
  readonly services: readonly Service[]
}

/**
 * Which service a reference in a Dockerfile means (DESIGN §5, references): image name and registry (or none) are the
 * project's, the tag is absent, `latest` or the project's. Never `self`, the service that the Dockerfile belongs to; never
 * another tag or a digest.
 */
export function matchServiceReference(project: ProjectNames, text: string, self?: Service): ServiceMatch | undefined {
  let reference: Reference
  try {
    reference = parseReference(text)
  } catch (error) {
    if (isArchimageError(error)) return undefined
    throw error
  }
  const { tag, digest } = reference
  const name = formatReference({ registry: reference.registry, repository: reference.repository })
  // As it is written, without tag and digest: a bare name has no registry, docker.io/library/name has one.
  const written = text.replace(/@.*$/s, '').replace(/:[^/:]*$/, '')
  const tagFits = tag === undefined || tag === 'latest' || tag === project.tag || project.extraTags.includes(tag)
  for (const service of project.services) {
    const same =
      written === service.image ||
      (project.registry !== undefined &&
        name === formatReference(parseReference(`${project.registry}/${service.image}`)))
    if (!same) continue
    if (service.name === self?.name) return undefined
    if (digest !== undefined) return { nearMiss: service, why: 'a digest names one image, not what is built now' }
    if (tagFits) return { service }
    return { nearMiss: service, why: `its tag is "${tag}", the project's is "${project.tag}"` }
  }
  if (digest !== undefined || !tagFits) return undefined
  const last = reference.repository.split('/').at(-1)
  for (const service of project.services) {
    if (service.name === self?.name) continue
    if (written.includes('/') && last === service.image.split('/').at(-1))
      return {
        nearMiss: service,
        why: `the project's name of it is ${imageName(project, service)}`,
      }
    if (written === service.name && (tag === undefined || tag !== 'latest'))
      return { nearMiss: service, why: `the image of service ${service.name} is called ${service.image}` }
  }
  return undefined
}
