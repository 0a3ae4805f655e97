/**
 * Every error code that users may see: what it means, and the exit code that it asks for
 * (1 a cell failed or a check did not hold, 2 usage or configuration, 3 the environment lacks something).
 */
export const CODES = {
  // usage and configuration
  USAGE: { exit: 2, about: 'the command line is wrong' },
  PLATFORM_INVALID: { exit: 2, about: 'a platform name is not understood' },
  REFERENCE_INVALID: { exit: 2, about: 'an image reference is not well formed' },
  PROJECT_INVALID: { exit: 2, about: 'archimage.yaml is wrong' },
  NO_SERVICES: { exit: 2, about: 'there is nothing to build here' },
  UNKNOWN_SERVICE: { exit: 2, about: 'a service name that the project does not have' },
  SERVICE_CYCLE: { exit: 2, about: 'services need each other in a circle' },
  DOCKERFILE_INVALID: { exit: 2, about: 'a Dockerfile is wrong' },
  UNSUPPORTED: { exit: 2, about: 'something that archimage does not do, said by name' },
  NOT_ALLOWED: { exit: 2, about: 'a step asks for a privilege that the command line does not give' },
  CONFIG_INVALID: { exit: 2, about: 'a configuration file of this machine is wrong' },
  // the work itself
  DIGEST_INVALID: { exit: 1, about: 'a digest is not well formed' },
  DIGEST_MISMATCH: { exit: 1, about: 'content does not have the digest or the size that was promised' },
  MANIFEST_INVALID: { exit: 1, about: 'a manifest, index or image config is wrong' },
  PLATFORM_MISSING: { exit: 1, about: 'an image does not exist for the platform that was asked for' },
  PLATFORM_MISMATCH: { exit: 1, about: 'an image is of another platform than it should be' },
  TAR_INVALID: { exit: 1, about: 'an archive is damaged or hostile' },
  CONTEXT_INVALID: { exit: 1, about: 'a file of the build context cannot be used' },
  CONTEXT_CHANGED: { exit: 1, about: 'a file of the build context changed while it was being built' },
  STEP_FAILED: { exit: 1, about: 'a step of a Dockerfile failed' },
  NOT_FOUND: { exit: 1, about: 'something that was named does not exist' },
  INCOMPLETE: { exit: 1, about: 'not every service and platform that was asked for is there' },
  VERIFY_FAILED: { exit: 1, about: 'what was read back is not what was built' },
  CHECK_FAILED: { exit: 1, about: 'a Dockerfile says `# check=error=true`, and checks found something' },
  CELL_FAILED: { exit: 1, about: 'a cell failed' },
  TAG_IMMUTABLE: { exit: 1, about: 'the registry does not let a tag move' },
  PREBUILD_FAILED: { exit: 1, about: 'a prebuild command failed' },
  OUTPUT_FAILED: { exit: 1, about: 'an output could not be written' },
  SOURCE_FAILED: { exit: 1, about: 'a URL or a git repository does not give what was asked of it' },
  // registry
  REGISTRY_ERROR: { exit: 1, about: 'a registry refused a request' },
  REGISTRY_ANSWER: { exit: 1, about: 'a registry answered something that it should not' },
  UNAUTHORIZED: { exit: 3, about: 'a registry wants other credentials' },
  REGISTRY_UNREACHABLE: { exit: 3, about: 'a registry cannot be reached' },
  REGISTRY_BLOCKED: { exit: 2, about: 'registries.conf blocks this registry' },
  OFFLINE: { exit: 3, about: 'the network is needed and was forbidden' },
  SOURCE_UNREACHABLE: { exit: 3, about: 'a URL or a git repository cannot be reached' },
  CREDENTIALS: { exit: 3, about: 'credentials could not be read' },
  // the environment
  STORE_OWNER: { exit: 3, about: 'the store belongs to somebody else' },
  STORE_BROKEN: { exit: 3, about: 'the store is damaged' },
  STORE_BUSY: { exit: 3, about: 'another process is using the store' },
  NO_SPACE: { exit: 3, about: 'a disk is full' },
  PERMISSION: { exit: 3, about: 'the operating system refused access' },
  SANDBOX_MISSING: { exit: 3, about: 'steps cannot run on this machine' },
  SANDBOX_FAILED: { exit: 3, about: 'a step could not be started' },
  TOOL_MISSING: { exit: 3, about: 'a program that is needed is not installed' },
  ENGINE_MISSING: { exit: 3, about: 'no engine here can do this' },
  EMULATOR_MISSING: { exit: 3, about: 'nothing here runs programs of a platform that was asked for' },
  EMULATOR_BROKEN: { exit: 3, about: 'an emulator is registered, but does not run programs inside images' },
  DAEMON: { exit: 3, about: 'docker or podman could not be asked' },
  PORT_IN_USE: { exit: 3, about: 'an address is taken' },
  CANCELLED: { exit: 130, about: 'interrupted' },
} as const satisfies Record<string, { exit: 1 | 2 | 3 | 130; about: string }>

export type ErrorCode = keyof typeof CODES
