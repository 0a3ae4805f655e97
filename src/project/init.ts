import { relative } from 'node:path'
import { formatPlatform } from '../oci/platform.ts'
import type { Project } from './project.ts'

/** A YAML scalar: plain where every reader takes it for this text, else in double quotes. */
function scalar(text: string): string {
  const plain = /^[A-Za-z0-9_./][A-Za-z0-9_./@+()-]*$/.test(text)
  const ambiguous = /^(?:true|false|null|yes|no|on|off|~|[\d.+-].*)$/i.test(text)
  return plain && !(ambiguous && !/^\.\/|^\.$|\//.test(text)) ? text : JSON.stringify(text)
}

/**
 * The text of an archimage.yaml that says what discovery found, with comments; loaded, it gives the same project.
 * Paths are relative to the project's root.
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
    'image: "{service}"',
    '',
    '# The tag, or a file that holds it (version-file: VERSION).',
    `tag: ${scalar(project.tag)}`,
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
  out.push(
    '# What each service may also have: args, target, labels, annotations, build-contexts, image, prebuild (a command',
    '# that makes the binaries of a platform before the build), timestamps, modes, platform-exception.',
    'services:',
  )
  for (const service of project.services) {
    const own = service.platforms.map(formatPlatform)
    const dockerfiles = Object.entries(service.dockerfiles)
    out.push(`  # ${service.because.replaceAll(/[\r\n]+/g, ' ')}`, `  ${scalar(service.name)}:`)
    out.push(`    context: ${path(service.context)}`)
    if (service.platformDockerfilesOnly !== true) out.push(`    dockerfile: ${path(service.dockerfile)}`)
    if (dockerfiles.length > 0) out.push('    dockerfiles:')
    for (const [platform, file] of dockerfiles) out.push(`      ${scalar(platform)}: ${path(file)}`)
    if (own.join() !== platforms.join()) out.push(`    platforms: [${own.map(scalar).join(', ')}]`)
  }
  return `${out.join('\n')}\n`
}
