/** How text is dressed: SGR colours or none, Unicode signs or ASCII ones, and the width to wrap at. */
export interface Style {
  readonly color: boolean
  readonly unicode: boolean
  /** Columns of the terminal; Infinity where nothing wraps. */
  readonly columns: number
}

export const PLAIN_STYLE: Style = { color: false, unicode: true, columns: Number.POSITIVE_INFINITY }

const SGR = {
  bold: [1, 22],
  dim: [2, 22],
  red: [31, 39],
  green: [32, 39],
  yellow: [33, 39],
  cyan: [36, 39],
} as const

export type Ink = keyof typeof SGR

export function paint(style: Pick<Style, 'color'>, ink: Ink, text: string): string {
  return style.color && text !== '' ? `\x1b[${SGR[ink][0]}m${text}\x1b[${SGR[ink][1]}m` : text
}

type Environment = Readonly<Record<string, string | undefined>>

const isSet = (value: string | undefined): boolean => value !== undefined && value !== ''

/** FORCE_COLOR wins over NO_COLOR (no-color.org), and both over what the terminal is. */
export function wantsColor(isTTY: boolean, env: Environment): boolean {
  if (isSet(env['FORCE_COLOR'])) return env['FORCE_COLOR'] !== '0' && env['FORCE_COLOR'] !== 'false'
  return isTTY && !isSet(env['NO_COLOR']) && env['TERM'] !== 'dumb'
}

/** Whether the locale shows Unicode (POSIX order of the variables). Windows and macOS have no C locale to fear. */
export function wantsUnicode(env: Environment, os: string = process.platform): boolean {
  const locale = [env['LC_ALL'], env['LC_CTYPE'], env['LANG']].find(isSet)
  if (locale !== undefined) return /utf-?8/i.test(locale)
  return os === 'darwin' || (os === 'win32' && isSet(env['WT_SESSION']))
}

/** The style that suits a stream and an environment. */
export function styleFor(
  stream: { readonly isTTY?: boolean | undefined; readonly columns?: number | undefined },
  env: Environment,
): Style {
  return {
    color: wantsColor(stream.isTTY === true, env),
    unicode: wantsUnicode(env),
    columns: stream.isTTY ? (stream.columns ?? 80) : Number.POSITIVE_INFINITY,
  }
}

/** Every sign of the reports with its ASCII form; both are one column wide. */
const SIGNS = {
  ok: ['✓', '+'],
  same: ['=', '='],
  failed: ['✗', 'x'],
  notRun: ['–', '-'],
  cancelled: ['■', '#'],
  none: ['·', '.'],
  waiting: ['·', '.'],
  warning: ['▲', '!'],
  arrow: ['→', '>'],
  up: ['↑', '^'],
  down: ['↓', 'v'],
  write: ['↳', '>'],
  bar: ['│', '|'],
  dot: ['·', '-'],
  times: ['×', 'x'],
  full: ['━', '='],
  empty: ['─', '-'],
} as const

export type Sign = keyof typeof SIGNS

export function sign(style: Pick<Style, 'unicode'>, name: Sign): string {
  return SIGNS[name][style.unicode ? 0 : 1]
}
