import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { modelBytes, programBytes, textBytes } from './data.ts'

export const PLATFORMS = ['linux/amd64', 'linux/arm64']
const PROGRAM_SIZE = 6 << 20
const MODEL_SIZE = 80 << 20

/** Compiled by Go in a stage of the build platform, for the target platform. */
const COMPILED = ['api', 'gateway', 'worker']
/** Programs that are there, upon the base, with a RUN on the target platform. */
const PROGRAMS = ['auth', 'billing', 'mailer', 'scheduler']
const SITES = { web: 400, docs: 300, admin: 200 }

/** The services without a compiler, in an order in which they can be built. */
export const LIGHT = ['base', ...PROGRAMS, ...Object.keys(SITES), 'model']

/** All twelve. */
export const SERVICES = [...LIGHT, ...COMPILED]

/** The file that "one file changed" changes: a service without compiler. */
export const CHANGED = 'src/auth/config/routes.json'

/**
 * Writes DESIGN §6's project: 12 services on 2 platforms. A base with users made by RUN, four programs of 6 MB upon it
 * and three that Go compiles across, three sites of several hundred files, a model of 80 MB; RUN on the foreign platform is emulated.
 * As archimage.yaml, docker-bake.hcl and a script for buildah. Bases come from `bases`; all push to `registry` as `PREFIX/SERVICE:1`.
 */
export function writeProject(root: string, registry: string, bases: string, prefix: string): void {
  const write = (path: string, content: string | Buffer) => {
    const file = join(root, path)
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, content)
  }
  const files = (folder: string, count: number) => {
    for (let i = 0; i < count; i++)
      write(
        `${folder}/${String.fromCharCode(97 + (i % 20))}/${i}.txt`,
        textBytes(300 + ((i * 977) % 9000), `${folder} ${i}`),
      )
  }
  const programs = (name: string) => {
    for (const platform of PLATFORMS)
      write(`src/${name}/bin/${platform}/${name}`, programBytes(PROGRAM_SIZE, `${name} ${platform}`))
  }

  files('src/base/etc', 200)
  write(
    'src/base/Dockerfile',
    `FROM ${bases}/busybox:1
COPY etc/ /etc/base/
RUN echo "app:x:1000:1000::/var/lib/app:/bin/sh" >> /etc/passwd && echo "app:x:1000:" >> /etc/group && mkdir -p /var/lib/app && chown app:app /var/lib/app
ENV LANG=C.UTF-8
`,
  )
  for (const name of PROGRAMS) {
    programs(name)
    files(`src/${name}/config`, 30)
    write(
      `src/${name}/Dockerfile`,
      `FROM ${prefix}/base
ARG TARGETPLATFORM
COPY --chmod=0755 bin/$TARGETPLATFORM/${name} /usr/bin/${name}
COPY config/ /etc/${name}/
RUN find /etc/${name} -type f | sort | xargs sha256sum > /etc/${name}.sums && mkdir -p /var/log/${name}
USER app
WORKDIR /var/lib/app
EXPOSE 8080
ENTRYPOINT ["/usr/bin/${name}"]
`,
    )
  }
  write(CHANGED, '{"routes": []}\n')
  for (const [name, count] of Object.entries(SITES)) {
    files(`src/${name}/public`, count)
    write(
      `src/${name}/Dockerfile`,
      `FROM ${bases}/busybox:1 AS site
COPY public/ /srv/
RUN cd /srv && find . -type f | sort > index.list

FROM scratch
COPY --from=site --chown=33:33 /srv/ /srv/www/
EXPOSE 80
`,
    )
  }
  programs('model')
  write('src/model/weights.bin', modelBytes(MODEL_SIZE, 'weights'))
  write(
    'src/model/Dockerfile',
    `FROM scratch
ARG TARGETPLATFORM
COPY weights.bin /models/weights.bin
COPY --chmod=0755 bin/$TARGETPLATFORM/model /usr/bin/model
ENTRYPOINT ["/usr/bin/model"]
`,
  )
  for (const name of COMPILED) {
    write(`src/${name}/go.mod`, `module example.com/${name}\n\ngo 1.21\n`)
    write(`src/${name}/main.go`, goProgram(name))
    write(
      `src/${name}/Dockerfile`,
      `FROM --platform=$BUILDPLATFORM ${bases}/golang:1 AS build
WORKDIR /src
COPY go.mod main.go ./
ARG TARGETOS TARGETARCH
RUN GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -ldflags="-s -w -buildid=" -o /out/${name} .

FROM ${prefix}/base
COPY --from=build /out/${name} /usr/bin/${name}
RUN mkdir -p /etc/${name} && date -u -d @0 > /etc/${name}/made
USER app
ENTRYPOINT ["/usr/bin/${name}"]
`,
    )
  }
  write(
    'archimage.yaml',
    `registry: ${registry}\nimage: "${prefix}/{service}"\ntag: "1"\nplatforms: [${PLATFORMS.join(', ')}]\n`,
  )
  write('docker-bake.hcl', bake(registry, prefix))
  write('buildah.sh', buildah(registry, prefix))
}

function goProgram(name: string): string {
  return `package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
)

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		json.NewEncoder(w).Encode(map[string]string{"service": "${name}", "path": r.URL.Path})
	})
	if err := http.ListenAndServe(":8080", nil); err != nil {
		fmt.Fprintln(os.Stderr, "${name}:", err)
		os.Exit(1)
	}
}
`
}

const standsOnBase = (name: string): boolean => PROGRAMS.includes(name) || COMPILED.includes(name)

function bake(registry: string, prefix: string): string {
  const targets = SERVICES.map(
    name => `target "${name}" {
  context = "src/${name}"
  platforms = ${JSON.stringify(PLATFORMS)}
  tags = ["${registry}/${prefix}/${name}:1"]${standsOnBase(name) ? `\n  contexts = { "${prefix}/base" = "target:base" }` : ''}
}
`,
  )
  return `group "all" {\n  targets = ${JSON.stringify(SERVICES)}\n}\ngroup "light" {\n  targets = ${JSON.stringify(LIGHT)}\n}\n\n${targets.join('\n')}`
}

function buildah(registry: string, prefix: string): string {
  const build = (name: string) => {
    const image = `${registry}/${prefix}/${name}:1`
    // With --layers buildah takes an image FROM scratch that it has for one platform for every other one as well.
    const flags = standsOnBase(name)
      ? `--layers --build-context ${prefix}/base=docker-image://${registry}/${prefix}/base:1`
      : ''
    // A local name of its own: pulling the base for the others takes its name away from the manifest list.
    return `buildah manifest rm bench-${name} >/dev/null 2>&1 || true
buildah bud -q --network none --tls-verify=false ${flags} --platform ${PLATFORMS.join(',')} --manifest bench-${name} src/${name} >/dev/null
buildah manifest push -q --tls-verify=false --all bench-${name} docker://${image}
`
  }
  return `set -e\n${LIGHT.map(build).join('')}`
}
