/** One thing that was looked at. */
export interface Finding {
  /** A word that stays: for scripts. */
  readonly id: string
  /** `missing`: something cannot be done on this machine; `weaker`: it can, and could be better. */
  readonly state: 'ok' | 'weaker' | 'missing'
  readonly text: string
  readonly remedy?: string
}

export const ok = (id: string, text: string): Finding => ({ id, state: 'ok', text })
export const weaker = (id: string, text: string, remedy: string): Finding => ({ id, state: 'weaker', text, remedy })
export const missing = (id: string, text: string, remedy: string): Finding => ({ id, state: 'missing', text, remedy })
