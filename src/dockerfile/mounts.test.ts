import { describe, expect, test } from 'bun:test'
import { ArchimageError } from '../errors/error.ts'
import { parseCsvLine } from './csv.ts'
import { parseDevice } from './devices.ts'
import { mountFrom, parseMount } from './mounts.ts'

const fail = (message: string, hint?: string): ArchimageError =>
  new ArchimageError('DOCKERFILE_INVALID', message, hint === undefined ? {} : { hint })
const mount = (raw: string, values: Readonly<Record<string, string>> = {}): ReturnType<typeof parseMount> =>
  parseMount(raw, word => word.replace(/\$(\w+)/g, (_, name) => values[name] ?? ''), fail)

describe('--mount', () => {
  test('bind is the type without one, and read-only', () => {
    expect(mount('target=/x')).toEqual({ type: 'bind', target: '/x', readOnly: true, required: false })
    expect(mount('type=bind,src=a,dst=/x,rw').readOnly).toBe(false)
    expect(mount('type=bind,source=a,destination=/x,readonly=false').readOnly).toBe(false)
  })

  test('cache with all that it takes', () => {
    expect(mount('type=cache,id=go,target=/c,from=base,source=s,sharing=LOCKED,mode=0700,uid=1,gid=2')).toEqual({
      type: 'cache',
      id: 'go',
      target: '/c',
      from: 'base',
      source: 's',
      sharing: 'locked',
      mode: 0o700,
      uid: 1,
      gid: 2,
      readOnly: false,
      required: false,
    })
    expect(mount('type=cache,target=/c,ro').readOnly).toBe(true)
  })

  test.each([
    ['64m', 64 << 20],
    ['1.5KiB', 1536],
    ['10b', 10],
    ['1024', 1024],
    ['1 kb', 1024],
    ['2G', 2 ** 31],
  ])('tmpfs of %p', (size, bytes) => {
    expect(mount(`type=tmpfs,target=/t,size=${size}`).size).toBe(bytes)
  })

  test('secret and ssh', () => {
    expect(mount('type=secret,id=key,env=KEY,required')).toMatchObject({ id: 'key', env: 'KEY', required: true })
    expect(mount('type=ssh,required=false,mode=600')).toMatchObject({ required: false, mode: 0o600 })
  })

  test('variables are expanded, also in the type', () => {
    expect(mount('type=$T,target=$P/x', { T: 'cache', P: '/p' })).toMatchObject({ type: 'cache', target: '/p/x' })
  })

  test('quotes of CSV hold commas', () => {
    expect(mount('type=bind,"source=a,b",target=/x').source).toBe('a,b')
  })

  test.each([
    ['type=cahce,target=/x', 'cahce', 'cache'],
    ['type=bind,traget=/x', 'traget', 'target'],
    ['type=cache,sharing=lock', 'lock', 'locked'],
    ['type=bind,target', 'needs a value', undefined],
    ['type=bind,required', 'required', undefined],
    ['type=bind,size=1m', 'size', undefined],
    ['type=tmpfs,size=big', 'size', undefined],
    ['type=bind,mode=755', 'mode', undefined],
    ['type=cache,mode=888', 'mode', undefined],
    ['type=bind,sharing=shared', 'sharing', undefined],
    ['type=secret', 'which secret', 'id=NAME'],
    ['type=secret,id=a,source=b', 'source or an id', undefined],
    ['type=secret,id=a,from=b', 'no from', undefined],
    ['type=bind,ro=maybe', 'maybe', undefined],
    ['type=bind,a"b"', 'quotes', undefined],
    ['', 'empty', undefined],
  ])('refuses %p', (raw, message, hint) => {
    try {
      mount(raw)
      expect.unreachable()
    } catch (error) {
      expect((error as ArchimageError).message).toContain(message)
      if (hint) expect((error as ArchimageError).hint).toContain(hint)
    }
  })

  test('from is read without variables, and must have none', () => {
    expect(mountFrom('type=$T,from=base,target=/x', fail)).toBe('base')
    expect(mountFrom('type=cache,target=/x', fail)).toBeUndefined()
    expect(mountFrom('type=bind,from=', fail)).toBeUndefined()
    expect(() => mountFrom('from=$X,target=/x', fail)).toThrow('variables')
    expect(() => mountFrom('target="x', fail)).toThrow('quotes')
  })
})

test('--device', () => {
  expect(parseDevice('vendor.com/class=gpu0', fail)).toEqual({ name: 'vendor.com/class=gpu0', required: false })
  expect(parseDevice('name=vendor.com/class=gpu0,required', fail)).toEqual({
    name: 'vendor.com/class=gpu0',
    required: true,
  })
  expect(() => parseDevice('a/b=c,name=d', fail)).toThrow('already')
  expect(() => parseDevice('a/b=c,requierd', fail)).toThrow('requierd')
})

test('one line of CSV', () => {
  expect(parseCsvLine('a,"b,""c""",,d')).toEqual(['a', 'b,"c"', '', 'd'])
  expect(parseCsvLine('a,')).toEqual(['a', ''])
  for (const text of ['', 'a"b', '"a', '"a"b']) expect(parseCsvLine(text)).toBeUndefined()
})
