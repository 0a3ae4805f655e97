import { afterEach, beforeEach, expect, test } from 'bun:test'
import { mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sha256 } from '../oci/digest.ts'
import { openStore, type Store } from '../store/store.ts'
import { Journal, type Move } from './journal.ts'

let home: string
let store: Store
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'archimage-journal-'))
  store = openStore({ home })
})
afterEach(() => {
  store.close()
  rmSync(home, { recursive: true, force: true })
})

const moves: Move[] = [
  { reference: 'example.com/a:1', before: sha256('a'), after: sha256('b') },
  { reference: 'example.com/a:new', before: undefined, after: sha256('b') },
]
const all = () => true
const names = () => readdirSync(join(home, 'journal'))

test('nobody else sees the journal of one that lives; when it let go, the next finds it, once', () => {
  const journal = Journal.write(store, moves)
  expect(Journal.abandoned(store, all)).toEqual([])
  journal.leave()
  const [found, ...more] = Journal.abandoned(store, all)
  expect(more).toEqual([])
  expect(found!.moves).toEqual(moves)
  expect(Journal.abandoned(store, all)).toEqual([])
  found!.journal.close()
  expect(names()).toEqual([])
})

test('one that ended well leaves nothing', () => {
  Journal.write(store, moves).close()
  expect(names()).toEqual([])
})

test('journals of other registries stay, damaged and very old ones go', () => {
  Journal.write(store, moves).leave()
  expect(Journal.abandoned(store, move => move.reference.startsWith('other.example.com/'))).toEqual([])
  const [file] = names().filter(name => name.endsWith('.json'))
  expect(file).toBeDefined()
  for (const [name, text] of [
    ['bad.json', '{'],
    ['shape.json', '{"version":1,"moves":3}'],
    ['future.json', '{"version":2,"moves":[]}'],
  ] as const)
    writeFileSync(join(home, 'journal', name), text)
  const old = Date.now() / 1000 - 15 * 86_400
  utimesSync(join(home, 'journal', file!), old, old)
  expect(Journal.abandoned(store, all)).toEqual([])
  expect(names()).toEqual([])
})

test('what is no move in it does not count', () => {
  const journal = Journal.write(store, moves)
  journal.leave()
  const [file] = names().filter(name => name.endsWith('.json'))
  const odd = [...moves, { reference: 'x', after: 'not a digest' }, null, { reference: 7, after: sha256('b') }]
  writeFileSync(join(home, 'journal', file!), JSON.stringify({ version: 1, moves: odd }))
  expect(Journal.abandoned(store, all)[0]!.moves).toEqual(moves)
})
