import { expandWords } from '../../dockerfile/expand.ts'
import { isArchimageError } from '../../errors/error.ts'
import type { FileView, Rule } from '../rule.ts'
import type { Step } from '../walk.ts'
import { ruleUrl } from './url.ts'

export const ExposeProtoCasing: Rule = {
  name: 'ExposeProtoCasing',
  description: 'Protocol in EXPOSE instruction should be lowercase',
  url: ruleUrl('expose-proto-casing'),
  from: 'buildkit',
  level: 'warning',
  remedy: 'write it in lower case',
  about: 'The image has it in lower case anyway.',
  bad: { dockerfile: 'FROM alpine:3.20\nEXPOSE 80/TCP\n' },
  good: { dockerfile: 'FROM alpine:3.20\nEXPOSE 80/tcp\n' },
  check: {
    step: (step, report, file) => {
      for (const port of portsOf(step, file)) {
        const protocol = /\/(tcp|udp|sctp)$/i.exec(port)?.[1] ?? ''
        if (protocol !== protocol.toLowerCase())
          report(`Defined protocol '${port}' in EXPOSE instruction should be lowercase`)
      }
    },
  },
}

export const ExposeInvalidFormat: Rule = {
  name: 'ExposeInvalidFormat',
  description:
    'IP address and host-port mapping should not be used in EXPOSE instruction. This will become an error in a future release',
  url: ruleUrl('expose-invalid-format'),
  from: 'buildkit',
  level: 'warning',
  remedy: 'name the port alone',
  about: 'EXPOSE names ports of the container. Where they lead to is said by who starts it (`docker run -p`).',
  bad: { dockerfile: 'FROM alpine:3.20\nEXPOSE 127.0.0.1:80:80 5000:5000\n' },
  good: { dockerfile: 'FROM alpine:3.20\nEXPOSE 80 5000\n' },
  check: {
    step: (step, report, file) => {
      for (const port of portsOf(step, file))
        if (/[^:].*:/.test(port))
          report(`EXPOSE instruction should not define an IP address or host-port mapping, found '${port}'`)
    },
  },
}

function portsOf({ instruction, state }: Step, { dockerfile }: FileView): readonly string[] {
  if (instruction.kind !== 'expose') return []
  return instruction.ports.flatMap(port => {
    try {
      return expandWords(port, { get: name => state.env.get(name) }, { escape: dockerfile.escape }).words
    } catch (error) {
      if (isArchimageError(error)) return []
      throw error
    }
  })
}
