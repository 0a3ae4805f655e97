import { spawnSync } from 'node:child_process'
import { chmodSync, linkSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { makeNode, writeXattr } from '../../src/sys/ffi.ts'
import { type Compressor, compressors } from './compress.ts'
import { type Entry, writeTar } from './tar.ts'

/** Writes a build context; missing folders are made with 0755. Bytes in names that are no UTF-8 are given as a Buffer. */
export class Context {
  readonly folder: string

  constructor(folder: string) {
    this.folder = folder
    mkdirSync(folder, { recursive: true })
    chmodSync(folder, 0o755)
  }

  file(path: string, content: string | Buffer = `${path}\n`, mode = 0o644): this {
    this.parents(path)
    writeFileSync(this.at(path), content)
    chmodSync(this.at(path), mode)
    return this
  }

  /** A name of bytes that need not be UTF-8. */
  bytes(name: Buffer): this {
    writeFileSync(Buffer.concat([Buffer.from(`${this.folder}/`), name]), 'x')
    return this
  }

  /** Runs a shell script in the context. */
  sh(script: string): this {
    const { status, stderr } = spawnSync('sh', ['-euc', script], { cwd: this.folder })
    if (status !== 0) throw new Error(`${script}: ${stderr}`)
    return this
  }

  files(...paths: readonly string[]): this {
    for (const path of paths) this.file(path)
    return this
  }

  dir(path: string, mode = 0o755): this {
    this.parents(path)
    mkdirSync(this.at(path), { recursive: true })
    chmodSync(this.at(path), mode)
    return this
  }

  symlink(path: string, target: string): this {
    this.parents(path)
    symlinkSync(target, this.at(path))
    return this
  }

  hardlink(path: string, target: string): this {
    this.parents(path)
    linkSync(this.at(target), this.at(path))
    return this
  }

  xattr(path: string, name: string, value: string | Buffer): this {
    writeXattr(this.at(path), name, Buffer.from(value as string))
    return this
  }

  fifo(path: string, mode = 0o644): this {
    this.parents(path)
    makeNode(this.at(path), 'fifo', mode)
    return this
  }

  device(path: string, major: number, minor: number, mode = 0o600): this {
    this.parents(path)
    makeNode(this.at(path), 'char', mode, major, minor)
    return this
  }

  socket(path: string): this {
    this.parents(path)
    const script = 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])'
    const { status, stderr } = spawnSync('python3', ['-c', script, this.at(path)])
    if (status !== 0) throw new Error(String(stderr))
    return this
  }

  tar(path: string, entries: readonly Entry[], compressor: Compressor = 'none'): this {
    return this.file(path, compressors[compressor](writeTar(entries)))
  }

  private at(path: string): string {
    return join(this.folder, path)
  }

  private parents(path: string): void {
    const dir = dirname(path)
    if (dir === '.') return
    this.parents(dir)
    try {
      mkdirSync(this.at(dir))
      chmodSync(this.at(dir), 0o755)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    }
  }
}
