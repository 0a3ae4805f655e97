import type { Bytes } from '../executable/bytes.ts'
import type { Elf } from '../executable/elf.ts'
import { readExecutable, type Script } from '../executable/executable.ts'
import { formatPlatform, type Platform } from '../oci/platform.ts'
import type { FailedProgram } from './failed-program.ts'
import { architectureOfLoader, libcIn, libcOf } from './loaders.ts'
import { follow, type RootReader } from './root.ts'

/** Why a program did not start: one sentence each. */
export interface Explanation {
  readonly message: string
  readonly hint: string
  /** The file that is at fault, as a path in the root; absent when it is not there. */
  readonly file?: string
  /** The architecture that it has, where it is a program. */
  readonly found?: string
}

export interface Question {
  readonly program: FailedProgram
  /** What the step saw. */
  readonly root: RootReader
  /** Of the step. */
  readonly cwd: string
  /** $PATH of the step. */
  readonly path: string
  /** What the step ran as. */
  readonly platform: Platform
}

/** A script may name a script as its interpreter; the kernel gives up after five. */
const MAX_CHAIN = 5

/** Looks at the file itself: undefined when nothing is wrong with it that can be seen. Never throws for what is in it. */
export function explain(question: Question): Explanation | undefined {
  const { program, root, cwd, platform } = question
  const { file, kind } = program
  const found = locate(question, file)
  if (found === undefined) return kind === 'not-found' ? absent() : undefined
  // QEMU names the loader that it misses, not the program that asks for it; `follow` found one that is there: not our case.
  return look(question, found, 0)

  function absent(): Explanation {
    const name = printable(file)
    const owner = architectureOfLoader(file)
    if (owner !== undefined) return loaderMissing(question, undefined, file, owner)
    if (file.endsWith('\r'))
      return {
        message: `a program named "${name}" is looked for: a script has lines that end with CR LF`,
        hint: CRLF,
      }
    if (!file.includes('/')) {
      const here = follow(root, file, cwd)
      const message = `${name} is not in the image: no folder of PATH has it`
      if (here?.node.kind === 'file') return { message, hint: `it is in ${cwd}: run it as ./${name}`, file: here.path }
      return { message, hint: 'install the package that has it, or give its whole path' }
    }
    return {
      message: `${name} is not in the image for ${formatPlatform(platform)}`,
      hint: 'was it copied to another place, made by an earlier stage for another platform, or left out by .dockerignore?',
    }
  }
}

type Found = NonNullable<ReturnType<typeof follow>>

/** A path from the working directory, or a name in $PATH. */
function locate({ root, cwd, path }: Question, file: string): Found | undefined {
  if (file.includes('/')) return follow(root, file, cwd)
  for (const folder of path.split(':')) {
    const found = follow(root, `${folder || '.'}/${file}`, cwd)
    if (found?.node.kind === 'file') return found
  }
  return undefined
}

function look(question: Question, { path, node }: Found, depth: number): Explanation | undefined {
  const file = path
  const shown = printable(path)
  if (node.kind === 'directory') return { file, message: `${shown} is a directory`, hint: 'name a program in it' }
  if (node.kind !== 'file' || depth > MAX_CHAIN) return undefined
  if (!node.executable)
    return {
      file,
      message: `${shown} is there, but is not executable`,
      hint: `COPY --chmod=755, or git update-index --chmod=+x for the file in the repository`,
    }
  const what = node.use((bytes: Bytes) => readExecutable(bytes))
  if (question.program.script && (what.kind === 'text' || what.kind === 'script')) return undefined
  switch (what.kind) {
    case 'elf':
      return lookAtElf(question, file, what)
    case 'script':
      return lookAtScript(question, file, what, depth)
    case 'pe':
      return foreign(question, file, `a program for Windows (${what.architecture})`, `windows/${what.architecture}`)
    case 'mach-o':
      return foreign(
        question,
        file,
        `a program for macOS (${what.architectures.join(', ')})`,
        `darwin/${what.architectures[0]}`,
      )
    case 'empty':
      // What exists is found: in a user namespace an empty file may be overlayfs' mark for one that was deleted.
      if (question.program.kind === 'not-found') return undefined
      return { file, message: `${shown} is empty`, hint: 'did the step that should have written it fail unnoticed?' }
    case 'lfs-pointer':
      return {
        file,
        message: `${shown} is a Git LFS pointer, not the file that it stands for`,
        hint: 'fetch it before the build: git lfs pull (in CI: checkout with lfs enabled)',
      }
    case 'text':
      return {
        file,
        message: what.bom
          ? `${shown} begins with a byte order mark, so that the kernel does not see its #! line`
          : `${shown} is a text without a #! line: the kernel cannot know what is to run it`,
        hint: what.bom ? 'save it as UTF-8 without BOM' : `begin it with #!/bin/sh, or run it as: sh ${shown}`,
      }
    case 'other':
      return {
        file,
        message: `${shown} is no program that Linux runs: it is ${what.what}`,
        hint: 'copy the program itself',
      }
  }
}

const CRLF =
  'save the file with LF: "*.sh text eol=lf" in .gitattributes, and check it out again (or: sed -i "s/\\r$//" FILE)'

function lookAtScript(question: Question, file: string, script: Script, depth: number): Explanation | undefined {
  const shown = printable(file)
  if (script.carriageReturn)
    return {
      file,
      message: `the first line of ${shown} ends with CR LF: the kernel looks for a program whose name ends with a carriage return`,
      hint: CRLF,
    }
  const { interpreter, argument } = script
  const found = follow(question.root, interpreter, question.cwd)
  if (found === undefined)
    return {
      file,
      message: `${shown} is to be run by ${printable(interpreter)}, which is not in the image`,
      hint: `install it, or begin the script with an interpreter that the image has (#!/bin/sh)`,
    }
  const name = /(?:^|\/)env$/.test(interpreter) ? envCommand(argument ?? '') : undefined
  if (name !== undefined) {
    const called = locate(question, name)
    if (called !== undefined) return look(question, called, depth + 1)
    return {
      file,
      message: `${shown} is to be run by ${printable(name)}, and no folder of PATH has it`,
      hint: `install it, or begin the script with an interpreter that the image has (#!/bin/sh)`,
    }
  }
  return look(question, found, depth + 1)
}

/** The program that `#!/usr/bin/env …` starts: behind options and NAME=value. */
function envCommand(argument: string): string | undefined {
  return argument.split(/[ \t]+/).find(word => word !== '' && !word.startsWith('-') && !word.includes('='))
}

function lookAtElf(question: Question, file: string, elf: Elf): Explanation | undefined {
  const { platform, root } = question
  const shown = printable(file)
  if (elf.architecture !== platform.architecture) {
    const bits = platform.architecture === 'amd64' && elf.architecture === '386' ? ' (32-bit)' : ''
    return {
      ...foreign(question, file, `a program for ${elf.architecture}${bits}`, elf.architecture),
      found: elf.architecture,
    }
  }
  if (elf.defect !== undefined)
    return {
      file,
      found: elf.architecture,
      message: `${shown} cannot be run: ${elf.defect}`,
      hint: 'make or fetch it again',
    }
  if (elf.interpreter === undefined) return undefined
  const loader = follow(root, elf.interpreter)
  if (loader?.node.kind !== 'file') return loaderMissing(question, file, elf.interpreter, elf.architecture)
  const what = loader.node.use(bytes => readExecutable(bytes))
  if (what.kind !== 'elf' || what.architecture === elf.architecture) return undefined
  return {
    file: loader.path,
    found: what.architecture,
    message: `${shown} is a program for ${elf.architecture}, but its loader ${printable(loader.path)} is one for ${what.architecture}`,
    hint: 'files of two architectures are mixed in the image: look for a COPY --from a stage of another platform',
  }
}

function loaderMissing(
  { platform, root }: Question,
  file: string | undefined,
  loader: string,
  architecture: string,
): Explanation {
  const who = file === undefined ? 'the program' : printable(file)
  const place = file === undefined ? {} : { file }
  const [needs, has] = [libcOf(loader), libcIn(platform.architecture, path => follow(root, path)?.node.kind === 'file')]
  const message = `${who} is there, but its loader ${printable(loader)} is not in the image`
  if (architecture !== platform.architecture)
    return {
      ...place,
      found: architecture,
      message: `${message}: it is a program for ${architecture}`,
      hint: crossHint(platform),
    }
  const found = { ...place, found: architecture }
  if (needs !== undefined && has !== undefined && needs !== has)
    return {
      ...found,
      message: `${message}: it was linked against ${needs}, and the image has ${has}`,
      hint:
        needs === 'glibc'
          ? 'build it in an Alpine stage or statically (Go: CGO_ENABLED=0), or stand on a Debian base (for some programs: apk add gcompat)'
          : 'build it on a Debian base or statically (Go: CGO_ENABLED=0), or stand on an Alpine base',
    }
  return {
    ...found,
    message: `${message}${has === undefined && needs !== undefined ? ', which has no C library' : ''}`,
    hint: 'link it statically (Go: CGO_ENABLED=0; Rust: a musl target; C: -static), or stand on a base that has the C library',
  }
}

function foreign({ platform }: Question, file: string, what: string, has: string): Explanation {
  const other = has.includes('/')
  return {
    file,
    found: has,
    message: `${printable(file)} is ${what}, and the step runs ${formatPlatform(platform)}`,
    hint: other
      ? `build it for ${platform.os} (Go: GOOS=$TARGETOS GOARCH=$TARGETARCH), or copy the one for ${formatPlatform(platform)}`
      : crossHint(platform),
  }
}

function crossHint(platform: Platform): string {
  return (
    `copy the program that was built for ${formatPlatform(platform)}: ` +
    'a stage with --platform=$BUILDPLATFORM has to compile for $TARGETARCH (Go: GOARCH=$TARGETARCH), ' +
    'and what is downloaded needs $TARGETARCH in its name'
  )
}

/** A path for a message: what is not printable is shown by name. */
function printable(path: string): string {
  return path.replaceAll('\r', '\\r').replaceAll('\n', '\\n')
}
