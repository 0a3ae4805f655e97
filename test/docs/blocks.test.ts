import { expect, test } from 'bun:test'
import { blocksOf, missingLine, stepsOf } from './blocks.ts'

test('blocks with language and attributes', () => {
  expect(blocksOf('text\n```sh in=new needs=podman\n$ a\n```\n\n  ```yaml\n  b: 1\n  ```\n')).toEqual([
    { line: 2, language: 'sh', attributes: { in: 'new', needs: 'podman' }, text: '$ a' },
    { line: 6, language: 'yaml', attributes: {}, text: 'b: 1' },
  ])
})

test('without a prompt every line is a command', () => {
  expect(stepsOf('# first\na \\\n  --b\n\nc   # exit code 2')).toEqual([
    { command: 'a \\\n  --b', exit: 0, output: [] },
    { command: 'c   # exit code 2', exit: 2, output: [] },
  ])
})

test('with prompts the lines between are output', () => {
  expect(stepsOf('$ a\nout\n$ b')).toEqual([
    { command: 'a', exit: 0, output: ['out'] },
    { command: 'b', exit: 0, output: [] },
  ])
})

test('output is compared but for what differs from run to run', () => {
  const output = 'start\n  base   ✓ built 0.3s  sha256:0123456789ab  1.5 kB\nend\n'
  expect(missingLine(['base ✓ built 0.0s sha256:ffffffffffff 12 B'], output)).toBeUndefined()
  expect(missingLine(['start', '…', 'e…d'], output)).toBeUndefined()
  expect(missingLine(['base ✗ failed 0.0s sha256:ffffffffffff 12 B'], output)).toContain('failed')
  expect(missingLine(['end', 'start'], output)).toBe('start')
  expect(missingLine(['bas'], output)).toBe('bas')
})
