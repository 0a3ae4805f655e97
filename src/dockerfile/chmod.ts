/** One step of a symbolic mode; `bits` are those of a 12-bit mode. */
type Step =
  /** `X`: execute bits, for directories and what had one before. */
  | { readonly op: '+' | '-' | 'X'; readonly bits: number }
  /** Copies the three bits of `from` to the classes in `to` (a mask of r bits). */
  | { readonly op: 'copy'; readonly from: 'u' | 'g' | 'o'; readonly to: number; readonly how: string }

/** `--chmod`: an octal mode, or the steps of a symbolic one. */
export type Chmod = { readonly octal: number } | { readonly symbolic: readonly Step[] }

const ALL = 0o6777
const STICKY = 0o1000
const READ: Readonly<Record<string, number>> = { u: 0o400, g: 0o40, o: 0o4 }
const WHO: Readonly<Record<string, number>> = { a: ALL, u: 0o4700, g: 0o2070, o: 0o7 }
const SHIFT: Readonly<Record<string, number>> = { u: 6, g: 3, o: 0 }

/**
 * Reads the value of `--chmod`: octal up to 07777, or chmod(1)'s symbolic form (`u=rwX,go=rX`) as BSD's setmode, which
 * BuildKit uses, understands it with umask 0. Undefined when it is neither.
 */
export function parseChmod(text: string): Chmod | undefined {
  if (/^[0-7]+$/.test(text)) {
    const octal = Number.parseInt(text, 8)
    return octal <= 0o7777 ? { octal } : undefined
  }
  const symbolic: Step[] = []
  let at = 0
  for (;;) {
    let who = 0
    for (; text[at] !== undefined && text[at]! in WHO; at++) who |= WHO[text[at]!]!
    let cleared = false
    do {
      const op = text[at++]
      if (op !== '+' && op !== '-' && op !== '=') return undefined
      if (op === '=') cleared = false
      let bits = 0
      let execute = 0
      who &= ~STICKY
      const flush = (): void => {
        if (bits !== 0) symbolic.push(...change(op, who, bits))
        if (execute !== 0) symbolic.push({ op: 'X', bits: masked(who, execute) })
        bits = 0
        execute = 0
      }
      // Set-id and sticky bits make no sense for "other" alone.
      const special = who === 0 || (who & ~0o7) !== 0
      for (; text[at] !== undefined && 'rstwXxugo'.includes(text[at]!); at++) {
        const perm = text[at]!
        if (perm === 'r') bits |= 0o444
        else if (perm === 'w') bits |= 0o222
        else if (perm === 'x' || (perm === 'X' && op === '-')) bits |= 0o111
        else if (perm === 'X') execute = 0o111
        else if (perm === 's') bits |= special ? 0o6000 : 0
        else if (perm === 't') {
          if (who === 0 || (who & ~0o7) !== 0) {
            who |= STICKY
            bits |= STICKY
          }
        } else {
          flush()
          if (op === '=') cleared = true
          const to = who === 0 ? 0o444 : who & 0o444
          symbolic.push({ op: 'copy', from: perm as 'u' | 'g' | 'o', to, how: op })
        }
      }
      if (op === '=' && bits === 0 && !cleared) {
        cleared = true
        symbolic.push(...change(op, who, 0))
      }
      flush()
    } while (at < text.length && text[at] !== ',')
    if (at >= text.length) return { symbolic }
    at++
  }
}

/** The 12-bit mode that `parsed` makes of `mode`. Symbolic links have no mode: they are not to be asked about. */
export function applyChmod(mode: number, isDirectory: boolean, parsed: Chmod): number {
  if ('octal' in parsed) return parsed.octal
  const before = mode & 0o7777
  let after = before
  for (const step of parsed.symbolic) {
    if (step.op !== 'copy') {
      if (step.op === '-') after &= ~step.bits
      else if (step.op === '+' || isDirectory || (before & 0o111) !== 0) after |= step.bits
    } else {
      const value = (after >> SHIFT[step.from]!) & 0o7
      for (const name of ['u', 'g', 'o'])
        if ((step.to & READ[name]!) !== 0) {
          const shift = SHIFT[name]!
          if (step.how === '=') after &= ~(0o7 << shift)
          if (step.how === '-') after &= ~(value << shift)
          else after |= value << shift
        }
    }
  }
  return after & 0o7777
}

function masked(who: number, bits: number): number {
  return who === 0 ? bits : who & bits
}

function change(op: string, who: number, bits: number): Step[] {
  const step: Step = { op: op === '-' ? '-' : '+', bits: masked(who, bits) }
  return op === '=' ? [{ op: '-', bits: who === 0 ? ALL : who }, step] : [step]
}
