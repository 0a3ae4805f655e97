import { ArchimageError } from '../errors/error.ts'
import { didYouMean } from '../errors/suggest.ts'
import { strayDockerfiles } from './discover.ts'
import type { Project, Service } from './project.ts'

/**
 * The services of these names, all without names, in the project's order. Throws NO_SERVICES for a project without any
 * and UNKNOWN_SERVICE with what was probably meant.
 */
export function selectServices(project: Project, names: readonly string[] = []): Service[] {
  if (project.services.length === 0) throw noServices(project)
  const known = project.services.map(service => service.name)
  for (const name of names) {
    if (known.includes(name)) continue
    const byImage = project.services.find(service => service.image === name)
    const meant = byImage === undefined ? didYouMean(name, known) : `did you mean "${byImage.name}"?`
    throw new ArchimageError('UNKNOWN_SERVICE', `there is no service "${name}"`, {
      hint: meant ?? `the services are: ${known.join(', ')}`,
    })
  }
  return project.services.filter(service => names.length === 0 || names.includes(service.name))
}

function noServices(project: Project): ArchimageError {
  const above = project.warnings.find(warning => warning.includes('archimage -C'))
  const stray = strayDockerfiles(project.root)
  const hint =
    above ??
    (stray.length > 0
      ? `there is ${stray.join(', ')}: give each a service in archimage.yaml, or build one image with: archimage build -f ${stray[0]} .`
      : 'a service is a folder with a Dockerfile: src/NAME/Dockerfile, services/NAME/Dockerfile, apps/NAME/Dockerfile, or one here')
  return new ArchimageError('NO_SERVICES', `no service was found in ${project.root}`, { hint })
}
