import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { ArchimageError } from '../errors/error.ts'
import { initFile } from '../project/init.ts'
import { loadProject } from '../project/load.ts'
import { selectServices } from '../project/select.ts'
import { writeFileAtomic } from '../sys/files.ts'
import { command, type Invocation, parse, print, say, workingDirectory } from './command.ts'

const ABOUT = 'Writes archimage.yaml from what is found here, with comments that explain it.'

export async function run(invocation: Invocation): Promise<number> {
  const program = command(invocation, '[--force] [--stdout]', ABOUT)
    .option('--force', 'replace the file that is there')
    .option('--stdout', 'print it instead of writing it')
  const parsed = parse(program, invocation)
  if (!parsed) return 0
  const directory = workingDirectory(invocation, parsed.options)
  const path = join(directory, 'archimage.yaml')
  if (existsSync(path) && parsed.options['force'] !== true && parsed.options['stdout'] !== true)
    throw new ArchimageError('USAGE', 'there is an archimage.yaml here already', {
      hint: 'to replace it: archimage init --force',
    })
  const project = await loadProject({ cwd: directory })
  const services = selectServices(project)
  const text = initFile(project)
  if (parsed.options['stdout'] === true) {
    print(text.trimEnd())
    return 0
  }
  writeFileAtomic(path, text)
  say(
    `wrote archimage.yaml with ${services.length} ${services.length === 1 ? 'service' : 'services'}: ${services.map(service => service.name).join(', ')}`,
  )
  return 0
}
