import { parseGitSource } from '../../context/git-source.ts'
import { isArchimageError } from '../../errors/error.ts'
import { clean } from '../../plan/posix.ts'
import type { Rule } from '../rule.ts'
import { ruleUrl } from './url.ts'

export const CopyIgnoredFile: Rule = {
  name: 'CopyIgnoredFile',
  description: 'Attempting to Copy file that is excluded by .dockerignore',
  url: ruleUrl('copy-ignored-file'),
  from: 'buildkit',
  level: 'warning',
  needs: 'context',
  remedy: 'change .dockerignore, or do not copy it',
  about:
    'What `.dockerignore` leaves out is not there to be copied. Nothing is said where it has exceptions (`!`), which are hard to tell beforehand.',
  bad: { dockerfile: 'FROM scratch\nCOPY tmp/cache /cache\n', dockerignore: 'tmp\n' },
  good: { dockerfile: 'FROM scratch\nCOPY cache /cache\n', dockerignore: 'tmp\n' },
  check: {
    step: ({ instruction, word }, report, { ignored }) => {
      const { kind } = instruction
      if (!ignored || (kind !== 'copy' && kind !== 'add') || (kind === 'copy' && instruction.from !== undefined)) return
      for (const source of instruction.sources.map(word)) {
        const path = clean(source)
        if (!isRemote(source) && ignored(path))
          report(
            `Attempting to ${kind === 'copy' ? 'Copy' : 'Add'} file ${JSON.stringify(path)} that is excluded by .dockerignore`,
          )
      }
    },
  },
}

function isRemote(source: string): boolean {
  try {
    return /^https?:\/\//.test(source) || parseGitSource(source) !== undefined
  } catch (error) {
    if (isArchimageError(error)) return true
    throw error
  }
}
