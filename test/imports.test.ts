import { expect, test } from 'bun:test'
import { readdirSync, readFileSync } from 'node:fs'
import { join, posix } from 'node:path'
import { root } from '../scripts/archimage.ts'

/** What each room may import beside `errors/` (DESIGN §3, with the amendments of docs/decisions/0001-rooms.md). */
const ROOMS: Readonly<Record<string, readonly string[]>> = {
  errors: [],
  oci: [],
  tar: [],
  dockerfile: ['oci'],
  sys: [],
  layer: ['oci', 'tar', 'sys'],
  rootfs: ['oci', 'tar', 'sys', 'layer', 'store'],
  store: ['oci', 'sys'],
  registry: ['oci', 'store', 'sys'],
  transports: ['oci', 'tar', 'store', 'registry', 'sys'],
  copy: ['oci', 'store', 'registry', 'transports', 'sys'],
  project: ['oci', 'dockerfile'],
  context: ['oci', 'tar', 'sys'],
  remote: ['oci', 'sys', 'store', 'registry', 'context'],
  plan: ['project', 'dockerfile', 'context', 'oci', 'store'],
  lint: ['oci', 'dockerfile', 'context', 'plan'],
  executable: [],
  emulation: ['oci', 'tar', 'sys', 'executable'],
  sandbox: ['oci', 'rootfs', 'sys', 'executable'],
  manifests: ['oci', 'registry', 'store', 'transports', 'copy'],
  mutate: ['oci', 'tar', 'layer', 'store', 'transports', 'copy', 'sys', 'inspect', 'context'],
  inspect: ['oci', 'layer', 'store', 'transports', 'sys'],
  verify: ['oci', 'store', 'registry', 'layer', 'transports'],
  attest: ['oci', 'layer', 'store'],
  engines: [
    ...['oci', 'tar', 'dockerfile', 'sys', 'layer', 'store', 'registry', 'transports', 'project', 'context', 'plan'],
    ...['emulation', 'sandbox', 'manifests', 'verify', 'attest', 'rootfs', 'outputs'],
  ],
  run: [
    ...['plan', 'engines', 'transports', 'manifests', 'verify', 'attest', 'registry', 'store', 'oci'],
    ...['project', 'context', 'remote', 'dockerfile', 'lint', 'sys'],
  ],
  sync: ['oci', 'project', 'registry', 'transports', 'copy'],
  bundle: ['oci', 'store', 'registry', 'transports'],
  outputs: ['oci', 'tar', 'layer', 'store', 'transports', 'sys'],
  template: [],
  report: [],
  cli: ['*'],
  doctor: ['*'],
  'index.ts': ['*'],
  'language.ts': ['dockerfile', 'lint', 'oci', 'plan'],
}

/** Rooms or files of which only the types may be used, by the room that uses them. */
const TYPES: Readonly<Record<string, readonly string[]>> = {
  plan: ['layer'],
  engines: ['run/events.ts'],
  remote: ['run/events.ts'],
  report: ['run/events.ts', 'copy/request.ts', 'copy/plan-view.ts'],
}

/** Nobody may reach up to these, whatever else they may. */
const TOPS: Readonly<Record<string, readonly string[]>> = { doctor: ['run', 'cli', 'report'] }

/** Packages, and the only rooms that may load them. */
const PACKAGES: Readonly<Record<string, readonly string[]>> = {
  commander: ['cli'],
  yaml: ['project', 'manifests'],
  zod: ['project'],
}

interface Import {
  readonly file: string
  readonly line: number
  readonly target: string
  readonly type: boolean
}

function files(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .map(name => posix.join(folder, name.replaceAll('\\', '/')))
    .filter(name => name.endsWith('.ts'))
    .sort()
}

/** `import … from`, `export … from`, `import '…'` and `import('…')`, also over several lines. */
function importsOf(file: string): Import[] {
  const text = readFileSync(join(root, file), 'utf8')
  const pattern = /(?:^|\n)\s*(import|export)\s+(type\s)?(?:[^'";]*?\sfrom\s*)?'([^']+)'|\bimport\(\s*'([^']+)'\s*\)/g
  return [...text.matchAll(pattern)].map(match => ({
    file,
    line: text.slice(0, match.index + match[0].indexOf(match[1] ?? 'import')).split('\n').length,
    target: match[3] ?? match[4]!,
    type: match[2] !== undefined,
  }))
}

const roomOf = (path: string): string => path.split('/')[1]!
const isTest = (file: string): boolean => file.endsWith('.test.ts') || file.includes('/testing/')

/** A sentence about an import that is not allowed; undefined when it is. */
function complaint({ file, line, target, type }: Import): string | undefined {
  const room = roomOf(file)
  const at = `${file}:${line}: ${room === 'index.ts' ? 'src/index.ts' : `room ${room}/`}`
  const allowed = ROOMS[room]
  if (allowed === undefined)
    return `${at} is not in the table of rooms: add it to test/imports.test.ts and docs/decisions/0001-rooms.md`
  if (target.startsWith('node:')) return undefined
  if (target.startsWith('bun:') || target === 'bun') {
    if (room === 'sys' || (isTest(file) && target === 'bun:test')) return undefined
    return `${at} imports ${target}: only sys/ may know the runtime`
  }
  if (!target.startsWith('.')) {
    if (isTest(file) || PACKAGES[target]?.includes(room)) return undefined
    return `${at} imports the package ${target}: ${PACKAGES[target] ? `only ${PACKAGES[target].join(', ')} may` : 'it is not in the list of packages'}`
  }
  const path = posix.join(posix.dirname(file), target)
  if (!path.startsWith('src/')) {
    if (isTest(file) || path === 'package.json') return undefined
    return `${at} imports ${path}, which is no part of the program`
  }
  const other = roomOf(path)
  if (other === room || other === 'errors') return undefined
  if (allowed.includes(other) || (allowed.includes('*') && !TOPS[room]?.includes(other))) return undefined
  const types = TYPES[room]?.some(one => one === other || path === `src/${one}`) ?? false
  if (types && (type || isTest(file))) return undefined
  return `${at} may not import ${path}${types ? ' but for its types' : ''}: it may reach ${allowed.join(', ') || 'nothing'} and errors`
}

test('no room reaches where it may not', () => {
  const complaints = files('src')
    .flatMap(importsOf)
    .flatMap(one => complaint(one) ?? [])
  expect(complaints).toEqual([])
})

test('only sys/ uses what Bun alone has', () => {
  const users = files('src').filter(file => {
    if (roomOf(file) === 'sys' || isTest(file)) return false
    const code = readFileSync(join(root, file), 'utf8').replaceAll(/\/\*[\s\S]*?\*\/|\/\/[^\n]*|'[^'\n]*'/g, '')
    return /\bBun\s*[.[]|\bimport\.meta\.(?:dir|require)\b/.test(code)
  })
  expect(users).toEqual([])
})

test('the rooms make no circle', () => {
  const edges = new Map<string, Set<string>>()
  for (const { file, target, type } of files('src').flatMap(importsOf)) {
    if (type || !target.startsWith('.') || isTest(file)) continue
    const path = posix.join(posix.dirname(file), target)
    if (!path.startsWith('src/') || roomOf(path) === roomOf(file)) continue
    edges.set(roomOf(file), (edges.get(roomOf(file)) ?? new Set()).add(roomOf(path)))
  }
  const done = new Set<string>()
  const visit = (room: string, path: readonly string[]): void => {
    if (path.includes(room))
      throw new Error(`rooms import each other: ${[...path.slice(path.indexOf(room)), room].join(' → ')}`)
    if (done.has(room)) return
    for (const next of edges.get(room) ?? []) visit(next, [...path, room])
    done.add(room)
  }
  for (const room of edges.keys()) visit(room, [])
  expect(done.size).toBeGreaterThan(10)
})

test('the language of Dockerfiles loads nothing of store, network or runtime', () => {
  const reached = new Set(['src/language.ts'])
  for (const file of reached)
    for (const { target, type } of importsOf(file))
      if (!type && target.startsWith('.')) reached.add(posix.join(posix.dirname(file), target))
  const rooms = new Set([...reached].map(roomOf))
  expect([...rooms].sort()).toEqual(['context', 'dockerfile', 'errors', 'language.ts', 'lint', 'oci', 'plan'])
  const packages = [...reached].flatMap(importsOf).map(({ target }) => target)
  expect(packages.filter(target => !target.startsWith('.') && !target.startsWith('node:'))).toEqual([])
})

test('the rules see what they forbid', () => {
  const from = (file: string, target: string, type = false) => complaint({ file, line: 1, target, type })
  expect(from('src/oci/a.ts', '../store/store.ts')).toContain('room oci/ may not import src/store/store.ts')
  expect(from('src/report/a.ts', '../run/events.ts')).toContain('but for its types')
  expect(from('src/report/a.ts', '../run/events.ts', true)).toBeUndefined()
  expect(from('src/report/a.ts', '../run/run.ts', true)).toContain('may not import')
  expect(from('src/store/a.ts', 'bun:sqlite')).toContain('only sys/')
  expect(from('src/sys/a.ts', 'bun:sqlite')).toBeUndefined()
  expect(from('src/oci/a.ts', 'zod')).toContain('only project may')
  expect(from('src/oci/a.ts', 'left-pad')).toContain('not in the list')
  expect(from('src/doctor/a.ts', '../cli/main.ts')).toContain('may not import')
  expect(from('src/somewhere/a.ts', './b.ts')).toContain('not in the table')
  expect(from('src/oci/a.ts', '../../test/peers/index.ts')).toContain('no part of the program')
})
