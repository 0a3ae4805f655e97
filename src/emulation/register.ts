import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { release } from 'node:os'
import { join } from 'node:path'
import { ArchimageError, systemError } from '../errors/error.ts'
import { mount } from '../sys/mount.ts'
import { BINFMT_MISC, type Handler } from './binfmt.ts'
import { elfMatch } from './elf-match.ts'

/** What our handlers are called, so that nothing else is ever taken away: `archimage-arm64`. */
export const OWN_PREFIX = 'archimage-'

/** One line for /proc/sys/fs/binfmt_misc/register. */
export interface Registration {
  readonly name: string
  readonly interpreter: string
  readonly match: NonNullable<Handler['match']>
  readonly flags: string
}

/**
 * F: the kernel opens the emulator now, so that it works in every root. C: setuid programs (su, sudo) have their rights under
 * emulation as well. P: argv[0] stays what it was, for programs that go by it; QEMU understands it since 6.0, and is told
 * since Linux 5.12.
 */
export function qemuRegistration(architecture: string, interpreter: string, version: string | undefined): Registration {
  const flags = Number.parseInt(version ?? '0', 10) >= 6 && kernelAtLeast(5, 12) ? 'FCP' : 'FC'
  return { name: OWN_PREFIX + architecture, interpreter, match: { offset: 0, ...elfMatch(architecture)! }, flags }
}

export function kernelAtLeast(major: number, minor: number, kernel: string = release()): boolean {
  const [a = 0, b = 0] = kernel.split(/[.-]/).map(Number)
  return a > major || (a === major && b >= minor)
}

/** The line as the kernel reads it; throws CONFIG_INVALID for a path that no line can hold. */
export function registrationLine({ name, interpreter, match, flags }: Registration): string {
  const hex = (bytes: Uint8Array): string => [...bytes].map(byte => `\\x${byte.toString(16).padStart(2, '0')}`).join('')
  const delimiter = [':', '|', ',', ';'].find(char => !interpreter.includes(char))
  const { offset, magic, mask = new Uint8Array(magic.length).fill(0xff) } = match
  const line = ['', name, 'M', offset, hex(magic), hex(mask), interpreter, flags].join(delimiter)
  // MAX_REGISTER_LENGTH of Linux; a line break would end the interpreter's name.
  if (delimiter === undefined || interpreter.includes('\n') || Buffer.byteLength(line) > 1920)
    throw new ArchimageError('CONFIG_INVALID', `the kernel does not take ${interpreter} as the path of an emulator`, {
      hint: 'put the emulator, or the store (ARCHIMAGE_HOME), where the path is shorter and plain',
    })
  return line
}

/** Registers a handler, in the place of one of the same name. Throws PERMISSION, EMULATOR_BROKEN. */
export function register(registration: Registration, mountPoint: string = BINFMT_MISC): void {
  unregister(registration.name, mountPoint)
  write(join(mountPoint, 'register'), registrationLine(registration), `registering ${registration.name}`)
}

/** Takes a handler away; false when there is none of this name. Throws PERMISSION. */
export function unregister(name: string, mountPoint: string = BINFMT_MISC): boolean {
  if (['', '.', '..', 'register', 'status'].includes(name) || name.includes('/')) return false
  if (!existsSync(join(mountPoint, name))) return false
  write(join(mountPoint, name), '-1', `removing the handler ${name}`)
  return true
}

/** Turns all handlers on, where somebody has turned all of them off. */
export function enableAll(mountPoint: string = BINFMT_MISC): void {
  write(join(mountPoint, 'status'), '1', 'switching binfmt_misc on')
}

function write(path: string, text: string, doing: string): void {
  try {
    writeFileSync(path, Buffer.from(text), { flag: 'r+' })
  } catch (error) {
    throw refusal(error, doing)
  }
}

/**
 * Mounts binfmt_misc where it is not mounted, or over what is. Inside a user namespace (Linux 6.7) that namespace gets handlers of
 * its own, and none of the machine's holds in it any longer. Throws PERMISSION, EMULATOR_BROKEN.
 */
export function mountBinfmt(mountPoint: string = BINFMT_MISC, over = false): void {
  if (!over && existsSync(join(mountPoint, 'register'))) return
  const doing = `mounting binfmt_misc on ${mountPoint}`
  try {
    if (mountPoint !== BINFMT_MISC) mkdirSync(mountPoint, { recursive: true })
    mount('binfmt_misc', mountPoint, 'binfmt_misc')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENODEV') throw refusal(error, doing)
    throw new ArchimageError('EMULATOR_BROKEN', `${doing}: this kernel has none`, {
      hint: 'it needs CONFIG_BINFMT_MISC, perhaps as a module: modprobe binfmt_misc',
      cause: error,
    })
  }
}

function refusal(error: unknown, doing: string): ArchimageError {
  const { code, message } = error as NodeJS.ErrnoException
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS')
    return new ArchimageError('PERMISSION', `${doing}: the kernel lets nobody but root do this (${code})`, {
      hint: 'run it with sudo; in a container: on the machine that runs it, or in a privileged one',
      cause: error,
    })
  if (code === 'EINVAL' || code === 'ENOENT' || code === 'EEXIST' || code === 'ENOEXEC')
    return new ArchimageError('EMULATOR_BROKEN', `${doing}: the kernel refused it (${message})`, { cause: error })
  return systemError(error, doing)
}
