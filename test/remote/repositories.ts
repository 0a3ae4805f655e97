import { spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

/** One file of a commit: its text, a link, or a program. */
export type Content = string | { readonly link: string } | { readonly program: string }

/** Bare repositories in a folder, made commit by commit with git itself. Dates are fixed, so commits are the same everywhere. */
export class Repositories {
  /** What `startWeb` serves below /git/. */
  readonly folder: string

  constructor(folder: string) {
    this.folder = folder
    mkdirSync(folder, { recursive: true })
  }

  /** Makes `name.git` with one commit on main. Gives the commit. */
  create(name: string, files: Readonly<Record<string, Content>>, format: 'sha1' | 'sha256' = 'sha1'): string {
    const work = this.work(name)
    mkdirSync(work, { recursive: true })
    this.git(work, 'init', '-q', '-b', 'main', `--object-format=${format}`)
    this.git(this.folder, 'init', '-q', '--bare', '-b', 'main', `--object-format=${format}`, `${name}.git`)
    this.git(work, 'remote', 'add', 'origin', join(this.folder, `${name}.git`))
    return this.commit(name, files)
  }

  /** Adds a commit to the branch that is checked out, and pushes it. */
  commit(name: string, files: Readonly<Record<string, Content>>): string {
    const work = this.work(name)
    for (const [path, content] of Object.entries(files)) {
      const file = join(work, path)
      mkdirSync(dirname(file), { recursive: true })
      rmSync(file, { force: true })
      if (typeof content === 'string') writeFileSync(file, content)
      else if ('link' in content) symlinkSync(content.link, file)
      else {
        writeFileSync(file, content.program)
        chmodSync(file, 0o755)
      }
    }
    this.git(work, 'add', '-A')
    return this.record(name)
  }

  /** Commits what `git` calls have staged. */
  record(name: string): string {
    const work = this.work(name)
    this.git(work, 'commit', '-q', '--allow-empty', '-m', 'a commit')
    this.git(work, 'push', '-q', '--force', 'origin', 'HEAD')
    return this.git(work, 'rev-parse', 'HEAD').trim()
  }

  branch(name: string, branch: string): void {
    this.git(this.work(name), 'checkout', '-q', '-B', branch)
  }

  /** Gives the object that the tag is: that of the tag itself when it is annotated. */
  tag(name: string, tag: string, annotated = false): string {
    const work = this.work(name)
    this.git(work, 'tag', '-f', ...(annotated ? ['-a', '-m', 'a tag'] : []), tag)
    this.git(work, 'push', '-q', '--force', 'origin', `refs/tags/${tag}`)
    return this.git(work, 'rev-parse', tag).trim()
  }

  /** Puts a repository into another one as a submodule, at a URL; nothing is fetched. */
  submodule(name: string, path: string, url: string, commit: string, more = ''): void {
    const work = this.work(name)
    const module = path.replaceAll('/', '-')
    writeFileSync(join(work, '.gitmodules'), `[submodule "${module}"]\n\tpath = ${path}\n\turl = ${url}\n${more}`, {
      flag: 'a',
    })
    this.git(work, 'add', '.gitmodules')
    this.git(work, 'update-index', '--add', '--cacheinfo', `160000,${commit},${path}`)
  }

  /** The folder from which commits of a repository are made. */
  work(name: string): string {
    return join(this.folder, `${name}.work`)
  }

  git(cwd: string, ...args: readonly string[]): string {
    const { status, stdout, stderr } = spawnSync('git', args, {
      cwd,
      encoding: 'utf8',
      env: {
        PATH: process.env['PATH'],
        GIT_CONFIG_NOSYSTEM: '1',
        GIT_CONFIG_GLOBAL: '/dev/null',
        HOME: '/dev/null',
        GIT_AUTHOR_NAME: 'A',
        GIT_AUTHOR_EMAIL: 'a@example.com',
        GIT_COMMITTER_NAME: 'A',
        GIT_COMMITTER_EMAIL: 'a@example.com',
        GIT_AUTHOR_DATE: '2020-01-02T03:04:05Z',
        GIT_COMMITTER_DATE: '2020-01-02T03:04:05Z',
      },
    })
    if (status !== 0) throw new Error(`git ${args.join(' ')}: ${stderr}`)
    return stdout
  }
}
