/**
 * JSON whose text holds no control character at all: JSON.stringify leaves DEL and the C1 controls as they are, and
 * U+009B begins a control sequence on some terminals.
 */
export function stringify(value: unknown, indent?: number): string {
  return JSON.stringify(value, undefined, indent).replace(
    /[\x7f-\x9f]/g,
    character => `\\u00${character.charCodeAt(0).toString(16)}`,
  )
}
