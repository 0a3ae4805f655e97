import { ArchimageError } from '../errors/error.ts'
import { didYouMean } from '../errors/suggest.ts'
import { parseDiskSize } from '../store/limit.ts'
import { openStore } from '../store/store.ts'
import { command, type Invocation, parse, print, say } from './command.ts'
import { bytes, table } from './table.ts'

const ABOUT = `cache du shows what the store of this machine keeps; cache prune removes what is not needed: layers and records that
nothing used for a week, or with --all everything but the images that were built, tagged or loaded here.`

export async function run(invocation: Invocation): Promise<number> {
  const program = command(invocation, 'du | prune [options]', ABOUT)
    .option('--all', 'prune: everything that is no image of this machine')
    .option('--older-than <time>', 'prune: what was not used for this long: 12h, 7d')
    .option('--keep <size>', 'prune: stop when the store is this small: 500MB, 20GB')
    .option('--dry-run', 'prune: only say what would go')
    .option('--json', 'print as JSON')
  const parsed = parse(program, invocation)
  if (!parsed) return 0
  const { args, options } = parsed
  const [what = 'du'] = args
  if (what !== 'du' && what !== 'prune')
    throw new ArchimageError('USAGE', `archimage cache has no "${what}"`, {
      hint: didYouMean(what, ['du', 'prune']) ?? 'it has du and prune',
    })
  const store = openStore({ warn: say })
  try {
    if (what === 'du') {
      const usage = store.usage()
      if (options['json'] === true) print(JSON.stringify(usage, null, 2))
      else {
        const rows = usage.categories.map(({ category, count, bytes: size, reclaimable }) => [
          category,
          String(count),
          bytes(size),
          bytes(reclaimable),
        ])
        for (const line of table([
          ['WHAT', 'COUNT', 'SIZE', 'RECLAIMABLE'],
          ...rows,
          ['all', '', bytes(usage.bytes), bytes(usage.reclaimable)],
        ]))
          print(line)
        say(`the store is ${usage.root}`)
      }
      return 0
    }
    const pruned = store.prune({
      all: options['all'] === true,
      dryRun: options['dryRun'] === true,
      ...(options['olderThan'] === undefined ? {} : { olderThan: duration(String(options['olderThan'])) }),
      ...(options['keep'] === undefined ? {} : { keepBytes: size(String(options['keep'])) }),
    })
    if (options['json'] === true) print(JSON.stringify(pruned, null, 2))
    else {
      for (const { category, count, bytes: freed } of pruned.removed) print(`${category}: ${count}, ${bytes(freed)}`)
      say(`${options['dryRun'] === true ? 'would free' : 'freed'} ${bytes(pruned.bytes)}`)
    }
    return 0
  } finally {
    store.close()
  }
}

function duration(text: string): number {
  const units: Readonly<Record<string, number>> = { s: 1e3, m: 60e3, h: 3600e3, d: 86400e3, w: 604800e3 }
  const match = /^(\d+(?:\.\d+)?)(s|m|h|d|w)$/.exec(text)
  if (!match)
    throw new ArchimageError('USAGE', `--older-than ${text} is not a time`, { hint: 'for instance 12h, 7d, 2w' })
  return Number(match[1]) * units[match[2]!]!
}

function size(text: string): number {
  const bytes = parseDiskSize(text)
  if (bytes === undefined)
    throw new ArchimageError('USAGE', `--keep ${text} is not a size`, { hint: 'for instance 500MB, 20GB' })
  return bytes
}
