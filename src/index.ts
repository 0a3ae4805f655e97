/**
 * The library: what the command line is made of, for programs that build, publish, check or serve images themselves.
 *
 *     const project = await loadProject({ cwd: '.' })
 *     using store = openStore()
 *     const signal = AbortSignal.timeout(600_000)
 *     const { result } = await run(projectRequest(project), { store, registry: openRegistry(), emit: console.log, signal })
 *
 * Everything that goes wrong for a reason outside the program is an `ArchimageError` with a code; absence is `undefined`.
 */

// Errors: one class, stable codes, and the text that people read.

export { CODES, type ErrorCode } from './errors/codes.ts'
export { ArchimageError, type ErrorOptions, isArchimageError, type Place } from './errors/error.ts'
export { type RenderErrorOptions, renderError } from './errors/render.ts'

// Values of OCI: pure functions; raw bytes are kept and are the truth.

export { type Annotation, parseAnnotation } from './manifests/annotations.ts'
export { assembleIndex, type Member } from './manifests/assemble.ts'
export {
  addEntries,
  annotateEntries,
  annotateIndex,
  changeIndex,
  dropAttestations,
  type EntryChange,
  filterIndex,
  type IndexContent,
  makeIndex,
  mergeIndexes,
  removeEntries,
  replaceEntry,
} from './manifests/edit.ts'
export { indexPlace, type Member as IndexMember, type MemberChoice, readMembers } from './manifests/members.ts'
export { type IndexPush, type PushedIndex, pushIndex } from './manifests/push.ts'
export { type ListSpec, listFromSpec, parseListSpec, specFromArguments } from './manifests/spec.ts'
export { configPlatform, encodeImageConfig, type ImageConfig, parseImageConfig } from './oci/config.ts'
export { type Digest, isDigest, sha256 } from './oci/digest.ts'
export {
  type Descriptor,
  describe,
  encodeImageManifest,
  encodeIndex,
  type ImageIndex,
  type ImageManifest,
  isAttestation,
  type Manifest,
  parseManifest,
} from './oci/manifest.ts'
export { type Compression, DOCKER, OCI } from './oci/media-types.ts'
export {
  buildPlatform,
  formatPlatform,
  normalizePlatform,
  type Platform,
  parsePlatform,
  parsePlatforms,
  samePlatform,
  selectPlatform,
} from './oci/platform.ts'
export { familiarReference, formatReference, parseReference, type Reference, withDefaultTag } from './oci/reference.ts'

// A Dockerfile: its instructions with their ranges, what checks find in it, then what it means for one platform, with everything
// expanded. The language alone, without what loads the rest, is `archimage/dockerfile`.

export type { Dockerfile, Instruction, Range, Stage } from './dockerfile/ast.ts'
export { type Environment, type ExpandOptions, type Expansion, expandWord, expandWords } from './dockerfile/expand.ts'
export { parseDockerfile } from './dockerfile/parse.ts'
export { findStage, type NeededStage, reachableStages, type StageOptions, targetStage } from './dockerfile/stages.ts'
export type { Finding, LintError, LintResult } from './lint/finding.ts'
export { type LintOptions, lintDockerfile } from './lint/lint.ts'
export type { Rule } from './lint/rule.ts'
export { RULES } from './lint/rules.ts'
export type { KnownImage } from './lint/stage-views.ts'
export { type LowerInput, lower } from './plan/lower.ts'
export type { BaseImage, Lowered, LoweredStage, Op } from './plan/lowered.ts'

// A project: its services, found and configured, and the cells that follow from them.

export { buildGraph, type Graph, type PlannedCell, type Resolution } from './plan/graph.ts'
export { loadProject } from './project/load.ts'
export type { Project, Service, Timestamps } from './project/project.ts'
export { selectServices } from './project/select.ts'

// A run: builds what changed, publishes, reads back, and tells everything as events.

export { createReporter, type Reporter, type ReporterOptions } from './report/reporter.ts'
export { type CheckReport, checkServices } from './run/check.ts'
export type { ServiceImage } from './run/deliver.ts'
export type {
  CellResult,
  CellState,
  Emit,
  Failure,
  RunEvent,
  RunResult,
  ServiceResult,
  TagState,
} from './run/events.ts'
export { type PlanCell, planRun } from './run/plan.ts'
export type { CellSettings } from './run/prepare.ts'
export { projectRequest } from './run/request.ts'
export { type RunOutcome, type RunRequest, type RunTools, run } from './run/run.ts'

// Places that hold images, and whether what is there is right.

export { type CopyOutcome, type CopyResult, copy } from './copy/copy.ts'
export { type ImagePlan, planCopy } from './copy/plan.ts'
export type { CopyEvent, CopyImage, CopyOptions, CopyTools, Place as CopyPlace } from './copy/request.ts'
export type { TlsOptions } from './registry/certs.ts'
export {
  type Credential,
  type Credentials,
  fileCredentials,
  noCredentials,
  tokenCredential,
  userCredential,
} from './registry/credentials.ts'
export { type HostOptions, openRegistry, type Registry, type RegistryOptions } from './registry/registry.ts'
export { openStore, Store, type StoreOptions } from './store/store.ts'
export type { Origin, Ref } from './store/types.ts'
export { layoutTransport } from './transports/layout.ts'
export { formatLocation, type Location, parseLocation } from './transports/location.ts'
export { type OpenPlace, type OpenTools, openLocation, openTransport } from './transports/open.ts'
export { registryTransport } from './transports/registry.ts'
export { storeTransport } from './transports/store.ts'
export type { BodySource, PutBlobOptions, TransferOptions, Transport } from './transports/transport.ts'
export { type Expectation, type Verification, verifyImage } from './verify/verify.ts'

// What an image is made of, and how two differ.

export { describeImage, type Inspection } from './inspect/describe.ts'
export { type Difference, differenceOf } from './inspect/difference.ts'
export { type ImageNode, readImage } from './inspect/read.ts'

// Images edited without a build: a value, to be copied from.

export { type Delivery, deliver } from './mutate/deliver.ts'
export type { ConfigEdits } from './mutate/edits.ts'
export { type Mutated, type Mutation, mutate, mutatedSource } from './mutate/mutate.ts'

// A registry in this process: one for people, and one with switchable faults for tests.

export type {
  BasicAuth,
  BearerAuth,
  CutUpload,
  Damage,
  DropConnection,
  FailFirst,
  Faults,
  LoggedRequest,
  Pages,
  RefuseTag,
  Slow,
} from './registry/faulty/faults.ts'
export { type FaultyOptions, type FaultyRegistry, startFaultyRegistry } from './registry/faulty/start.ts'
export { collectGarbage, type Garbage, type GarbageOptions } from './registry/server/garbage.ts'
export {
  type Registry as ServedRegistry,
  type RegistryOptions as ServeOptions,
  startRegistry,
} from './registry/server/start.ts'
export { Storage as RegistryStorage } from './registry/server/storage.ts'
export type { StorageReader, StoredBlob, StoredManifest, StoredReferrer } from './registry/server/storage-reader.ts'
export type { ServerTls } from './sys/http-server.ts'
export { type Served, serveArchive, serveLayout } from './transports/served.ts'
