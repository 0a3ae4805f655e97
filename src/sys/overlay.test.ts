import { afterEach, beforeEach, describe, expect } from 'bun:test'
import { lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { requirePeers } from '../../test/peers/require.ts'
import { unmount } from './mount.ts'
import { MAX_LOWERS, overlayMount, overlayProblem } from './overlay.ts'
import { removeTree } from './remove-tree.ts'

const real = requirePeers('root')

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'archimage-overlay-'))
})
afterEach(() => removeTree(folder))

/** Lower directories in which each has a file of its own, and all have one that says which of them is seen. */
function layers(count: number, prefix = 'lower'): string[] {
  return Array.from({ length: count }, (_, i) => {
    const dir = join(folder, `${prefix}${i}`)
    mkdirSync(dir)
    writeFileSync(join(dir, `own${i}`), '')
    writeFileSync(join(dir, 'top'), String(i))
    return dir
  })
}

function withMount(lowers: readonly string[], writable: boolean, act: (target: string) => void): void {
  const place = (name: string): string => {
    mkdirSync(join(folder, name))
    return join(folder, name)
  }
  const target = place('target')
  overlayMount({
    ...{ lowers, target, userxattr: false },
    ...(writable && { upper: place('upper'), work: place('work') }),
  })
  try {
    act(target)
  } finally {
    unmount(target)
  }
}

const mountsOf = (target: string): string =>
  readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter(line => line.includes(` ${target} `))
    .join('\n')

describe('overlays', () => {
  real('300 layers, the last on top; what is written lands in the upper directory', () => {
    withMount(layers(300), true, target => {
      expect(readdirSync(target).length).toBe(301)
      expect(readFileSync(join(target, 'top'), 'utf8')).toBe('299')
      rmSync(join(target, 'own7'))
      expect(lstatSync(join(folder, 'upper/own7')).isCharacterDevice()).toBe(true)
      expect(mountsOf(target)).toContain('redirect_dir=nofollow')
    })
  })

  real('300 layers whose paths are long and hold what separates options', () => {
    const before = process.cwd()
    withMount(layers(300, `${'long, odd: \\ '.repeat(16)}`), true, target => {
      expect(readdirSync(target).length).toBe(301)
      expect(readFileSync(join(target, 'top'), 'utf8')).toBe('299')
    })
    expect(process.cwd()).toBe(before)
  })

  real('one layer alone, or the same one twice, is read-only', () => {
    const [one] = layers(1)
    withMount([one!, one!], false, target => {
      expect(readdirSync(target).sort()).toEqual(['own0', 'top'])
      expect(() => writeFileSync(join(target, 'top'), 'x')).toThrow(/EROFS/)
    })
    expect(readFileSync(join(one!, 'top'), 'utf8')).toBe('0')
  })

  real('a layer that comes twice counts where it is highest', () => {
    const [one, two] = layers(2)
    withMount([one!, two!, one!], true, target => expect(readFileSync(join(target, 'top'), 'utf8')).toBe('0'))
  })

  real('too many layers, and a place that is not there, are errors', () => {
    const target = join(folder, 'missing')
    expect(() => overlayMount({ lowers: layers(2), target, userxattr: false })).toThrow(/ENOENT/)
    const many = Array.from({ length: MAX_LOWERS + 1 }, (_, i) => `/${i}`)
    expect(() => overlayMount({ lowers: many, target, userxattr: false })).toThrow(/501 lower directories/)
  })

  real('where overlays work is found by making one; an overlay on an overlay is none', () => {
    expect(overlayProblem(folder, false)).toBeUndefined()
    expect(readdirSync(folder)).toEqual([])
    withMount(layers(2), true, target => expect(overlayProblem(target, false)).toContain('EINVAL'))
  })
})
