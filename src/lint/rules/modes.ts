import type { FileMode, Rule } from '../rule.ts'

export const GroupWritableFiles: Rule = {
  name: 'GroupWritableFiles',
  description: 'Files that are copied are writable for their group, as a umask of 002 makes them',
  from: 'archimage',
  level: 'warning',
  needs: 'context',
  remedy: 'write modes: git in archimage.yaml, COPY --chmod=…, or clone with umask 022',
  about:
    'git does not keep these bits: whoever clones with another umask gets other modes, and so another layer, other digests and another push. `modes: git` makes every file 644 or 755 ([reproducible.md](reproducible.md)). Said where most of what an instruction takes has the bit.',
  bad: {
    dockerfile: 'FROM scratch\nCOPY site /site\n',
    modes: [
      { path: 'site', mode: 0o775 },
      { path: 'site/index.html', mode: 0o664 },
    ],
  },
  good: {
    dockerfile: 'FROM scratch\nCOPY site /site\n',
    modes: [
      { path: 'site', mode: 0o755 },
      { path: 'site/index.html', mode: 0o644 },
    ],
  },
  check: {
    step: ({ instruction, stage, word }, report, { modes }) => {
      if (!modes || !stage.needed || (instruction.kind !== 'copy' && instruction.kind !== 'add')) return
      if (instruction.chmod !== undefined || (instruction.kind === 'copy' && instruction.from !== undefined)) return
      const found = modes(instruction.sources.map(word).filter(source => !source.includes('://')))
      const open = found.filter(({ mode }) => (mode & 0o020) !== 0)
      const [first] = open
      if (first === undefined || open.length * 2 <= found.length) return
      report(`${counted(open, found)} writable for the group: ${first.path || '.'} has mode ${first.mode.toString(8)}`)
    },
  },
}

function counted(open: readonly FileMode[], all: readonly FileMode[]): string {
  if (all.length === 1) return 'What it copies is'
  return `${open.length} of ${all.length} files and folders that it copies are`
}
