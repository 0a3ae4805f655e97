import { secret } from '../errors/redact.ts'

export interface User {
  readonly name: string
  readonly password: string
}

/** The Authorization for a user (RFC 7617); from now on no message shows it. */
export function basic({ name, password }: User): string {
  const value = Buffer.from(`${name}:${password}`).toString('base64')
  for (const one of [password, value]) secret(one)
  return `Basic ${value}`
}

/** Part of a URL as text; as it stands where it is no percent-encoding. */
export function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
