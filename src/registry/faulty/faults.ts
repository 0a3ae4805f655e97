/** Which requests a fault meets: tested against `METHOD /path?query`; without it, all. */
type Match = RegExp

export interface BasicAuth {
  readonly kind: 'basic'
  readonly user: string
  readonly password: string
  /** Reading needs no credentials. */
  readonly anonymousPull?: boolean
}

/** Tokens come from a server on another port, as the challenge says. */
export interface BearerAuth {
  readonly kind: 'bearer'
  readonly user: string
  readonly password: string
  /** Tokens for reading are given to anybody. */
  readonly anonymousPull?: boolean
  /** Accepted as refresh token by POST (OAuth 2), as with `docker login` at some clouds. */
  readonly identityToken?: string
  /** Seconds that a token lives; 300. 0 or less: the answer does not say, and tokens live for 60. */
  readonly expiresIn?: number
  /** A token is refused after so many requests, as one that expires in the middle of a push. */
  readonly maxUses?: number
  /** POST to the token server answers 405: only GET gives tokens. */
  readonly noPost?: boolean
  /** The token server reads only the first of several `scope` parameters. */
  readonly firstScopeOnly?: boolean
  /** The field of the answer that carries the token; `token`. */
  readonly tokenField?: 'token' | 'access_token'
  /** The realm of the challenge, in place of the token server's own: to send clients somewhere else. */
  readonly realm?: string
  /** Refusals of repositories name no way to log in; only that of /v2/ does, as at gcr.io. */
  readonly silent?: boolean
  /** The scope in every challenge, in place of the right one: ghcr.io names an example. */
  readonly scope?: string
  /** The user may only read: a token that would allow more is refused as a whole. */
  readonly pullOnly?: boolean
  /** A token for more than one repository is refused, as GitLab does with those of other projects. */
  readonly oneRepository?: boolean
  /** What deleting is called in scopes; `delete`, and `*` at Quay, which refuses the former. */
  readonly deleteAction?: 'delete' | '*'
}

export interface FailFirst {
  /** The answer's status. */
  readonly status: number
  /** How many requests still fail; counted down as they do. */
  times: number
  /** Which requests. */
  readonly match?: Match
  /** The Retry-After header: seconds or an HTTP date. */
  readonly retryAfter?: number | string
  /** The code in the error's JSON; `TOOMANYREQUESTS` for 429, else `UNKNOWN`. */
  readonly code?: string
  /** The connection is cut instead of an answer. Some HTTP clients then repeat a GET by themselves, once. */
  readonly cut?: boolean
}

export interface DropConnection {
  /** Bytes of the body that still arrive. */
  readonly afterBytes: number
  /** How many answers still break off; counted down. Without it: all. */
  times?: number
  readonly match?: Match
}

export interface CutUpload {
  /** Bytes of the body that still arrive. */
  readonly afterBytes: number
  /** How many requests still break off; counted down. Without it: all that are long enough. */
  times?: number
  readonly match?: Match
  /** What arrived is lost, and the session with it, as at distribution's registry. Else it counts. */
  readonly forget?: boolean
}

export interface Pages {
  /** At most so many tags or referrers in an answer, whatever `n` says. */
  readonly size: number
  /** Link with a path, with scheme and host of somebody else, back to the same page, or none; `relative`. */
  readonly link?: 'relative' | 'absolute' | 'loop' | 'none'
}

export interface Damage {
  /** Tested against the blob's digest; without it, all blobs. */
  readonly match?: Match
  /** How many answers are still damaged; counted down. Without it: all. */
  times?: number
  /** How many bytes are missing, changed or too many; 1. */
  readonly bytes?: number
}

export interface RefuseTag {
  /** Tested against the tag. */
  readonly match: Match
  /** 409 and 412 are what registries with immutable tags say; also 400 and 403 are seen. */
  readonly status: number
  /** The code in the error's JSON; `DENIED`. */
  readonly code?: string
  /** Only when the tag exists and has another digest (an immutable tag); else every PUT is refused. */
  readonly onlyMoves?: boolean
}

export interface Slow {
  /** Before each answer. */
  readonly milliseconds?: number
  /** Of the answers' bodies. */
  readonly bytesPerSecond?: number
  readonly match?: Match
}

/** What is wrong with a registry. Every field may be set, changed and deleted while it runs; none set: all is well. */
export interface Faults {
  /** Credentials are needed, else 401 with a challenge. */
  requireAuth?: BasicAuth | BearerAuth | undefined
  /** The next requests that match fail; of several entries the first that has `times` left counts. */
  failFirst?: FailFirst | FailFirst[] | undefined
  /** Blobs break off in the middle, their content-length unfulfilled. */
  dropConnection?: DropConnection | undefined
  /** A Range header changes nothing: 200 and the whole blob. */
  ignoreRange?: boolean | undefined
  /** An origin (`http://host:port`) to which GETs of blobs are sent with 307; `registry.blobs.url` serves them. */
  redirectBlobsTo?: string | undefined
  /** Blobs are shorter than they should be, and their content-length agrees with what is sent. */
  truncateBlob?: Damage | undefined
  /** Blobs are longer than they should be. */
  lengthenBlob?: Damage | undefined
  /** Blobs of the right length with wrong bytes in the middle. */
  corruptBlob?: Damage | undefined
  /** Docker-Content-Digest of manifests is that of other bytes. */
  wrongDigestHeader?: boolean | undefined
  /** Manifests come without Docker-Content-Digest: for HEAD only, or always. */
  noDigestHeader?: 'HEAD' | 'always' | undefined
  /** Manifests are compressed although nobody asked for it. */
  gzipManifests?: boolean | undefined
  /** The Content-Type of manifests. */
  manifestType?: string | undefined
  /** A document of Docker's schema 1 in place of each manifest. */
  schema1?: boolean | undefined
  /** White space behind each manifest, in bytes; its digest is another then. */
  padManifests?: number | undefined
  /** HEAD of a manifest answers this status. */
  noHead?: number | undefined
  /** POST with `mount` answers this; 202 opens an upload session instead. */
  noMount?: 202 | 401 | 403 | 404 | 405 | undefined
  /** The referrers API does not exist: 404, or a web page with status 200. PUT is answered without OCI-Subject. */
  noReferrers?: 404 | 'html' | undefined
  /** No blob can be had from another repository, also not by a mount without `from`. */
  perRepositoryStorage?: boolean | undefined
  /** PUT of a manifest by tag is refused. */
  refuseTag?: RefuseTag | undefined
  /** Deleting answers 405. */
  noDelete?: boolean | undefined
  /** Deleting a tag answers this status; manifests can be deleted by digest, and their tags with them, as at distribution's. */
  noTagDelete?: 400 | 404 | 405 | undefined
  /** `tags/list` of a repository without tags says `"tags": null`. */
  nullTags?: boolean | undefined
  /** `tags/list` also names digests, as Artifactory's does. */
  digestTags?: boolean | undefined
  /** Lists come in pages. */
  pages?: Pages | undefined
  /** Filters of the referrers API are ignored. */
  noFilters?: boolean | undefined
  /** Locations of uploads: with scheme and host, with a query that has to be kept, only in the answer to POST, or missing. */
  uploadLocation?: 'absolute' | 'query' | 'once' | 'none' | undefined
  /** Uploads break off in the middle. */
  cutUpload?: CutUpload | undefined
  /** PATCH answers this status: there are no uploads in chunks, as at gcr.io. */
  noPatch?: 400 | 404 | 405 | 415 | undefined
  /** PUT with the bytes of a blob answers this status: only PATCH takes them. 413: also PATCH, above 8 MiB. */
  noWholePut?: 404 | 405 | 411 | 413 | 415 | 416 | 501 | undefined
  /** PATCH answers 201 and a Range that says that nothing came, as ECR's does. */
  stalePatch?: boolean | undefined
  /** The state of an upload cannot be asked for: 404. */
  noUploadState?: boolean | undefined
  /** OCI-Chunk-Min-Length: smaller parts that are followed by others are refused. */
  chunkMinLength?: number | undefined
  /** The status of a PUT that went well; 201. */
  created?: 200 | 202 | 204 | undefined
  /** A Warning header of every answer. */
  warning?: string | undefined
  /** Manifests are taken as they come: no JSON, nothing behind their descriptors, wrong sizes. */
  lenient?: boolean | undefined
  /** Everything takes its time. */
  slow?: Slow | undefined
  /** The last resort for whatever is not listed here: an answer of its own, or undefined for the usual one. */
  answer?: ((request: Request) => Response | undefined | Promise<Response | undefined>) | undefined
}

/** A request that one of the servers got. */
export interface LoggedRequest {
  /** The registry, its token server, or the origin that blobs are redirected to. */
  readonly server: 'registry' | 'tokens' | 'blobs'
  readonly method: string
  /** With its query. */
  readonly path: string
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>
  /** 0 until the answer begins, and for a connection that was cut before. */
  status: number
  /** Bytes of the request's body that have arrived. */
  received: number
}
