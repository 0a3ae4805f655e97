// node:path would do, but Bun's turns the lone surrogates that stand for bytes outside UTF-8 into U+FFFD.

/** Go's path.Clean: no `.`, no doubled and no trailing slashes, `..` resolved; "." for nothing. */
export function clean(path: string): string {
  const rooted = path.startsWith('/')
  const out: string[] = []
  for (const part of path.split('/')) {
    if (part === '' || part === '.') continue
    if (part !== '..') out.push(part)
    else if (out.length > 0 && out.at(-1) !== '..') out.pop()
    else if (!rooted) out.push('..')
  }
  return (rooted ? '/' : '') + out.join('/') || '.'
}
