const secrets = new Set<string>()

/** Makes a value known as secret: from now on no error, event or log line shows it. Short ones are left alone. */
export function secret(value: string): void {
  if (value.length >= 4) secrets.add(value)
}

/** Replaces credentials in URLs, authorization headers and all known secrets by asterisks. */
export function redact(text: string): string {
  let out = text
  for (const value of secrets) if (out.includes(value)) out = out.split(value).join('***')
  if (out.includes('://')) out = out.replace(/(\b[a-z][a-z0-9+.-]{0,30}:\/\/)[^\s/@]{1,512}@/gi, '$1***@')
  return out.replace(/\b(bearer|basic) [A-Za-z0-9._~+/=-]{8,}/gi, '$1 ***')
}
