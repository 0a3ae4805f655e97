/** One RUN step with everything resolved: what a sandbox needs to start it, and nothing about Dockerfiles. */
export interface Step {
  /** Unique within the run; names the step in logs and in the runtime. */
  readonly id: string
  /**
   * Directories of the layers that the step stands on, the lowest first; unpacked, never written to. Marks of rootfs: those of
   * overlays, or `names` with copied roots.
   */
  readonly lowers: readonly string[]
  /**
   * An empty directory: becomes exactly what the step changed, in the form that overlayfs gives an upper directory. With copied
   * roots (`SandboxFacts.roots`) it holds the root instead, copied from `lowers` by copyRoot of rootfs, and is changed itself.
   */
  readonly upper: string
  /** An empty directory on the file system of `upper`: overlayfs needs it. */
  readonly work: string
  readonly args: readonly string[]
  /** `NAME=value`; secrets among them never reach a disk. */
  readonly env: readonly string[]
  /** Absolute; made (0755, of the step's user, as BuildKit does) where it is missing. */
  readonly cwd: string
  /** `name`, `uid`, `name:group`, `uid:gid` or empty for root: looked up in the step's own /etc/passwd and /etc/group. */
  readonly user: string
  readonly mounts: readonly StepMount[]
  readonly network: 'default' | 'none' | 'host'
  /** No seccomp, all capabilities, devices writable (`RUN --security=insecure`). */
  readonly insecure: boolean
  readonly hostname: string
  /** Lines for /etc/hosts besides those of docker: `host`, `ip`; `host-gateway` stands for the address of this machine. */
  readonly hosts: readonly (readonly [host: string, ip: string])[]
  /** Bytes of /dev/shm. */
  readonly shmSize?: number
  readonly ulimits: readonly { readonly name: string; readonly soft: number; readonly hard: number }[]
  readonly limits: StepLimits
}

/** Absent: no limit. */
export interface StepLimits {
  /** Bytes. */
  readonly memory?: number
  readonly memorySwap?: number
  readonly cpuShares?: number
  readonly cpuPeriod?: number
  readonly cpuQuota?: number
  readonly cpusetCpus?: string
  readonly cpusetMems?: string
  /** Processes and threads at a time. */
  readonly pids?: number
}

interface MountBase {
  /** Absolute path in the step; what is missing of it is made for the step and gone after it. */
  readonly target: string
}

export type StepMount =
  /** A file or directory of this machine. */
  | (MountBase & { readonly kind: 'directory'; readonly source: string; readonly readOnly: boolean })
  /** A path in the root of another stage or image; with `readOnly` false writes are discarded after the step. */
  | (MountBase & {
      readonly kind: 'layers'
      readonly lowers: readonly string[]
      /** Absolute; links are followed inside that root. */
      readonly path: string
      readonly readOnly: boolean
    })
  /** A folder or file of this machine of which writes are discarded after the step. */
  | (MountBase & { readonly kind: 'scratch-copy'; readonly source: string })
  | (MountBase & { readonly kind: 'tmpfs'; readonly size?: number })
  /** Bytes that exist in memory only: secrets, scripts of heredocs. */
  | (MountBase & {
      readonly kind: 'bytes'
      readonly bytes: Uint8Array
      readonly mode: number
      readonly uid: number
      readonly gid: number
    })
  /** A socket of this machine (an SSH agent), reachable for uid and gid. */
  | (MountBase & {
      readonly kind: 'socket'
      readonly source: string
      readonly mode: number
      readonly uid: number
      readonly gid: number
    })

/**
 * How a step ended. `reason` names what the kernel said: out of memory or of processes, no space, exec format error; `unmapped-id`: a user or group
 * that does not exist in this user namespace, the remedy is SUB_ID_REMEDY of sub-ids.ts.
 */
export interface StepEnd {
  readonly exitCode: number
  readonly signal?: string
  readonly reason?:
    | 'out-of-memory'
    | 'out-of-processes'
    | 'no-space'
    | 'unmapped-id'
    | 'exec-format'
    | 'not-found'
    | 'not-executable'
  /**
   * For `exec-format`, `not-found` and `not-executable`: the file in the step, where it is known; for a file that exists, the
   * interpreter or dynamic linker that does not.
   */
  readonly file?: string
}

export interface StepTools {
  /** Output as it comes, raw bytes, both streams in the order in which they were read. */
  readonly output: (stream: 'stdout' | 'stderr', bytes: Uint8Array) => void
  readonly signal: AbortSignal
}

/** What a sandbox turned out to be; said in the log and in the result file. */
export interface SandboxFacts {
  readonly runtime: 'runc' | 'crun' | 'namespaces' | 'chroot'
  readonly rootless: boolean
  /** How roots are made of layers: stacked, or copied, see `Step.upper`. */
  readonly roots: 'overlay' | 'copy'
  /** What `network: default` is. */
  readonly network: 'pasta' | 'slirp4netns' | 'host'
  /** What is weaker here than it would be elsewhere, in words. */
  readonly remarks: readonly string[]
}

/**
 * Runs steps. One sandbox serves a whole run: its process, mounts and network are made with the first step and end with
 * this process, however it ends. `run` resolves for every end of the command itself; it throws SANDBOX_FAILED where the step could not
 * be started, CANCELLED after an abort.
 */
export interface Sandbox {
  readonly facts: SandboxFacts
  run(step: Step, tools: StepTools): Promise<StepEnd>
  close(): Promise<void>
}
