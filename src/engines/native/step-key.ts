import { formatPlatform, type Platform } from '../../oci/platform.ts'
import type { RunMount, RunOp } from '../../plan/lowered.ts'
import { hashHex } from '../../sys/hash.ts'

/** Raised when the same step would leave something else, or its record means something else. */
const FORMAT = 1

/**
 * The key of a RUN step (DESIGN §4, steps are cached by content): what it stands upon, what it is, the values and files that it
 * can see, its platform. `sources` has for each mount what stands for the files that it shows. Values of secrets, contents of
 * cache mounts, proxies, hosts and limits are not part of it, as in BuildKit.
 */
export function stepKey(
  op: RunOp,
  parent: string,
  platform: Platform,
  sources: readonly (string | undefined)[],
): string {
  const { args, env, cwd, user, network, insecure, hostname } = op
  const mounts = op.mounts.map((mount, i) => [mountText(mount), sources[i]])
  const seen = [FORMAT, parent, formatPlatform(platform), args, env, cwd, user, network, insecure, hostname, mounts]
  return hashHex('sha256', Buffer.from(JSON.stringify(seen)))
}

function mountText(mount: RunMount): unknown {
  if (mount.kind === 'bind') {
    const { from: _, ...rest } = mount
    return rest
  }
  if (mount.kind !== 'cache') return mount
  const { from: _, id: __, sharing: ___, ...rest } = mount
  return rest
}
