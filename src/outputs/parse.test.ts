import { describe, expect, test } from 'bun:test'
import { ACCEPTED, HONOURED, REFUSED } from './options.ts'
import { parseOutput } from './parse.ts'

const thrown = (text: string): { code: string; message: string; hint?: string } => {
  try {
    parseOutput(text)
  } catch (error) {
    return error as { code: string; message: string; hint?: string }
  }
  throw new Error(`${text} was accepted`)
}

describe("buildx's grammar", () => {
  test('a path alone is a folder, "-" a tar to standard output', () => {
    expect(parseOutput('./out dir')).toMatchObject({ type: 'local', dest: './out dir', mode: 'copy' })
    expect(parseOutput('a=b')).toMatchObject({ type: 'local', dest: 'a=b' })
    expect(parseOutput('-')).toMatchObject({ type: 'tar', dest: '-' })
  })

  test('options with commas are quoted, keys take any case', () => {
    expect(parseOutput('type=image,"name=a:1,reg.example.com/b:2",Push=true')).toMatchObject({
      type: 'image',
      names: ['a:1', 'reg.example.com/b:2'],
      push: true,
      pushByDigest: false,
    })
    expect(parseOutput('type=oci,"dest=say ""x"",y.tar"').dest).toBe('say "x",y.tar')
  })

  test('archives without a destination go to standard output, type=docker into the daemon', () => {
    expect(parseOutput('type=oci').dest).toBe('-')
    expect(parseOutput('type=tar').dest).toBe('-')
    expect(parseOutput('type=docker').dest).toBeUndefined()
  })

  test('what concerns the build', () => {
    expect(parseOutput('type=registry')).toMatchObject({ push: true })
    expect(parseOutput('type=image,push=true,push-by-digest=true,name=a')).toMatchObject({ pushByDigest: true })
    expect(parseOutput('type=oci,dest=x,compression=zstd,compression-level=19')).toMatchObject({
      compression: 'zstd',
      compressionLevel: 19,
    })
    expect(parseOutput('type=oci,dest=x,compression=uncompressed').compression).toBe('none')
    expect(
      parseOutput('type=oci,dest=x,annotation.org.a=1,annotation-index.org.b=2,annotation-manifest.c=3').annotations,
    ).toEqual({ manifest: { 'org.a': '1', c: '3' }, index: { 'org.b': '2' } })
  })

  test('folders', () => {
    expect(parseOutput('type=oci,tar=false,dest=d')).toMatchObject({ tar: false, dest: 'd' })
    expect(parseOutput('type=local,dest=d,mode=delete,platform-split=0')).toMatchObject({
      mode: 'delete',
      platformSplit: false,
    })
  })
})

describe('refusals', () => {
  for (const [text, message, hint] of [
    ['', 'empty'],
    ['type=oci,dest', '"dest" has no value'],
    ['type=oci,"dest=x', 'quotes'],
    ['type=oci,dest=a,dest=b', 'twice'],
    ['dest=x.tar', 'the type is missing'],
    ['type=ocy', '"ocy"', 'did you mean "oci"?'],
    ['type=oci,dst=x', '"dst"', 'did you mean "dest"?'],
    ['type=local', 'dest is missing'],
    ['type=oci,tar=false', 'dest is missing'],
    ['type=local,dest=-', 'standard output'],
    ['type=oci,tar=maybe', 'true or false'],
    ['type=oci,compression=gzop', '"gzop"', 'did you mean "gzip"?'],
    ['type=oci,compression-level=13', '13', '1 to 12'],
    ['type=oci,compression=zstd,compression-level=23', '23', '1 to 22'],
    ['type=local,dest=x,mode=move', 'copy and delete'],
    ['type=tar,push=true', 'means nothing for type=tar', 'image, registry'],
    ['type=image,dest=x', 'means nothing for type=image'],
    ['type=local,dest=x,annotation.a=b', 'means nothing'],
    ['type=oci,annotation-layer.a=b', '"layer"'],
  ] as const)
    test(text || '(nothing)', () => {
      const error = thrown(text)
      expect(error.code).toBe('USAGE')
      expect(error.message).toContain(message)
      if (hint !== undefined) expect(error.hint).toContain(hint)
    })

  test('names that are none', () => {
    expect(thrown('type=image,name=UPPER').code).toBe('REFERENCE_INVALID')
  })

  for (const text of [
    'type=oci,force-compression=true',
    'type=image,oci-mediatypes=false',
    'type=image,registry.insecure=true',
    'type=oci,compression=estargz',
    'type=docker,context=other',
    'type=oci,annotation[linux/amd64].a=b',
    'type=oci,annotation-index-descriptor.a=b',
  ])
    test(`${text} is refused by name`, () => {
      const error = thrown(text)
      expect(error.code).toBe('UNSUPPORTED')
      expect(error.message.length).toBeGreaterThan(text.length + 20)
    })

  test('what would change nothing is accepted', () => {
    for (const text of [
      'type=oci,force-compression=false',
      'type=image,oci-mediatypes=1',
      'type=image,unpack=true,store=false',
      'type=docker,context=default',
      'type=local,dest=x,attestation-prefix=a',
    ])
      expect(() => parseOutput(text)).not.toThrow()
  })

  test('every option that BuildKit 0.33 and buildx 0.38 have is known', () => {
    // exporter/containerimage/exptypes/keys.go, exporter/exptypes/keys.go, exporter/local/fs.go, exporter/oci/export.go,
    // util/compression/attrs.go; context is the docker driver's
    const known = `name push push-by-digest registry.insecure unpack dangling-name-prefix danging-name-empty-only
      name-canonical store oci-mediatypes oci-artifact attestation-inline prefer-nondist-layers source-date-epoch compression
      force-compression compression-level rewrite-timestamp attestation-prefix platform-split mode tar dest context`
    const ours = new Set([...Object.keys(HONOURED), ...Object.keys(ACCEPTED), ...Object.keys(REFUSED)])
    expect(known.split(/\s+/).filter(key => !ours.has(key))).toEqual([])
  })
})

test('names of object properties are unknown options', () => {
  for (const name of ['constructor', '__proto__', 'hasOwnProperty'])
    expect(() => parseOutput(`type=oci,dest=x,${name}=1`)).toThrow(/there is no option/)
})
