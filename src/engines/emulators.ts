import { join } from 'node:path'
import { EMULATOR_IMAGE, fetchEmulators, type ImageSource } from '../emulation/image.ts'
import type { Digest } from '../oci/digest.ts'
import { parseReference, type Reference } from '../oci/reference.ts'
import type { Emit } from '../run/events.ts'
import { NAMES } from '../store/home.ts'

export interface EmulatorTools {
  /** The store's folder. */
  readonly home: string
  readonly repository: (reference: Reference) => ImageSource
  readonly emit: Emit
  readonly signal: AbortSignal
}

/** The folder of the emulators that are taken where the machine has none of its own: in the store, once they were fetched. */
export function defaultEmulators({ home, repository, emit, signal }: EmulatorTools): Promise<string> {
  const reference = parseReference(EMULATOR_IMAGE)
  emit({ type: 'warning', message: `emulators come out of ${EMULATOR_IMAGE}` })
  return fetchEmulators(repository(reference), reference.digest as Digest, join(home, NAMES.emulators), {
    ...{ name: EMULATOR_IMAGE, signal },
  })
}
