import { describe, expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { descendants, Lines, streamProgram } from './stream-program.ts'

const alive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return !/^\S+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'latin1'))
  } catch {
    return false
  }
}

async function until(right: () => boolean): Promise<void> {
  while (!right()) await new Promise(resolve => setTimeout(resolve, 10))
}

test('output comes while the program runs, and its exit code in the end', async () => {
  const said: string[] = []
  const take = (name: string) => (chunk: Uint8Array) => void said.push(`${name} ${Buffer.from(chunk)}`)
  const ended = await streamProgram('sh', ['-c', 'echo one; echo two >&2; exit 7'], {
    stdout: take('out'),
    stderr: take('err'),
  })
  expect(ended).toEqual({ code: 7 })
  expect(said.sort()).toEqual(['err two\n', 'out one\n'])
})

test('input is streamed; one that is not read to its end is no failure', async () => {
  async function* numbers(): AsyncGenerator<Uint8Array> {
    for (let i = 0; i < 1000; i++) yield Buffer.alloc(10_000, i)
  }
  let size = 0
  const take = (chunk: Uint8Array) => {
    size += chunk.length
  }
  expect(await streamProgram('cat', [], { input: numbers(), stdout: take })).toEqual({ code: 0 })
  expect(size).toBe(10_000_000)
  expect(await streamProgram('true', [], { input: numbers() })).toEqual({ code: 0 })
})

test('input that breaks ends the program', async () => {
  async function* broken(): AsyncGenerator<Uint8Array> {
    yield Buffer.from('a')
    throw new Error('the source is gone')
  }
  expect(await streamProgram('cat', [], { input: broken() })).toEqual({ signal: 'SIGTERM' })
})

test('what a reader throws ends the program and is thrown', async () => {
  const work = streamProgram('sh', ['-c', 'echo a; sleep 1000'], {
    stdout: () => {
      throw new Error('enough')
    },
  })
  expect(await work.catch(error => error.message)).toBe('enough')
})

test('all bytes come to a slow reader, also after the end of the program', async () => {
  let size = 0
  await streamProgram('head', ['-c', '200000', '/dev/zero'], {
    stdout: async chunk => {
      await new Promise(resolve => setTimeout(resolve, 100))
      size += chunk.length
    },
  })
  expect(size).toBe(200_000)
})

test('a program that is not there', async () => {
  const error = await streamProgram('/nowhere/program', []).catch(error => error)
  expect(error.code).toBe('ENOENT')
})

describe('an abort', () => {
  test('ends the program and what it started', async () => {
    const stop = new AbortController()
    let child = 0
    const work = streamProgram('sh', ['-c', 'sleep 1000 & echo $!; wait'], {
      signal: stop.signal,
      stdout: chunk => {
        child = Number(Buffer.from(chunk).toString())
        stop.abort()
      },
    })
    expect(await work).toEqual({ signal: 'SIGTERM' })
    await until(() => !alive(child))
  })

  test('kills a program that does not listen', async () => {
    const stop = new AbortController()
    const work = streamProgram('sh', ['-c', 'trap "" TERM; echo; while :; do sleep 0.1; done'], {
      signal: stop.signal,
      stdout: () => stop.abort(),
    })
    expect(await work).toEqual({ signal: 'SIGKILL' })
  })

  test('does not start what was not started', async () => {
    const error = await streamProgram('true', [], { signal: AbortSignal.abort(new Error('no')) }).catch(error => error)
    expect(error.message).toBe('no')
  })
})

test('descendants of a process, of whatever session', async () => {
  if (process.platform !== 'linux') return
  const stop = new AbortController()
  const found: number[] = []
  let grandchild = 0
  await streamProgram('sh', ['-c', 'sh -c "sleep 1000 & echo \\$!; wait" & wait'], {
    signal: stop.signal,
    stdout: chunk => {
      grandchild = Number(Buffer.from(chunk).toString())
      found.push(...descendants(process.pid))
      stop.abort()
    },
  })
  expect(grandchild).toBeGreaterThan(0)
  expect(found).toContain(grandchild)
})

test('lines', () => {
  const lines: string[] = []
  const cut = new Lines(line => lines.push(line), 8)
  cut.push(Buffer.from('a\r\nb'))
  cut.push(Buffer.from('c\n\n0123456789\n012345678'))
  cut.finish()
  expect(lines).toEqual(['a', 'bc', '', '01234567', '89', '01234567', '8'])
})
