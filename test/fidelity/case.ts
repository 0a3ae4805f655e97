import type { Context } from './context.ts'

/**
 * One Dockerfile that both builders get. `REG/` in it stands for the registry that holds the bases, `WEB/` for the web server
 * and `COMMIT(name)` for a commit of site.ts, `LAYOUT` for its OCI layout.
 */
export interface Case {
  readonly name: string
  readonly dockerfile: string
  /** Writes the context; without it the context has the file `a` alone. */
  readonly files?: (context: Context) => void
  readonly target?: string
  readonly args?: Readonly<Record<string, string>>
  readonly labels?: Readonly<Record<string, string>>
  /** Default: linux/amd64. */
  readonly platforms?: readonly string[]
  /** Named contexts: folders beside the context, or locations. */
  readonly contexts?: Readonly<Record<string, ((context: Context) => void) | string>>
  /** The context, when it is no folder: a URL. The Dockerfile is then in there, unless `dockerfile` is not empty. */
  readonly context?: string
  /** `-f`, a name in the context. */
  readonly file?: string
  /** archimage gets the page that `context` names as a file, or on standard input. */
  readonly through?: 'file' | 'stdin'
  /** `Dockerfile.dockerignore`, beside the Dockerfile, which is outside the context. */
  readonly ignoreBeside?: string
  /** BuildKit refuses this, so archimage must, at the same line. Said here so that a broken case does not pass for that. */
  readonly refused?: true
  /** An intended difference: the heading in docs/differences.md that explains it, and what every difference looks like. */
  readonly differs?: { readonly section: string; readonly only: RegExp }
}
