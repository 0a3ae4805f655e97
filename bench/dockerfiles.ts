import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

const FILES = ['go.mod', 'go.sum', 'README.md', 'LICENSE', 'src/main.go', 'src/util.go']

/** A project of so many services, each with a Dockerfile of a hundred lines of all kinds and six small files. */
export function writeDockerfiles(folder: string, count: number): void {
  for (let i = 0; i < count; i++) {
    const service = join(folder, 'src', `service${i}`)
    for (const name of FILES) write(join(service, name), `${name} of ${i}\n`)
    write(join(service, 'Dockerfile'), dockerfile(i))
  }
  write(join(folder, 'archimage.yaml'), 'registry: registry.example.com/bench\nplatforms: [linux/amd64]\n')
}

function write(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, text)
}

function dockerfile(i: number): string {
  return `# syntax=docker/dockerfile:1
# The image of service ${i}.
ARG VERSION=1.${i}.0
ARG REVISION

FROM scratch AS toolchain
LABEL org.opencontainers.image.title="service${i} toolchain" \\
      org.opencontainers.image.version="\${VERSION}"
ARG TARGETOS TARGETARCH
ENV LANG=C.UTF-8 TZ=UTC
# Where everything goes.
ENV PREFIX=/opt/service${i} \\
    CACHE=/var/cache/service${i}
WORKDIR /src

${[0, 1, 2].map(step).join('\n')}
FROM toolchain AS build
ARG VERSION REVISION
COPY --link go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod,id=mod-$TARGETARCH \\
    --mount=type=cache,target=/root/.cache/go-build,id=build-$TARGETARCH \\
    go mod download -x
COPY --link src/ ./src/
RUN --mount=type=cache,target=/go/pkg/mod,id=mod-$TARGETARCH \\
    --mount=type=cache,target=/root/.cache/go-build,id=build-$TARGETARCH \\
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \\
    go build -trimpath -ldflags "-s -w -X main.version=$VERSION" -o /out/service ./src

FROM build AS test
RUN go vet ./... && \\
    go test ./...

FROM scratch AS files
COPY --chown=1000:1000 --chmod=0644 src/ /etc/service${i}/
COPY <<EOF /etc/service${i}/version
service${i} \${VERSION:-dev}
EOF
COPY <<'CONFIG' /etc/service${i}/config.yaml
listen: 0.0.0.0:8080
log:
  level: info
  format: json
CONFIG

FROM scratch
ARG VERSION
ARG REVISION=unknown
LABEL org.opencontainers.image.title="service${i}" \\
      org.opencontainers.image.version="$VERSION" \\
      org.opencontainers.image.revision="$REVISION"
ENV PATH=/app:/usr/local/bin:/usr/bin:/bin \\
    SERVICE_NAME=service${i} \\
    SERVICE_PORT=8080
WORKDIR /app
COPY --from=build --chown=1000:1000 /out/service /app/service
COPY --from=files /etc/service${i} /etc/service${i}
COPY --chown=1000:1000 README.md LICENSE /usr/share/doc/service${i}/
USER 1000:1000
EXPOSE 8080/tcp 9090
VOLUME ["/var/lib/service${i}"]
HEALTHCHECK --interval=30s --timeout=3s --start-period=10s --retries=3 \\
    CMD ["/app/service", "health"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/app/service"]
CMD ["serve", "--port", "8080"]
`
}

function step(k: number): string {
  return `# Step ${k}: what it is for, in a sentence that people can read.
RUN set -eux; \\
    mkdir -p "$PREFIX/part${k}" "$CACHE"; \\
    for file in a b c d e f g h; do \\
      echo "building $file of part ${k} for $TARGETOS/$TARGETARCH"; \\
      # Comments stand between the lines, too.
      printf '%s\\n' "$file" >> "$PREFIX/part${k}/list"; \\
    done; \\
    rm -rf "$CACHE"/*; \\
    true
`
}

/** One Dockerfile of so many lines, half of them continuations of a single instruction, half in a single heredoc. */
export function longDockerfile(lines: number): string {
  const half = Array.from({ length: lines / 2 }, (_, i) => i)
  const command = half.map(i => `    echo "line ${i} of $HOME" && \\`).join('\n')
  const text = half.map(i => `line ${i} of \${HOME:-nobody}`).join('\n')
  return `FROM scratch\nRUN true && \\\n${command}\n    true\nCOPY <<EOF /text\n${text}\nEOF\n`
}
