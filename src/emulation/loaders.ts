/** Where the dynamic loaders of glibc and musl are for each architecture (their psABIs; musl's configure). */
const LOADERS: Readonly<Record<string, { readonly glibc: readonly string[]; readonly musl: readonly string[] }>> = {
  amd64: { glibc: ['/lib64/ld-linux-x86-64.so.2'], musl: ['x86_64'] },
  386: { glibc: ['/lib/ld-linux.so.2'], musl: ['i386'] },
  arm64: { glibc: ['/lib/ld-linux-aarch64.so.1'], musl: ['aarch64'] },
  arm: { glibc: ['/lib/ld-linux-armhf.so.3', '/lib/ld-linux.so.3'], musl: ['armhf', 'arm'] },
  riscv64: { glibc: ['/lib/ld-linux-riscv64-lp64d.so.1'], musl: ['riscv64'] },
  ppc64le: { glibc: ['/lib64/ld64.so.2'], musl: ['powerpc64le'] },
  s390x: { glibc: ['/lib/ld64.so.1', '/lib64/ld64.so.1'], musl: ['s390x'] },
  loong64: { glibc: ['/lib64/ld-linux-loongarch-lp64d.so.1'], musl: ['loongarch64'] },
  mips64le: { glibc: ['/lib64/ld.so.1'], musl: ['mips64el'] },
}

export type Libc = 'glibc' | 'musl'

/** Which C library a loader belongs to, by its name. */
export function libcOf(loader: string): Libc | undefined {
  if (/\/ld-musl-[^/]*$/.test(loader)) return 'musl'
  return /\/ld(?:-linux[^/]*|64)?\.so\.\d$/.test(loader) ? 'glibc' : undefined
}

/** The C library that an image has, by the loader that is in it. */
export function libcIn(architecture: string, has: (path: string) => boolean): Libc | undefined {
  const { glibc = [], musl = [] } = Object.hasOwn(LOADERS, architecture) ? LOADERS[architecture]! : {}
  if (musl.some(name => has(`/lib/ld-musl-${name}.so.1`))) return 'musl'
  return glibc.some(has) ? 'glibc' : undefined
}

/** The architecture whose programs ask for this loader. */
export function architectureOfLoader(loader: string): string | undefined {
  const name = /\/ld-musl-([^/]*)\.so\.1$/.exec(loader)?.[1]
  return Object.entries(LOADERS).find(([, { glibc, musl }]) =>
    name === undefined ? glibc.includes(loader) : musl.includes(name),
  )?.[0]
}
