/**
 * How a directory says what is not there: as overlays have it, with attributes for the machine's root (`trusted`) or for user
 * namespaces (`user`) and character devices 0:0; or by names as layers have them (`names`), for directories that are only ever
 * copied, where file systems or rights have none of that.
 */
export type Marks = 'trusted' | 'user' | 'names'

/** No file of a layer or of a step may have such a name. */
export const WHITEOUT = '.wh.'
export const OPAQUE = '.wh..wh..opq'

/** The attribute of a directory in which nothing of what is below is seen. */
export function opaqueAttribute(marks: Marks): string | undefined {
  return marks === 'names' ? undefined : `${marks}.overlay.opaque`
}
