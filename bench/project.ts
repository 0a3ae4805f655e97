import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { modelBytes, programBytes, textBytes } from './data.ts'

export const PLATFORMS = ['linux/amd64', 'linux/arm64']
const PROGRAM_SIZE = 6 << 20
const MODEL_SIZE = 80 << 20

const PROGRAMS = ['api', 'auth', 'billing', 'gateway', 'mailer', 'scheduler', 'worker']
const SITES = { web: 400, docs: 300, admin: 200 }

/** The services in an order in which they can be built: base, of which seven are made, three sites, and one with a model. */
export const SERVICES = ['base', ...PROGRAMS, ...Object.keys(SITES), 'model']

/** The file that "one file changed" changes. */
export const CHANGED = 'src/api/config/routes.json'

/**
 * Writes DESIGN §6's project without its RUN steps: 12 services on 2 platforms, small files by the hundred, programs of 6 MB per
 * platform, a model of 80 MB; as archimage.yaml, docker-bake.hcl and a script for buildah. All push to
 * `registry` as `PREFIX/SERVICE:1`.
 */
export function writeProject(root: string, registry: string, prefix: string): void {
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
  write('src/base/Dockerfile', `FROM scratch\nCOPY etc/ /etc/\nENV LANG=C.UTF-8\n`)
  for (const name of PROGRAMS) {
    programs(name)
    files(`src/${name}/config`, 30)
    write(
      `src/${name}/Dockerfile`,
      `FROM ${prefix}/base
ARG TARGETPLATFORM
COPY --chmod=0755 bin/$TARGETPLATFORM/${name} /usr/bin/${name}
COPY config/ /etc/${name}/
WORKDIR /var/lib/${name}
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
      `FROM scratch AS site\nCOPY public/ /srv/\n\nFROM scratch\nCOPY --from=site --chown=33:33 /srv/ /srv/www/\nEXPOSE 80\n`,
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
  write(
    'archimage.yaml',
    `registry: ${registry}\nimage: "${prefix}/{service}"\ntag: "1"\nplatforms: [${PLATFORMS.join(', ')}]\n`,
  )
  write('docker-bake.hcl', bake(registry, prefix))
  write('buildah.sh', buildah(registry, prefix))
}

function bake(registry: string, prefix: string): string {
  const targets = SERVICES.map(
    name => `target "${name}" {
  context = "src/${name}"
  platforms = ${JSON.stringify(PLATFORMS)}
  tags = ["${registry}/${prefix}/${name}:1"]${PROGRAMS.includes(name) ? `\n  contexts = { "${prefix}/base" = "target:base" }` : ''}
}
`,
  )
  return `group "default" {\n  targets = ${JSON.stringify(SERVICES)}\n}\n\n${targets.join('\n')}`
}

function buildah(registry: string, prefix: string): string {
  const build = (name: string) => {
    const image = `${registry}/${prefix}/${name}:1`
    // With --layers buildah takes an image FROM scratch that it has for one platform for every other one as well.
    const flags = PROGRAMS.includes(name) ? `--layers --from ${registry}/${prefix}/base:1` : ''
    // A local name of its own: pulling the base for the others takes its name away from the manifest list.
    return `buildah manifest rm bench-${name} >/dev/null 2>&1 || true
buildah bud -q --tls-verify=false ${flags} --platform ${PLATFORMS.join(',')} --manifest bench-${name} src/${name} >/dev/null
buildah manifest push -q --tls-verify=false --all bench-${name} docker://${image}
`
  }
  return `set -e\n${SERVICES.map(build).join('')}`
}
