import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { peerOrThrow } from './locate.ts'
import { freePort, type Running, removeFolder, start, temporaryFolder } from './process.ts'

export interface Registry extends Running {
  /** `127.0.0.1:PORT`: the first part of a reference. */
  readonly host: string
  /** Folder of its storage, in the distribution project's layout. */
  readonly storage: string
}

/** bcrypt of "secret", as htpasswd -B writes it. */
const HTPASSWD = 'tester:$2b$04$pDbMRgiKl5sg/7r64cuHk.W1w9qsyIm.hd8FK718scOoGw8V3CtOS\n'

export interface DistributionOptions {
  /** It wants tester:secret (basic). */
  readonly auth?: boolean
  readonly readOnly?: boolean
  /** It refuses to delete, as it does unless it is told to. */
  readonly noDelete?: boolean
  /** PEM texts; it speaks HTTPS. With `clientCa` it wants a certificate that this authority signed. */
  readonly tls?: { readonly key: string; readonly cert: string; readonly clientCa?: string }
}

/** Starts the distribution project's registry on loopback, plain HTTP unless there is `tls`. */
export async function startRegistry(options: DistributionOptions = {}): Promise<Registry> {
  const folder = temporaryFolder('registry')
  const storage = join(folder, 'storage')
  const host = `127.0.0.1:${await freePort()}`
  const { tls } = options
  const write = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text)
    return join(folder, name)
  }
  const config = {
    version: '0.1',
    log: { accesslog: { disabled: true }, level: 'warn' },
    storage: {
      filesystem: { rootdirectory: storage },
      delete: { enabled: !options.noDelete },
      maintenance: { readonly: { enabled: options.readOnly ?? false } },
    },
    http: {
      addr: host,
      secret: 'only for tests',
      ...(tls && {
        tls: {
          certificate: write('cert.pem', tls.cert),
          key: write('key.pem', tls.key),
          ...(tls.clientCa && { clientcas: [write('clients.pem', tls.clientCa)] }),
        },
      }),
    },
    ...(options.auth ? { auth: { htpasswd: { realm: 'tests', path: join(folder, 'htpasswd') } } } : {}),
  }
  writeFileSync(join(folder, 'htpasswd'), HTPASSWD)
  writeFileSync(join(folder, 'config.yml'), JSON.stringify(config))
  const running = await start([peerOrThrow('docker-registry'), 'serve', join(folder, 'config.yml')], {
    folder,
    ready: async () => {
      // In the clear, a registry that speaks TLS answers 400: it is there.
      return (await fetch(`http://${host}/v2/`)).status === (tls ? 400 : options.auth ? 401 : 200)
    },
    afterStop: () => removeFolder(folder),
  })
  return { ...running, host, storage }
}
