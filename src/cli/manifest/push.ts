import { Option } from 'commander'
import { mustFindList } from '../../manifests/lists.ts'
import { parseReference } from '../../oci/reference.ts'
import { command, type Invocation, parse, switchOrValue } from '../command.ts'
import { addPushFlags, pushAndReport } from './pushing.ts'
import { addRegistryFlags, manifestTools, needsArguments } from './tools.ts'

const ABOUT = `Pushes a list under its name, or to another destination: its images by digest, wherever they are, then the list, which is
read back. The last line is its digest.`

export async function run(invocation: Invocation): Promise<number> {
  const program = command(invocation, '[options] LIST [DESTINATION]', ABOUT)
    .option('-p, --purge', 'forget the list after it was pushed')
    .addOption(new Option('--rm', 'the same').hideHelp())
    .addOption(
      switchOrValue('--all [bool]', 'push the images as well: that is so anyway; =false pushes the list alone'),
    )
  addPushFlags(addRegistryFlags(program))
  const parsed = parse(program, invocation)
  if (!parsed) return 0
  const { args, options } = parsed
  needsArguments(invocation.name, args, 1, 2, 'LIST [DESTINATION]')
  const tools = await manifestTools(options, [args.at(-1)!], invocation.signal)
  try {
    const { name, index } = mustFindList(tools.store(), args[0]!)
    const reference = parseReference(name)
    const { place } = await tools.places.image({ kind: 'store', reference })
    const all = options['all']
    const alone = typeof all === 'string' && /^(?:0|f|false)$/i.test(all)
    await pushAndReport({ index, place, reference, alone }, args[1] ?? name, options, tools)
    if (options['purge'] === true || options['rm'] === true) tools.store().untag(name)
    return 0
  } finally {
    await tools.close()
  }
}
