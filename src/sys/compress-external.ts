import { once } from 'node:events'
import { ArchimageError } from '../errors/error.ts'
import { builtin } from './builtin.ts'

/** The uncompressed bytes by the system's `bzip2` or `xz`. Throws ENGINE_MISSING without the tool, TAR_INVALID for bad data. */
export async function* decompressExternally(
  tool: 'bzip2' | 'xz',
  source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  name: string,
): AsyncGenerator<Uint8Array> {
  const child = builtin.childProcess.spawn(tool, ['-dc'], { stdio: ['pipe', 'pipe', 'pipe'] })
  const closed = new Promise<number | Error>(resolve => {
    child.on('error', resolve)
    child.on('close', code => resolve(code ?? 1))
  })
  let said = ''
  child.stderr.on('data', chunk => {
    if (said.length < 1000) said += chunk
  })
  // a tool that stops reading ends with an exit code, which says more than EPIPE
  child.stdin.on('error', () => {})
  let failure: unknown
  const feeding = feed(child.stdin, source).catch(error => {
    failure = error
    child.kill('SIGKILL')
  })
  try {
    try {
      yield* child.stdout as AsyncIterable<Uint8Array>
    } catch (error) {
      // a tool that could not be started ends its output too early, before it says why
      if (!((await closed) instanceof Error)) throw error
    }
    const code = await closed
    if (failure !== undefined) throw failure
    if (code === 0) return
    if (code instanceof Error)
      throw new ArchimageError(
        'ENGINE_MISSING',
        `${name}: it is compressed with ${tool}, which is not installed here`,
        {
          hint: `install ${tool === 'xz' ? 'xz-utils' : tool}, or compress the archive with gzip or zstd`,
          cause: code,
        },
      )
    throw new ArchimageError('TAR_INVALID', `${name}: the compressed data is damaged or cut off`, {
      hint: 'fetch or make the archive again',
      details: { [tool]: said.trim() },
    })
  } finally {
    child.kill('SIGKILL')
    void feeding
  }
}

async function feed(
  stdin: NodeJS.WritableStream & { destroyed?: boolean },
  source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
) {
  for await (const chunk of source) {
    if (stdin.destroyed || !stdin.writable) return
    if (!stdin.write(chunk)) await Promise.race([once(stdin, 'drain'), once(stdin, 'close')]).catch(() => {})
  }
  stdin.end()
}
