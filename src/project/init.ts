import { relative } from 'node:path'
import { formatPlatform } from '../oci/platform.ts'
import { discover } from './discover.ts'
import type { Project, Service } from './project.ts'
import { serviceOf } from './service.ts'

/** A YAML scalar: plain where every reader takes it for this text, else in double quotes. */
function scalar(text: string): string {
  const plain = /^[A-Za-z0-9_./][A-Za-z0-9_./@+()-]*$/.test(text)
  const ambiguous = /^(?:true|false|null|yes|no|on|off|~|[\d.+-].*)$/i.test(text)
  return plain && !(ambiguous && !/^\.\/|^\.$|\//.test(text)) ? text : JSON.stringify(text)
}

/** What discovery alone makes of each folder, by service name. */
function discovered({ root, platforms }: Project): ReadonlyMap<string, Service> {
  const common = { root, config: undefined, given: {}, free: [], platforms, pattern: '{service}', warnings: [] }
  const found = discover(root).filter(one => one.name !== undefined)
  return new Map(found.map(one => [one.name!, serviceOf({ ...common, name: one.name!, found: one })]))
}

function sameFiles(one: Service, other: Service | undefined): boolean {
  const facts = (service: Service | undefined): unknown => [
    service?.context,
    service?.dockerfile,
    service?.platformDockerfilesOnly,
    Object.entries(service?.dockerfiles ?? {}).sort(),
    service?.platforms.map(formatPlatform),
  ]
  return JSON.stringify(facts(one)) === JSON.stringify(facts(other))
}

/**
 * The text of an archimage.yaml that explains itself and says what was found; loaded, it gives the same project. What
 * discovery finds by itself stands there as comments, so that folders can be renamed. Paths are relative to the root.
 */
export function initFile(project: Project): string {
  const path = (absolute: string): string => scalar(relative(project.root, absolute).replaceAll('\\', '/') || '.')
  const platforms = project.platforms.map(formatPlatform)
  const out = [
    '# archimage project file. Everything in it is optional; what is said here wins over what is found.',
    '',
    '# Where images go: REGISTRY/IMAGE:TAG. Without a registry they stay in the store of this machine.',
    project.registry === undefined ? '# registry: registry.example.com/team' : `registry: ${scalar(project.registry)}`,
    '',
    '# Names of images; {service} is the name of the service, for instance "team-{service}".',
    '# image: "{service}"',
    '',
    '# The tag, or a file that holds it (version-file: VERSION).',
    project.tag === 'latest' ? '# tag: latest' : `tag: ${scalar(project.tag)}`,
    '',
    '# Every service is built for these, unless it says otherwise, for instance [linux/amd64, linux/arm64].',
    `platforms: [${platforms.map(scalar).join(', ')}]`,
    '',
  ]
  if (project.services.length === 0) {
    out.push(
      '# No service was found. A service is a folder with a Dockerfile, such as src/api/Dockerfile.',
      '# services:',
      '#   api:',
      '#     context: .',
      '#     dockerfile: src/api/Dockerfile',
    )
    return `${out.join('\n')}\n`
  }
  const found = discovered(project)
  const written = project.services.filter(service => !sameFiles(service, found.get(service.name)))
  out.push(
    '# Services as they were found. Those with a # are found again by themselves and need not stand here: take it away from',
    '# the lines that are to say something else. What each may also have: args, target, labels, annotations, build-contexts,',
    '# image, prebuild (a command that makes the binaries of a platform before the build), timestamps, modes,',
    '# platform-exception.',
    written.length === 0 ? '# services:' : 'services:',
  )
  for (const service of project.services) {
    const own = service.platforms.map(formatPlatform)
    const dockerfiles = Object.entries(service.dockerfiles)
    const lines = [`  ${scalar(service.name)}:`, `    context: ${path(service.context)}`]
    if (service.platformDockerfilesOnly !== true) lines.push(`    dockerfile: ${path(service.dockerfile)}`)
    if (dockerfiles.length > 0) lines.push('    dockerfiles:')
    for (const [platform, file] of dockerfiles) lines.push(`      ${scalar(platform)}: ${path(file)}`)
    if (own.join() !== platforms.join()) lines.push(`    platforms: [${own.map(scalar).join(', ')}]`)
    const mark = written.includes(service) ? '' : '# '
    out.push(`${mark === '' ? '  # ' : '#   # '}${service.because.replaceAll(/[\r\n]+/g, ' ')}`)
    out.push(...lines.map(line => mark + line))
  }
  return `${out.join('\n')}\n`
}
