import { readFileSync } from 'node:fs'
import { systemError } from '../../errors/error.ts'
import { makeArtifact } from '../../manifests/artifact.ts'
import { changePlatform } from '../../manifests/edit.ts'
import { addMembers, applyAnnotations, mustFindList, saveList } from '../../manifests/lists.ts'
import { describe } from '../../oci/manifest.ts'
import { parseReference } from '../../oci/reference.ts'
import { print } from '../command.ts'
import type { Options } from '../request.ts'
import { annotationsOf, memberChoice } from './flags.ts'
import { describeName, type ManifestTools } from './tools.ts'

/** `manifest add --artifact LIST FILE…` */
export async function addArtifact(
  name: string,
  files: readonly string[],
  options: Options,
  tools: ManifestTools,
): Promise<void> {
  const store = tools.store()
  const list = mustFindList(store, name)
  const text = (flag: string): string | undefined => options[flag] as string | undefined
  const config = text('artifactConfig')
  const subject = text('artifactSubject')
  const manifest = await makeArtifact(store, files, {
    ...some('type', text('artifactType')),
    ...some('config', config === undefined ? undefined : readConfig(config)),
    ...some('configType', text('artifactConfigType')),
    ...some('layerType', text('artifactLayerType')),
    ...some('subject', subject === undefined ? undefined : await describeName(subject, tools)),
    excludeTitles: options['artifactExcludeTitles'] === true,
  })
  const { label, set } = memberChoice(options)
  const platform = set ?? changePlatform(undefined, label ?? {})
  const { artifactType } = manifest
  const entry = { ...describe(manifest), ...some('platform', platform), ...some('artifactType', artifactType) }
  const { place } = await tools.places.image({ kind: 'store', reference: parseReference(list.name) })
  const more = addMembers(list, manifest.digest, [{ entry, manifest, place }])
  const annotated = applyAnnotations(more, annotationsOf(options, 'manifest-descriptor'), () => manifest, [entry])
  for (const one of annotated.now.values()) store.put(one.raw)
  saveList(store, annotated.list)
  print(list.name)
}

function some<K extends string, V>(key: K, value: V | undefined): { readonly [key in K]?: V } {
  return value === undefined ? {} : ({ [key]: value } as { [key in K]: V })
}

function readConfig(path: string): Uint8Array {
  try {
    return readFileSync(path)
  } catch (error) {
    throw systemError(error, `reading ${path}`)
  }
}
