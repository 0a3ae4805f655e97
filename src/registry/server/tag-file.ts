import { isTag } from '../../oci/reference.ts'

/**
 * Tags differ by case, file names on macOS and Windows do not: the name of a tag's file is the tag in lower case and,
 * after a "~" that no tag has, a bit per capital letter. A tag without capitals is its own file name.
 */
export function tagFile(tag: string): string {
  const lower = tag.toLowerCase()
  if (lower === tag) return tag
  let bits = 0n
  for (let i = 0; i < tag.length; i++) if (tag[i] !== lower[i]) bits |= 1n << BigInt(i)
  return `${lower}~${bits.toString(16)}`
}

/** The tag whose file this is; undefined for a file that something else put there. */
export function tagOf(file: string): string | undefined {
  const [, lower = '', hex = '0'] = /^([^~A-Z]+)(?:~([0-9a-f]{1,32}))?$/.exec(file) ?? []
  const bits = BigInt(`0x${hex}`)
  const tag = [...lower].map((c, i) => ((bits >> BigInt(i)) & 1n ? c.toUpperCase() : c)).join('')
  return isTag(tag) ? tag : undefined
}
