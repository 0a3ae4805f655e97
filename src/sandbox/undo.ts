import { mount, unmount } from '../sys/mount.ts'

/** What a step's preparations leave to be undone, the last first. */
export class Undo {
  readonly #actions: (() => void)[] = []

  add(action: () => void): void {
    this.#actions.push(action)
  }

  /** Mounts, and unmounts at the end. */
  mount(source: string, target: string, type: string, flags = 0, data = ''): void {
    mount(source, target, type, flags, data)
    this.add(() => unmount(target))
  }

  /** All of it, whatever happens; throws the first error. */
  run(): void {
    const errors: unknown[] = []
    for (const action of this.#actions.splice(0).reverse()) {
      try {
        action()
      } catch (error) {
        errors.push(error)
      }
    }
    if (errors.length > 0) throw errors[0]
  }
}
