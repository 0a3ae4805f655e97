import type { CellName, CellResult, Failure, RunResult } from '../run/events.ts'

/** Runs for the tests of this room. */

export const digestOf = (digit: string): string => `sha256:${digit.repeat(64)}`

export const AMD64 = 'linux/amd64'
export const ARM64 = 'linux/arm64'
export const ARMV7 = 'linux/arm/v7'

export const cell = (service: string, platform: string): CellName => ({ service, platform })

export const cellResult = (service: string, platform: string, more: Partial<CellResult> = {}): CellResult => ({
  ...{
    service,
    platform,
    state: 'unchanged',
    reason: 'nothing changed',
    engine: 'native',
    emulated: false,
    seconds: 0,
  },
  ...more,
})

export const missingFile: Failure = {
  code: 'STEP_FAILED',
  message: 'COPY dist/app: the context has no dist/app',
  hint: 'build it first',
  file: 'api/Dockerfile',
  line: 3,
  column: 6,
  endLine: 3,
  excerpt: ['FROM base', 'WORKDIR /app', 'COPY dist/app /app', 'CMD ["/app"]'],
  excerptLine: 1,
  log: ['looking for dist/app'],
  logFile: '.archimage/logs/api-linux-arm64.log',
}

/** Two services are right, api failed alike on two platforms, web was held up by it. Every optional field is there. */
export const failedRun: RunResult = {
  version: 1,
  project: 'demo',
  started: '2026-11-21T06:00:00.000Z',
  seconds: 2.44,
  complete: false,
  exitCode: 1,
  cells: [
    ...[AMD64, ARM64, ARMV7].map(platform =>
      cellResult('base', platform, {
        ...{ state: 'built', reason: 'main.js changed', seconds: 1.2, size: 1234, fallback: 'linux/arm/v6' },
        ...{ digest: digestOf('a'), configDigest: digestOf('c') },
      }),
    ),
    cellResult('api', AMD64),
    cellResult('api', ARM64, {
      ...{ state: 'failed', reason: '', seconds: 3.21, emulated: true, failure: missingFile },
      steps: [
        { step: 'RUN ldconfig', line: 2, seconds: 0.4, emulated: true, cached: false, shared: false },
        {
          ...{ step: 'RUN make', line: 3, seconds: 2.5, emulated: true, cached: false, shared: false },
          native: 'run make in a stage FROM --platform=$BUILDPLATFORM, with a compiler for $TARGETPLATFORM',
        },
      ],
    }),
    cellResult('api', ARMV7, {
      ...{ state: 'failed', reason: '', seconds: 2, emulated: true },
      failure: { ...missingFile, log: ['other words'], logFile: '.archimage/logs/api-linux-arm-v7.log' },
    }),
    cellResult('web', AMD64, { engine: 'docker' }),
    cellResult('web', ARM64, { state: 'not-run', reason: 'needs api, which failed', engine: '' }),
    cellResult('网站', AMD64),
    cellResult('网站', 'windows/amd64', { state: 'cancelled', reason: 'interrupted' }),
  ],
  services: [
    {
      ...{ service: 'base', image: 'reg.example/demo/base', digest: digestOf('b') },
      tags: [{ reference: 'reg.example/demo/base:v1', digest: digestOf('b'), state: 'moved' }],
      verified: [{ where: 'reg.example', ok: true, problems: [] }],
    },
    { service: 'api', image: 'reg.example/demo/api', tags: [], verified: [] },
    {
      ...{ service: 'web', image: 'reg.example/demo/web', digest: digestOf('d') },
      tags: [{ reference: 'reg.example/demo/web:v1', digest: digestOf('d'), state: 'already' }],
      verified: [{ where: 'reg.example', ok: false, problems: ['linux/amd64: the config says arm64'] }],
    },
  ],
  sandbox: { runtime: 'runc', rootless: true, roots: 'overlay', network: 'pasta', remarks: ['weak'] },
  warnings: ['one'],
}
