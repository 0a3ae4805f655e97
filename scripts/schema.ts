import { writeFileSync } from 'node:fs'
import { projectJsonSchema } from '../src/project/schema.ts'

/** The JSON schemas that are kept in schema/, by file name; a test fails when one is stale. */
export const SCHEMAS: Readonly<Record<string, () => unknown>> = {
  'project.schema.json': projectJsonSchema,
}

export function schemaText(make: () => unknown): string {
  return `${JSON.stringify(make(), undefined, 2)}\n`
}

if (import.meta.main)
  for (const [name, make] of Object.entries(SCHEMAS))
    writeFileSync(new URL(`../schema/${name}`, import.meta.url), schemaText(make))
