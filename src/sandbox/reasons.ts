import { readFileSync } from 'node:fs'
import type { Output } from './output.ts'
import type { StepEnd } from './step.ts'

/** What lets steps run where namespaces may not be made. */
export const NO_NAMESPACES_HINT =
  'a container needs --privileged for it, or --cap-add SYS_ADMIN with --security-opt seccomp=unconfined,apparmor=unconfined,systempaths=unconfined; in one that you trust with your Dockerfiles, build with --sandbox=chroot'

/** Characters of a step's last words. */
const TAIL = 4096

/** What a failed step said last often names what the kernel refused. */
const WORDS = {
  'no-space': /no space left on device|disk quota exceeded|\bENOSPC\b/i,
  'out-of-memory': /cannot allocate memory|out of memory|virtual memory exhausted|\bENOMEM\b/i,
  'out-of-processes': /\bfork\b.*resource temporarily unavailable|resource temporarily unavailable.*\bfork\b/i,
  'unmapped-id': /invalid argument|\bEINVAL\b/i,
} as const

/** Follows a step in order to say why it failed, where the exit code does not. */
export class Reasons {
  #tail = ''
  readonly #killed = oomKills()

  /** Passes output on. */
  watch(output: Output): Output {
    return (stream, bytes) => {
      this.#tail = (this.#tail + Buffer.from(bytes.subarray(-TAIL)).toString('latin1')).slice(-TAIL)
      return output(stream, bytes)
    }
  }

  /** `singleUser`: in its user namespace other ids do not exist. `killed`: how often the kernel ended processes for their memory. */
  explain(end: StepEnd, { singleUser, killed }: { singleUser: boolean; killed?: number | undefined }): StepEnd {
    if (end.exitCode === 0 || end.reason !== undefined) return end
    const says = (reason: keyof typeof WORDS): boolean => WORDS[reason].test(this.#tail)
    if (killed === undefined ? this.#mayBeKilled(end) : killed > 0) return { ...end, reason: 'out-of-memory' }
    if (says('no-space')) return { ...end, reason: 'no-space' }
    if (says('out-of-memory')) return { ...end, reason: 'out-of-memory' }
    if (says('out-of-processes')) return { ...end, reason: 'out-of-processes' }
    if (singleUser && says('unmapped-id')) return { ...end, reason: 'unmapped-id' }
    return end
  }

  /** The kernel ran out of memory meanwhile, and the step lost a process. */
  #mayBeKilled({ exitCode, signal }: StepEnd): boolean {
    const lost = signal === 'SIGKILL' || exitCode === 137 || /\bkilled\b/i.test(this.#tail)
    return lost && oomKills() > this.#killed
  }
}

/** Of the whole machine, since it was started. */
function oomKills(): number {
  return Number(/^oom_kill (\d+)$/m.exec(readText('/proc/vmstat'))?.[1] ?? 0)
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
