import { describe, expect, test } from 'bun:test'
import { FrameWriter } from './frame.ts'
import { Screen } from './screen.ts'

const start = (columns = 20, rows = 6): [FrameWriter, Screen] => {
  const screen = new Screen(columns, rows)
  screen.write('$ archimage build\n')
  return [new FrameWriter(screen), screen]
}

describe('frame', () => {
  test('is rewritten in place, longer, shorter, and taken away', () => {
    const [frame, screen] = start()
    frame.paint(['one', 'two'])
    expect(screen.text).toBe('$ archimage build\none\ntwo')
    expect(screen.cursorShown).toBe(false)
    frame.paint(['one', '2', 'three'])
    expect(screen.text).toBe('$ archimage build\none\n2\nthree')
    frame.paint(['1'])
    expect(screen.text).toBe('$ archimage build\n1')
    frame.clear()
    expect(screen.text).toBe('$ archimage build')
    expect(screen.cursorShown).toBe(true)
    screen.write('after\n')
    expect(screen.text).toBe('$ archimage build\nafter')
  })

  test('stays one block when it is as high as the screen allows', () => {
    const [frame, screen] = start(20, 4)
    for (let round = 0; round < 5; round++) frame.paint([`a${round}`, `b${round}`, `c${round}`])
    expect(screen.text).toBe('$ archimage build\na4\nb4\nc4')
    frame.clear()
    expect(screen.text).toBe('$ archimage build')
  })

  test('what is printed stays above it', () => {
    const [frame, screen] = start()
    frame.print(['before'])
    frame.paint(['live'])
    frame.print(['note'])
    frame.paint(['more'])
    expect(screen.text).toBe('$ archimage build\nbefore\nnote\nmore')
  })

  test('writes nothing when nothing changed, and only what did', () => {
    const written: string[] = []
    const frame = new FrameWriter({ write: text => written.push(text), columns: 80 })
    frame.paint(['same', 'old'])
    frame.paint(['same', 'old'])
    expect(written).toHaveLength(1)
    frame.paint(['same', 'new'])
    expect(written[1]).toContain('new')
    expect(written[1]).not.toContain('same')
  })

  test('after the terminal became narrower it goes up over the lines as they wrap now', () => {
    const written: string[] = []
    const stream = { write: (text: string) => written.push(text), columns: 80 }
    const frame = new FrameWriter(stream)
    frame.paint(['x'.repeat(70), 'y'])
    stream.columns = 30
    frame.paint(['z'])
    // 70 columns are three rows of 30, and one more line.
    expect(written[1]).toContain('\r\x1b[4A')
  })

  test('a terminal that says 0 columns is taken for one of 80', () => {
    const written: string[] = []
    const frame = new FrameWriter({ write: text => written.push(text), columns: 0 })
    frame.paint(['x'.repeat(70)])
    frame.paint(['y'])
    expect(written[1]).toContain('\r\x1b[1A')
  })

  test('closing what was never painted writes nothing', () => {
    const written: string[] = []
    new FrameWriter({ write: text => written.push(text) }).clear()
    expect(written).toEqual([])
  })
})
