import { ArchimageError, type Place } from '../errors/error.ts'
import { didYouMean } from '../errors/suggest.ts'
import type { YamlFile } from '../project/yaml.ts'

/** A map of a YAML file, whose values are asked for by what they should be. All of it throws CONFIG_INVALID with the place. */
export class Fields {
  readonly #file: YamlFile
  readonly #path: readonly PropertyKey[]
  readonly #map: Readonly<Record<string, unknown>>

  constructor(file: YamlFile, path: readonly PropertyKey[], value: unknown, what: string) {
    this.#file = file
    this.#path = path
    if (value !== undefined && !isMap(value)) throw wrong(`${what} is not a map`, file.place(path))
    this.#map = value ?? {}
  }

  get keys(): readonly string[] {
    return Object.keys(this.#map)
  }

  place(name?: string): Place {
    return name === undefined ? this.#file.place(this.#path) : this.#file.place([...this.#path, name], true)
  }

  /** Refuses what is not among `known`. */
  only(known: readonly string[], what: string): void {
    const strange = this.keys.find(key => !known.includes(key))
    if (strange === undefined) return
    throw wrong(
      `${what} has no "${strange}"`,
      this.place(strange),
      didYouMean(strange, known) ?? `there are: ${known.join(', ')}`,
    )
  }

  fail(name: string, why: string, hint?: string): never {
    throw wrong(`${name}: ${why}`, this.place(name), hint)
  }

  text(name: string): string | undefined {
    const value = this.#map[name]
    if (value === undefined || typeof value === 'string') return value
    return this.fail(name, 'this has to be a text')
  }

  flag(name: string): boolean | undefined {
    const value = this.text(name)
    if (value === undefined) return undefined
    if (/^(?:true|yes|on)$/i.test(value)) return true
    if (/^(?:false|no|off)$/i.test(value)) return false
    return this.fail(name, `"${value}" is neither true nor false`)
  }

  number(name: string): number | undefined {
    const value = this.text(name)
    if (value === undefined) return undefined
    return /^\d{1,9}$/.test(value) ? Number(value) : this.fail(name, `"${value}" is not a number`)
  }

  /** Several texts; one alone may stand by itself. */
  list(name: string): readonly string[] | undefined {
    const value = this.#map[name]
    if (value === undefined) return undefined
    const items: unknown[] = Array.isArray(value) ? value : [value]
    if (items.every(item => typeof item === 'string')) return items
    return this.fail(name, 'this has to be a list of texts')
  }

  map(name: string): Fields {
    return new Fields(this.#file, [...this.#path, name], this.#map[name], name)
  }

  maps(name: string): readonly Fields[] {
    const value = this.#map[name]
    if (value === undefined) return []
    if (!Array.isArray(value)) return this.fail(name, 'this has to be a list')
    return value.map((item, i) => new Fields(this.#file, [...this.#path, name, i], item, `an entry of ${name}`))
  }

  pattern(name: string, text: string, whole: boolean): RegExp {
    try {
      return new RegExp(whole ? `^(?:${text})$` : text)
    } catch (error) {
      return this.fail(name, `"${text}" is not a regular expression: ${(error as Error).message}`)
    }
  }
}

function wrong(why: string, place: Place, hint?: string): ArchimageError {
  return new ArchimageError('CONFIG_INVALID', why, { place, ...(hint === undefined ? {} : { hint }) })
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
