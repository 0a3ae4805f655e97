import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { requirePeers } from '../../test/peers/require.ts'
import { MS, mount, unmount } from './mount.ts'
import { removeTree } from './remove-tree.ts'

let folder: string
let tree: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'archimage-remove-'))
  tree = join(folder, 'tree')
  mkdirSync(tree)
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

describe('a tree is removed', () => {
  test('whatever its modes are', () => {
    mkdirSync(join(tree, 'a/b'), { recursive: true })
    writeFileSync(join(tree, 'a/b/file'), '')
    for (const dir of ['a/b', 'a', '']) chmodSync(join(tree, dir), 0)
    expect(removeTree(tree)).toBe(true)
    expect(readdirSync(folder)).toEqual([])
    expect(removeTree(tree)).toBe(false)
  })

  test('without following a link', () => {
    mkdirSync(join(folder, 'outside'))
    writeFileSync(join(folder, 'outside/file'), '')
    symlinkSync('../outside', join(tree, 'link'))
    removeTree(tree)
    expect(existsSync(join(folder, 'outside/file'))).toBe(true)
    symlinkSync('outside', tree)
    removeTree(tree)
    expect(readdirSync(folder)).toEqual(['outside'])
    symlinkSync('outside', tree)
    mkdirSync(join(folder, 'outside/dir'))
    expect(removeTree(Buffer.from(`${tree}/dir`))).toBe(true)
    expect(readdirSync(join(folder, 'outside'))).toEqual(['file'])
    expect(existsSync(join(folder, 'outside/file'))).toBe(true)
  })

  test('however deep it is, with names that are not UTF-8', () => {
    const name = Buffer.from([0x64, 0xff])
    let at = Buffer.from(tree)
    for (let i = 0; i < 320; i++) {
      at = Buffer.concat([at, Buffer.from('/'), name])
      mkdirSync(at)
      writeFileSync(Buffer.concat([at, Buffer.from('/f')]), '')
    }
    removeTree(tree)
    expect(readdirSync(folder)).toEqual([])
  })

  requirePeers('root')('also what was made immutable, where the file system has that', () => {
    mkdirSync(join(tree, 'a/b'), { recursive: true })
    writeFileSync(join(tree, 'a/file'), '')
    spawnSync('chattr', ['+i', join(tree, 'a/file'), join(tree, 'a')])
    removeTree(tree)
    expect(readdirSync(folder)).toEqual([])
  })

  requirePeers('root')('but nothing that is mounted in it, of whatever file system', () => {
    for (const dir of ['mounted', 'outside', 'outside/dir']) mkdirSync(join(dir === 'mounted' ? tree : folder, dir))
    mount(join(folder, 'outside'), join(tree, 'mounted'), '', MS.BIND)
    try {
      expect(() => removeTree(tree)).toThrow(/EBUSY/)
      expect(() => removeTree(join(tree, 'mounted'))).toThrow(/EBUSY/)
    } finally {
      unmount(join(tree, 'mounted'))
    }
    expect(readdirSync(join(folder, 'outside'))).toEqual(['dir'])
    removeTree(tree)
  })
})
