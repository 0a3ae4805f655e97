import * as z from 'zod'

/** Marks values that editors see as numbers or booleans; for us each scalar is the text that is written. */
const scalar = (description: string) => z.string().meta({ description, anyScalar: true })
const text = (description: string) => z.string().min(1).meta({ description })
const textMap = (description: string) => z.record(z.string(), scalar('Value')).meta({ description })
const platformList = (description: string) =>
  z
    .array(text('A platform: linux/amd64, linux/arm64, linux/arm/v7, windows/amd64, …'))
    .min(1)
    .meta({ description, examples: [['linux/amd64', 'linux/arm64']] })

export const serviceSchema = z
  .strictObject({
    context: text('Build context, relative to this file. Default: guessed from the sources of COPY.'),
    dockerfile: text('Dockerfile, relative to this file.'),
    dockerfiles: z
      .record(z.string(), text('Dockerfile, relative to this file.'))
      .meta({ description: 'Dockerfiles of single platforms; they win over "dockerfile".' }),
    platforms: platformList('Platforms of this service. Default: those of the project.'),
    image: text('Image name without registry and tag. Default: the pattern of the project.'),
    args: textMap('Build arguments.'),
    target: text('Stage to build. Default: the last one.'),
    labels: textMap('Labels of the image.'),
    annotations: textMap('Annotations of the manifests, not of the index.'),
    'build-contexts': textMap('Named contexts: name to folder, image (docker-image://…) or URL.'),
    prebuild: z.union([z.string().min(1), z.array(z.string()).min(1)]).meta({
      description:
        'Command that runs on this machine, in the context, once per platform before the build, with GOOS, GOARCH, GOARM and TARGET* set. A text goes to sh -c; a list is run as it is, with $NAME replaced.',
    }),
    timestamps: z
      .enum(['content', 'keep', 'commit'])
      .meta({ description: 'Times of files in layers: from their content, as on disk, or that of the git commit.' }),
    modes: z
      .enum(['context', 'git'])
      .meta({ description: 'Modes of files: as in the context, or 644 and 755 as git keeps them.' }),
    'platform-exception': text('Why the final stage may be of another platform than the one that is built.'),
  })
  .partial()
  .meta({ description: 'One service: an image for each of its platforms.' })

export const projectSchema = z
  .strictObject({
    registry: text('Registry and path in front of image names: harbor.example.com/ai-infra'),
    image: text('Pattern of image names. Default: {service}').meta({
      description: 'Pattern of image names. Default: {service}',
      examples: ['ai-infra-{service}'],
    }),
    tag: scalar('Tag of all images. Default: latest'),
    'version-file': text('File whose first line is the tag, relative to this file.'),
    tags: z.array(scalar('Tag')).meta({ description: 'Further tags, written with the main one.' }),
    'arch-tags': text('Pattern of the tags of single platforms, for --arch-tags. Default: {tag}-{arch}').meta({
      description: 'Pattern of the tags of single platforms, for --arch-tags. Default: {tag}-{arch}',
      examples: ['{tag}-{arch}', '{image}-{arch}:{tag}'],
    }),
    platforms: platformList('Platforms of all services. Default: that of this machine.'),
    services: z
      .record(z.string(), serviceSchema)
      .meta({ description: 'Services by name; those that were discovered need not be named.' }),
  })
  .partial()
  .meta({ title: 'archimage project file', description: 'archimage.yaml: everything is optional.' })

export type ProjectConfig = z.infer<typeof projectSchema>
export type ServiceConfig = z.infer<typeof serviceSchema>

/** The JSON schema for editors. */
export function projectJsonSchema(): Record<string, unknown> {
  return z.toJSONSchema(projectSchema, {
    target: 'draft-7',
    override({ jsonSchema }) {
      if (jsonSchema['anyScalar'] !== true) return
      delete jsonSchema['anyScalar']
      Object.assign(jsonSchema, { type: ['string', 'number', 'boolean'] })
    },
  }) as Record<string, unknown>
}
