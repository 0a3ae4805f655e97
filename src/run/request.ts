import { NO_SETTINGS } from '../engines/steps.ts'
import { parseReference } from '../oci/reference.ts'
import { NO_PRIVILEGES } from '../plan/run-op.ts'
import type { Project } from '../project/project.ts'
import { serviceReferences } from '../project/references.ts'
import type { RunRequest } from './run.ts'

/**
 * What `archimage build` asks of a project when nothing else is said: every service for its platforms, OCI media types, gzip, names
 * by the project, kept in the store. `more` replaces single answers.
 */
export function projectRequest(project: Project, more: Partial<RunRequest> = {}): RunRequest {
  return {
    project,
    services: project.services,
    platformsOf: service => service.platforms,
    settings: {
      docker: false,
      compression: 'gzip',
      args: {},
      labels: {},
      annotations: {},
      policy: NO_PRIVILEGES,
      steps: NO_SETTINGS,
      proxies: {},
      exclude: ['.archimage'],
      dockerfiles: new Map(),
    },
    failFast: false,
    force: false,
    pull: false,
    offline: false,
    push: false,
    atomic: false,
    names: service => serviceReferences(project, service).map(parseReference),
    archNames: () => [],
    indexAnnotations: {},
    ...more,
  }
}
