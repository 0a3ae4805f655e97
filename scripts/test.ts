// npm test [-- PATH…]: type check, lint, all tests. The last line is `N passed, N failed, N skipped`.
import { spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { root } from './archimage.ts'
import { NOTHING, type Totals, totals } from './junit.ts'

const SECONDS_A_TEST = 60
const paths = process.argv.slice(2)
const folder = mkdtempSync(join(tmpdir(), 'archimage-test-'))
// Other users pass through it: some tests run as one.
chmodSync(folder, 0o711)
const report = join(folder, 'junit.xml')
// What tests leave behind goes with the folder.
const temporary = join(folder, 'tmp')
mkdirSync(temporary)
const bin = (name: string) => join(root, 'node_modules/.bin', name)

// A stage that is not a test counts when it fails, so that the last line never reads better than the truth.
const checks =
  paths.length > 0 ? [] : [stage('type check', [bin('tsc'), '--noEmit']), stage('lint', [bin('biome'), 'check'])]
const tests = stage('tests', [
  process.execPath,
  'test',
  `--parallel=${Math.min(availableParallelism(), 4)}`,
  `--timeout=${SECONDS_A_TEST * 1000}`,
  '--reporter=junit',
  `--reporter-outfile=${report}`,
  ...(paths.length > 0 ? paths : ['./src/', './test/', './scripts/']),
])
const read = readReport()
const broken = checks.filter(ok => !ok).length + (tests || read.failed > 0 ? 0 : 1)
const failed = read.failed + broken
process.stdout.write(`\n${read.passed} passed, ${failed} failed, ${read.skipped} skipped\n`)
process.exitCode = failed > 0 ? 1 : 0
rmSync(folder, { recursive: true, force: true })

function stage(name: string, [program, ...args]: string[]): boolean {
  const started = performance.now()
  const { status, error } = spawnSync(program!, args, {
    cwd: root,
    env: { ...process.env, TMPDIR: temporary },
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  const seconds = ((performance.now() - started) / 1000).toFixed(1)
  process.stdout.write(
    `${name}: ${status === 0 ? 'ok' : `failed${error ? ` (${error.message})` : ''}`}, ${seconds} s\n`,
  )
  return status === 0
}

/** Without a report (a test that ended the process writes none) there is a failure, whatever the exit code was. */
function readReport(): Totals {
  try {
    const read = totals(readFileSync(report, 'utf8'))
    return read.passed + read.failed + read.skipped > 0 ? read : { ...NOTHING, failed: 1 }
  } catch {
    return { ...NOTHING, failed: 1 }
  }
}
