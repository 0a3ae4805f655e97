import { sanitize } from '../errors/render-text.ts'
import type { Platform } from '../oci/platform.ts'
import { familiarReference, formatReference, parseReference, withDefaultTag } from '../oci/reference.ts'
import { loadProject } from '../project/load.ts'
import { serviceReferences } from '../project/references.ts'
import { selectServices } from '../project/select.ts'
import { stringify } from '../report/json.ts'
import { BlobFetcher, withSources } from '../run/blobs.ts'
import { storeTransport } from '../transports/store.ts'
import { verifyImage } from '../verify/verify.ts'
import { command, type Invocation, insecureOption, list, open, parse, print, say, workingDirectory } from './command.ts'
import { addCredentialFlags, addTlsFlags, registryOptions } from './registry-flags.ts'
import { askedPlatforms, isPath, platformsOf, withOverrides } from './request.ts'

const ABOUT = `Looks up where every service and platform of the project should be (its registry, or the store of this machine when it has
none): index, manifests, configs and blobs must be there and agree. With references checks those images instead.`

interface Check {
  readonly name: string
  readonly reference: string
  readonly platforms: readonly Platform[]
  readonly local: boolean
}

export async function run(invocation: Invocation): Promise<number> {
  const program = command(invocation, '[options] [SERVICE… | REFERENCE…]', ABOUT)
    .option('--project <file>', 'the project file; default: archimage.yaml here')
    .option('--registry <registry>', "look in this registry instead of the project's")
    .addOption(list('-t, --tag <tag>', 'look for this tag'))
    .addOption(list('--platform <platforms>', 'these platforms must be there'))
    .option('--local', 'look in the store of this machine')
    .addOption(insecureOption())
    .option('--json', 'print the findings as JSON')
  addCredentialFlags(addTlsFlags(program))
  const parsed = parse(program, invocation)
  if (!parsed) return 0
  const { args, options } = parsed
  const byReference = args.length > 0 && args.every(word => isPath(word) || word.includes(':'))
  const checks = byReference
    ? references(args, options)
    : await services(args, options, workingDirectory(invocation, options))
  const registries = new Set(checks.map(check => parseReference(check.reference).registry))
  const tools = open(options, say, await registryOptions(options, [...registries]))
  const blobs = new BlobFetcher(tools.store, tools.registry, () => {})
  try {
    const results = await Promise.all(
      checks.map(async check => {
        const reference = parseReference(check.reference)
        const transport = check.local
          ? withSources(storeTransport(tools.store, `${reference.registry}/${reference.repository}`), blobs)
          : tools.registry.repository(reference)
        const found = await verifyImage(
          transport,
          reference.digest ?? reference.tag!,
          { platforms: check.platforms },
          { signal: invocation.signal },
        )
        return {
          service: check.name,
          where: check.local ? 'store' : reference.registry,
          reference: check.reference,
          ...found,
        }
      }),
    )
    if (options['json'] === true) print(stringify(results, 2))
    else
      for (const { service, reference, where, problems, cells, digest } of results) {
        if (problems.length === 0) {
          const platforms = Object.keys(cells).join(', ')
          print(sanitize(`right  ${familiarReference(parseReference(reference))}@${digest}  ${platforms}`))
          continue
        }
        print(`wrong  ${service}: ${familiarReference(parseReference(reference))} in ${where}`)
        for (const problem of problems) print(`       - ${sanitize(problem)}`)
      }
    const wrong = results.filter(result => result.problems.length > 0)
    if (wrong.length > 0 && options['json'] !== true)
      say(
        `${wrong.length} of ${results.length} ${wrong.length === 1 ? 'is' : 'are'} not right${byReference ? '' : `; to mend: ${remedy(options, checks[0]!.local)}`}`,
      )
    return wrong.length > 0 ? 1 : 0
  } finally {
    tools.store.close()
  }
}

function remedy(options: Readonly<Record<string, unknown>>, local: boolean): string {
  const registry = options['registry'] === undefined ? '' : ` --registry ${String(options['registry'])}`
  return `archimage build${local ? '' : ` --push${registry}`}`
}

function references(args: readonly string[], options: Readonly<Record<string, unknown>>): Check[] {
  return args.map(text => {
    const reference = withDefaultTag(parseReference(text))
    return {
      name: text,
      reference: formatReference(reference),
      platforms: askedPlatforms(options) ?? [],
      local: options['local'] === true,
    }
  })
}

async function services(
  args: readonly string[],
  options: Readonly<Record<string, unknown>>,
  directory: string,
): Promise<Check[]> {
  const file = options['project'] as string | undefined
  const project = withOverrides(
    await loadProject({ cwd: directory, ...(file === undefined ? {} : { projectFile: file }) }),
    options,
  )
  const chosen = selectServices(project, args)
  const platforms = platformsOf(project, chosen, askedPlatforms(options))
  return chosen.flatMap(service => {
    const wanted = platforms(service)
    if (wanted.length === 0) return []
    return serviceReferences(project, service).map(reference => ({
      name: service.name,
      reference: formatReference(parseReference(reference)),
      platforms: wanted,
      local: options['local'] === true || project.registry === undefined,
    }))
  })
}
