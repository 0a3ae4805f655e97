/** Whether `password` is the one behind a bcrypt hash (`$2b$10$…`, also `$2y$`, `$2a$`); false for what is no such hash. */
export async function verifyBcrypt(password: string, hash: string): Promise<boolean> {
  // bcrypt takes 72 bytes; what is longer htpasswd cuts, while Bun would hash it first.
  const bytes = Buffer.from(password).subarray(0, 72)
  if (bytes.length === 0) return false
  return Bun.password.verify(bytes, hash, 'bcrypt').catch(() => false)
}
