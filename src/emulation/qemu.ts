import { closeSync, fstatSync, openSync, readdirSync, readFileSync, readSync, realpathSync } from 'node:fs'
import { join } from 'node:path'
import type { Bytes } from '../executable/bytes.ts'
import { type Elf, readElf } from '../executable/elf.ts'
import { buildPlatform } from '../oci/platform.ts'
import { runProgram } from '../sys/spawn.ts'

/** QEMU's word for each architecture of OCI that it has an emulator for. */
export const QEMU_NAMES: Readonly<Record<string, string>> = {
  amd64: 'x86_64',
  386: 'i386',
  arm64: 'aarch64',
  arm: 'arm',
  riscv64: 'riscv64',
  ppc64le: 'ppc64le',
  ppc64: 'ppc64',
  s390x: 's390x',
  loong64: 'loongarch64',
  mips64le: 'mips64el',
  mips64: 'mips64',
  mipsle: 'mipsel',
  mips: 'mips',
}

/** Where distributions put QEMU. Not $PATH: what is registered runs with the rights of setuid programs. */
export const QEMU_FOLDERS: readonly string[] = [
  '/usr/bin',
  '/usr/local/bin',
  '/usr/libexec/qemu-binfmt',
  '/run/current-system/sw/bin',
]

export interface Qemu {
  readonly architecture: string
  readonly path: string
}

/** An emulator that cannot be registered for all roots, and why. */
export interface UnfitQemu extends Qemu {
  readonly why: string
}

/**
 * The QEMU for an architecture in the first of `folders` that has one which works in every root: a statically linked program
 * for this machine. `unfit` are those that were passed over.
 */
export function findQemu(
  architecture: string,
  folders: readonly string[] = QEMU_FOLDERS,
): { readonly found?: Qemu; readonly unfit: readonly UnfitQemu[] } {
  const name = Object.hasOwn(QEMU_NAMES, architecture) ? QEMU_NAMES[architecture] : undefined
  const unfit: UnfitQemu[] = []
  if (name === undefined) return { unfit }
  for (const folder of folders)
    for (const file of [`qemu-${name}-static`, `qemu-${name}`]) {
      const qemu = { architecture, path: join(folder, file) }
      const elf = elfAt(qemu.path)
      if (elf === undefined) continue
      const why = unfitness(elf)
      if (why === undefined) return { found: qemu, unfit }
      unfit.push({ ...qemu, why })
    }
  return { unfit }
}

/** Why a program cannot be an interpreter for other roots; undefined when it can. */
export function unfitness(elf: Elf): string | undefined {
  const own = buildPlatform().architecture
  if (elf.defect !== undefined) return elf.defect
  if (elf.architecture !== own) return `it is a program for ${elf.architecture}, and this machine is ${own}`
  if (elf.interpreter === undefined) return undefined
  return `it is linked dynamically: inside an image its loader ${elf.interpreter} would be missing`
}

/** Undefined for what is not there or no ELF file. */
export function elfAt(path: string): Elf | undefined {
  let fd: number
  try {
    fd = openSync(path, 'r')
  } catch {
    return undefined
  }
  try {
    const stat = fstatSync(fd)
    return stat.isFile() ? readElf(fileBytes(fd, stat.size)) : undefined
  } catch {
    return undefined
  } finally {
    closeSync(fd)
  }
}

/** An open file of this machine. */
export function fileBytes(fd: number, size: number): Bytes {
  return {
    size,
    read(offset, length) {
      const bytes = Buffer.alloc(Math.max(0, Math.min(length, size - offset)))
      return bytes.subarray(0, readSync(fd, bytes, 0, bytes.length, offset))
    },
  }
}

/** `7.2.22` of a QEMU; undefined for another program, or one that does not start. */
export async function qemuVersion(path: string): Promise<string | undefined> {
  try {
    // Names like aarch64-binfmt-P make QEMU expect other arguments.
    const { stdout } = await runProgram(realpathSync(path), ['--version'], { env: {}, timeout: 5000, limit: 4096 })
    return /\bqemu-\S+ version (\d+(?:\.\d+)*)/.exec(stdout.toString())?.[1]
  } catch {
    return undefined
  }
}

/** Folders of emulators that were taken out of images and are kept in `home`, the newest image first. */
export function keptFolders(home: string): string[] {
  try {
    return readdirSync(home)
      .filter(name => /^[0-9a-f]{12,}$/.test(name))
      .map(name => join(home, name))
  } catch {
    return []
  }
}

/** How this distribution installs QEMU's emulators, as a command. */
export function packageCommand(architecture: string, osRelease: string = readOsRelease()): string | undefined {
  const ids = [...osRelease.matchAll(/^ID(?:_LIKE)?="?([^"\n]*)"?$/gm)].flatMap(match => match[1]!.split(' '))
  const has = (...names: string[]): boolean => names.some(name => ids.includes(name))
  if (has('debian', 'ubuntu')) return 'apt-get install qemu-user-static'
  if (has('fedora', 'rhel', 'centos')) return 'dnf install qemu-user-static'
  if (has('arch')) return 'pacman -S qemu-user-static'
  if (has('alpine')) return `apk add qemu-${QEMU_NAMES[architecture] ?? architecture}`
  if (has('suse', 'opensuse')) return 'zypper install qemu-linux-user'
  return undefined
}

function readOsRelease(): string {
  try {
    return readFileSync('/etc/os-release', 'utf8')
  } catch {
    return ''
  }
}
