/** A value in a template: JSON. `undefined` is a field that is not there. */
export type Value = unknown

export const isMap = (value: Value): value is Readonly<Record<string, Value>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** Go's idea of truth: false, 0, nil, and what is empty are false. */
export function truth(value: Value): boolean {
  if (Array.isArray(value)) return value.length > 0
  if (isMap(value)) return Object.keys(value).length > 0
  return value !== undefined && value !== null && value !== false && value !== 0 && value !== ''
}

/** As Go's fmt prints with %v: lists as [a b], maps as map[a:b c:d] by key. */
export function show(value: Value): string {
  if (value === undefined || value === null) return ''
  if (Array.isArray(value)) return `[${value.map(show).join(' ')}]`
  if (isMap(value))
    return `map[${Object.keys(value)
      .sort()
      .map(key => `${key}:${show(value[key])}`)
      .join(' ')}]`
  return String(value)
}

/**
 * The field as it is written, else as a Go struct would call it: without regard to case, dots and underscores, so that
 * `.MediaType`, `.OSVersion` and `.RootFS.DiffIDs` find mediaType, os.version and rootfs.diff_ids.
 */
export function fieldOf(map: Readonly<Record<string, Value>>, name: string): string | undefined {
  if (Object.hasOwn(map, name)) return name
  const plain = (text: string): string => text.toLowerCase().replace(/[._-]/g, '')
  const wanted = plain(name)
  return Object.keys(map).find(key => plain(key) === wanted)
}
