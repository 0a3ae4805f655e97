import { skipSpace } from './white-space.ts'

/**
 * The strings of an exec form (`["a", "b"]`); undefined when the text is none, which makes it a shell form: broken JSON
 * too, as in BuildKit. `mixed` is an array that holds something else than strings.
 */
export function parseJsonForm(text: string): readonly string[] | 'mixed' | undefined {
  const start = skipSpace(text)
  if (text[start] !== '[') return undefined
  let value: unknown
  try {
    value = JSON.parse(text.slice(start))
  } catch {
    return undefined
  }
  const items = value as readonly unknown[]
  return items.every(item => typeof item === 'string') ? items.map(item => item.toWellFormed()) : 'mixed'
}
