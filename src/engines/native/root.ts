import { createHash } from 'node:crypto'
import type { Tree } from '../../layer/tree.ts'
import type { LayerItem } from '../../layer/write.ts'
import { type Digest, sha256 } from '../../oci/digest.ts'
import type { BaseImage } from '../../plan/lowered.ts'
import type { StepResult } from './step-record.ts'
import { entryText } from './times.ts'

/** A root filesystem as what it stands on: layers over each other, to be made real only when a step has to run upon them. */
export type Root =
  | { readonly kind: 'empty' }
  | { readonly kind: 'image'; readonly image: BaseImage }
  /** What COPY, ADD or WORKDIR wrote. */
  | { readonly kind: 'items'; readonly below: Root; readonly items: readonly LayerItem[] }
  /** What a RUN left; `before` is the tree that it stood upon. */
  | { readonly kind: 'step'; readonly below: Root; readonly result: StepResult; readonly before: Tree }

export const EMPTY: Root = { kind: 'empty' }

const known = new WeakMap<Root, string>()

/** Equal for roots with equal content, times included: what a step's key says of all that is below it. */
export function identity(root: Root): string {
  if (root.kind === 'empty') return 'empty'
  let found = known.get(root)
  if (found === undefined) {
    found = root.kind === 'image' ? chainOf(root.image) : `${sha256(`${identity(root.below)} ${ownContent(root)}`)}`
    known.set(root, found)
  }
  return found
}

/** The diff IDs of an image as one (image-spec, config.md, layer ChainID): its manifest and config do not matter to steps. */
export function chainOf(image: BaseImage): string {
  return image.config.rootfs.diff_ids.reduce<string>((below, diffId) => chainId(below, diffId), '') || 'empty'
}

export function chainId(below: string, diffId: Digest): Digest {
  return below === '' ? diffId : sha256(`${below} ${diffId}`)
}

function ownContent(root: Root & { readonly kind: 'items' | 'step' }): string {
  return root.kind === 'step' ? root.result.id! : contentOf(root.items)
}

/** Whether a RUN has left something in it. */
export function hasSteps(root: Root): boolean {
  for (let at = root; at.kind === 'items' || at.kind === 'step'; at = at.below) if (at.kind === 'step') return true
  return false
}

const contents = new WeakMap<readonly LayerItem[], Digest>()

/** A digest of everything that is in a layer, bytes and times too. */
export function contentOf(items: readonly LayerItem[]): Digest {
  let found = contents.get(items)
  if (found === undefined) {
    const hash = createHash('sha256')
    for (const { path, kind = 'entry', entry } of items)
      hash.update(entry === undefined ? JSON.stringify([path, kind]) : entryText(path, entry, true)).update('\n')
    found = `sha256:${hash.digest('hex')}`
    contents.set(items, found)
  }
  return found
}
