const secrets = new Set<string>()

/** Makes a value known as secret: from now on no error, event or log line shows it. Short ones are left alone. */
export function secret(value: string): void {
  if (value.length < 4) return
  // Also as it stands in URLs, in forms and in JSON: others say back what they were sent.
  const form = new URLSearchParams({ x: value }).toString().slice(2)
  const json = JSON.stringify(value).slice(1, -1)
  for (const shape of [value, form, form.replaceAll('+', '%20'), json]) secrets.add(shape)
}

/**
 * Replaces credentials in URLs, authorization headers and all known secrets by asterisks: for what comes from outside,
 * such as a registry's answer or a program's output.
 */
export function redact(text: string): string {
  return replaced(text, (rest, value) => (rest.includes(value) ? rest.split(value).join('***') : rest))
}

/** A secret that is a word may stand in any sentence: a star in its place there would tell it. */
const WORD = /^[A-Z]?[a-z]{1,15}$/

/** The same for our own sentences: a secret that is an everyday word goes only where it is the value of something. */
export function redactProse(text: string): string {
  return replaced(text, (rest, value) => {
    if (!rest.includes(value)) return rest
    return WORD.test(value)
      ? rest.replace(new RegExp(`([=:])${value}\\b`, 'g'), '$1***')
      : rest.split(value).join('***')
  })
}

function replaced(text: string, hide: (text: string, secret: string) => string): string {
  let out = text
  for (const value of secrets) out = hide(out, value)
  return redactUrls(out).replace(/\b(bearer|basic) [A-Za-z0-9._~+/=-]{8,}/gi, '$1 ***')
}

const USER_OF_URL = /(\b[a-z][a-z0-9+.-]{0,30}:\/\/)([^\s/@]{1,512})@/gi

/** Replaces user and password of URLs alone. */
export function redactUrls(text: string): string {
  return text.includes('://') ? text.replace(USER_OF_URL, '$1***@') : text
}

/** The same for source text whose columns are named: nothing moves. */
export function maskUrls(text: string): string {
  return text.replace(USER_OF_URL, (_, scheme: string, user: string) => `${scheme}${'*'.repeat(user.length)}@`)
}
