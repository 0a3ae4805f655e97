import { type Ink, paint, type Sign, type Style, sign } from '../errors/render-style.ts'
import type { CellState } from '../run/events.ts'

const LOOK: Readonly<Record<CellState, readonly [sign: Sign, word: string, ink: Ink]>> = {
  built: ['ok', 'built', 'green'],
  unchanged: ['same', 'unchanged', 'dim'],
  failed: ['failed', 'failed', 'red'],
  'not-run': ['notRun', 'not run', 'yellow'],
  cancelled: ['cancelled', 'cancelled', 'yellow'],
}

export function stateWord(state: CellState): string {
  return LOOK[state][1]
}

export function stateSign(style: Style, state: CellState): string {
  return sign(style, LOOK[state][0])
}

export function paintState(style: Style, state: CellState, text: string): string {
  return paint(style, LOOK[state][2], text)
}

export function isRight(state: string): boolean {
  return state === 'built' || state === 'unchanged'
}
