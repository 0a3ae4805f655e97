import type { ErrorCode } from '../errors/codes.ts'
import { ArchimageError } from '../errors/error.ts'
import { formatPlatform, type Platform } from '../oci/platform.ts'
import type { Binfmt, Handler } from './binfmt.ts'
import { ILLEGAL, type Outcome } from './measure.ts'
import { elfAt, findQemu, packageCommand, QEMU_NAMES } from './qemu.ts'

/** Why a platform does not run here, as data: it is remembered and printed as JSON. */
export interface Problem {
  readonly code: ErrorCode
  readonly message: string
  readonly hint: string
}

/** The problem as the error that ends a build before it begins. */
export function problemError({ code, message, hint }: Problem): ArchimageError {
  return new ArchimageError(code, message, { hint })
}

interface Findings {
  readonly platform: Platform
  /** Undefined where no program of the platform could be tried. */
  readonly outcome: Outcome | undefined
  /** The same in an empty root, where that was tried. */
  readonly elsewhere: Outcome | undefined
  /** The handler that takes the platform's programs, or would if it were enabled. */
  readonly handler: Handler | undefined
  readonly emulated: boolean
  readonly binfmt: Binfmt
}

/** Undefined when programs of the platform run inside images. */
export function whyNot(findings: Findings): Problem | undefined {
  const { platform, outcome, handler, emulated } = findings
  const name = formatPlatform(platform)
  if (outcome === undefined)
    return {
      code: 'ENGINE_MISSING',
      message:
        platform.os === process.platform
          ? `RUN steps of ${name} do not run here: nothing is known that runs its programs`
          : `RUN steps of ${name} do not run here: this machine runs ${process.platform}`,
      hint: 'images that need no RUN step are built for it nevertheless; make the files elsewhere and COPY them',
    }
  const by = handler === undefined ? 'the emulator' : `the handler ${handler.name}`
  if (outcome.ran) return platform.architecture === 'amd64' ? tooLow(findings, outcome.level) : notEverywhere(findings)
  if ('exit' in outcome) {
    if (outcome.exit === ILLEGAL) return lacksInstructions(name, emulated ? by : 'this CPU')
    const how =
      outcome.exit > 128 ? `was ended by signal ${outcome.exit - 128}` : `ended with exit code ${outcome.exit}`
    return broken(platform, `a program of three instructions for ${name} ${how}, run by ${by}`)
  }
  return refused(findings, outcome.error)
}

/** The level of x86-64 that the CPU or the emulator has is lower than the one that is needed. */
function tooLow(findings: Findings, level: number): Problem | undefined {
  const { platform, emulated, handler } = findings
  const wanted = Number(platform.variant?.slice(1) ?? 1)
  if (wanted <= level) return notEverywhere(findings)
  const who = emulated ? `the emulator ${handler?.name ?? ''}`.trimEnd() : 'this CPU'
  return {
    code: 'ENGINE_MISSING',
    message: `RUN steps of ${formatPlatform(platform)} do not run here: ${who} has x86-64-v${level} only`,
    hint: `build linux/amd64${level > 1 ? `/v${level}` : ''} here, or build on a machine whose CPU has x86-64-v${wanted}`,
  }
}

function lacksInstructions(name: string, who: string): Problem {
  return {
    code: 'ENGINE_MISSING',
    message: `RUN steps of ${name} do not run here: ${who} does not have its instructions`,
    hint: 'build a lower variant here, or build on a machine whose CPU has them',
  }
}

/** It runs here, but does it in another root? */
function notEverywhere({ platform, elsewhere, handler, emulated }: Findings): Problem | undefined {
  if (!emulated || elsewhere?.ran) return undefined
  // Exit codes of chroot(1) and unshare(1) when the program could not be started; others are their own trouble.
  const failed = elsewhere !== undefined && 'exit' in elsewhere && [126, 127].includes(elsewhere.exit)
  const fixed = handler?.flags.includes('F') ?? true
  if (!failed && fixed) return undefined
  const who = handler === undefined ? 'its handler' : `the handler ${handler.name} (${handler.interpreter})`
  const loader = handler && elfAt(handler.interpreter)?.interpreter
  const why = !fixed || handler === undefined ? 'is registered without the F flag' : `needs ${loader ?? 'other files'}`
  return broken(platform, `${formatPlatform(platform)} runs on this machine but not inside images: ${who} ${why}`)
}

function refused({ platform, handler, emulated, binfmt }: Findings, error: string): Problem {
  const name = formatPlatform(platform)
  if (error === 'EACCES' && !emulated)
    return {
      code: 'PERMISSION',
      message: 'programs cannot be started from any temporary directory: all are mounted noexec',
      hint: 'set TMPDIR to a directory where programs may run',
    }
  if (handler === undefined) {
    const why = binfmt.mounted ? 'no emulator is registered for it' : 'binfmt_misc is not mounted'
    return missing(platform, `RUN steps of ${name} do not run here: ${why}`)
  }
  const who = `the handler ${handler.name}`
  if (!binfmt.enabled) return broken(platform, `RUN steps of ${name} do not run here: binfmt_misc is switched off`)
  if (!handler.enabled) return broken(platform, `RUN steps of ${name} do not run here: ${who} is disabled`)
  if (error === 'ENOENT')
    return broken(
      platform,
      `RUN steps of ${name} do not run here: ${who} is registered, but ${handler.interpreter} is not there`,
    )
  return broken(platform, `RUN steps of ${name} do not run here: ${who} does not start (${error})`)
}

function broken(platform: Platform, message: string): Problem {
  return { ...missing(platform, message), code: 'EMULATOR_BROKEN' }
}

function missing(platform: Platform, message: string): Problem {
  return { code: 'EMULATOR_MISSING', message, hint: remedy(platform.architecture, formatPlatform(platform)) }
}

/** What gives this machine an emulator for an architecture. */
function remedy(architecture: string, name: string): string {
  if (!Object.hasOwn(QEMU_NAMES, architecture))
    return `there is no QEMU for ${name}: build it on a machine that runs it`
  const command = `${process.geteuid?.() === 0 ? '' : 'sudo '}archimage emulators install ${name}`
  const { found, unfit } = findQemu(architecture)
  if (found !== undefined) return `${command}\nregisters ${found.path}`
  const install = packageCommand(architecture)
  const lines = [
    ...(unfit[0] === undefined ? [] : [`${unfit[0].path} cannot be used: ${unfit[0].why}`]),
    ...(install === undefined ? [] : [`with packages: ${install}, then ${command}`]),
    `without packages: ${command} --image`,
  ]
  return lines.join('\n')
}
