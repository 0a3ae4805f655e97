import { nearest } from '../nearest.ts'
import type { Rule } from '../rule.ts'
import { ruleUrl } from './url.ts'

export const UndefinedVar: Rule = {
  name: 'UndefinedVar',
  description: 'Variables should be defined before their use',
  url: ruleUrl('undefined-var'),
  from: 'buildkit',
  level: 'warning',
  remedy: 'declare it above, in this stage, with ARG or ENV',
  about:
    'The variable is neither in an ENV or ARG of this stage above, nor in an ENV of the base, so it is empty. An ARG before the first FROM has to be repeated in the stage. Where the base is not known (`--offline`), nothing is said of stages upon it.',
  bad: { dockerfile: 'FROM scratch\nARG VERSION=1\nCOPY app-$VERISON /app\n' },
  good: { dockerfile: 'FROM scratch\nARG VERSION=1\nCOPY app-$VERSION /app\n' },
  check: {
    step: ({ missing, state }, report) => {
      if (!state.complete) return
      for (const { name, known } of missing) {
        const meant = nearest(name, known)
        report(`Usage of undefined variable '$${name}'${meant === undefined ? '' : ` (did you mean $${meant}?)`}`)
      }
    },
  },
}

/** Between underscores or at an end of the name. */
const SECRET = /(?:_|^)(?:apikey|auth|credentials?|key|password|pword|passwd|secret|token)(?:_|$)/i
const HARMLESS = /(?:_|^)(?:public|file|version)(?:_|$)/i

export const SecretsUsedInArgOrEnv: Rule = {
  name: 'SecretsUsedInArgOrEnv',
  description: 'Sensitive data should not be used in the ARG or ENV commands',
  url: ruleUrl('secrets-used-in-arg-or-env'),
  from: 'buildkit',
  level: 'warning',
  remedy: 'give it to a step with RUN --mount=type=secret, to a program when it is started',
  about:
    'ENV is part of the image, ARG of its history: whoever has the image reads them. A step takes a secret with `RUN --mount=type=secret`, a program when it is started.',
  bad: { dockerfile: 'FROM scratch\nARG AWS_SECRET_ACCESS_KEY\n' },
  good: { dockerfile: 'FROM alpine:3.20\nRUN --mount=type=secret,id=aws,target=/root/.aws/credentials aws s3 ls\n' },
  check: {
    step: ({ instruction, word }, report) => {
      const names =
        instruction.kind === 'arg'
          ? instruction.args.map(({ key }) => key)
          : instruction.kind === 'env'
            ? instruction.pairs.map(({ key }) => word(key))
            : []
      for (const name of names)
        if (SECRET.test(name) && !HARMLESS.test(name))
          report(
            `Do not use ARG or ENV instructions for sensitive data (${instruction.kind === 'arg' ? 'ARG' : 'ENV'} "${name}")`,
          )
    },
  },
}
