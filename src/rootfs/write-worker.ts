import { isArchimageError } from '../errors/error.ts'
import { EntryWriter } from './entry-writer.ts'

/** Files for a worker. */
export interface Batch {
  readonly job: number
  /** Which of the job's threads this is; comes back with the answer. */
  readonly turn: number
  /** The directory that all of it belongs into. */
  readonly root: string
  /** Separated by NUL, as no path holds one. */
  readonly paths: string
  /** FIELDS numbers for each: mode, uid, gid, mtime, size. */
  readonly numbers: Float64Array<ArrayBuffer>
  /** Attributes of the few that have some, by their place in the batch. */
  readonly xattrs: Readonly<Record<number, Readonly<Record<string, string>>>>
  /** Content, one after the other; goes back with the answer, to be filled again. */
  readonly bytes: ArrayBuffer
}

const FIELDS = 5

/** Says that no more comes for a job. */
export interface End {
  readonly job: number
  readonly end: true
}

export interface Answer {
  readonly job: number
  readonly turn?: number
  readonly bytes?: ArrayBuffer
  /** Of the whole job, with the answer to its end. */
  readonly attributes?: number
  readonly failure?: { readonly code?: string; readonly message: string; readonly hint?: string | undefined }
}

declare const self: {
  onmessage: (event: { data: Batch | End }) => void
  postMessage(answer: Answer, transfer: ArrayBuffer[]): void
}

const writers = new Map<number, EntryWriter>()

self.onmessage = ({ data }) => {
  const { job } = data
  if ('end' in data) {
    const writer = writers.get(job)
    writers.delete(job)
    writer?.close()
    self.postMessage({ job, attributes: writer?.attributes ?? 0 }, [])
    return
  }
  const { turn, bytes } = data
  try {
    write(data)
    self.postMessage({ job, turn, bytes }, [bytes])
  } catch (error) {
    const { message } = error as Error
    const failure = isArchimageError(error) ? { code: error.code, message, hint: error.hint } : { message }
    self.postMessage({ job, turn, bytes, failure }, [bytes])
  }
}

function write({ job, root, paths, numbers, xattrs, bytes }: Batch): void {
  let writer = writers.get(job)
  if (writer === undefined) {
    writer = new EntryWriter(root)
    writers.set(job, writer)
  }
  let at = 0
  for (const [i, path] of paths.split('\0').entries()) {
    const [mode, uid, gid, mtime, size] = numbers.subarray(i * FIELDS, (i + 1) * FIELDS) as unknown as number[]
    const own = xattrs[i]
    const node = {
      type: 'file',
      mode: mode!,
      uid: uid!,
      gid: gid!,
      mtime: mtime!,
      ...(own && { xattrs: own }),
    } as const
    writer.file(path, node, new Uint8Array(bytes, at, size))
    at += size!
  }
}
