import { describe, expect, test } from 'bun:test'
import type { Service } from './project.ts'
import { archImageName, imageName, matchServiceReference, serviceReferences } from './references.ts'

const service = (name: string, image = name): Service => ({
  name,
  image,
  context: '/p',
  dockerfile: '/p/Dockerfile',
  dockerfiles: {},
  platforms: [],
  args: {},
  labels: {},
  annotations: {},
  buildContexts: {},
  timestamps: 'content',
  modes: 'context',
  because: '',
})

const infra = {
  registry: 'harbor.example.com/ai-infra',
  tag: 'v0.3.8',
  extraTags: ['stable'],
  archTags: '{tag}-{arch}',
  services: [service('base', 'ai-infra-base'), service('api', 'ai-infra-api')],
}
const plain = {
  tag: 'v1',
  extraTags: [],
  archTags: '{image}-{arch}:{tag}',
  services: [service('nginx'), service('redis'), service('base'), service('web')],
}
const DIGEST = `sha256:${'0'.repeat(64)}`

test('names of images', () => {
  expect(imageName(infra, infra.services[1]!)).toBe('harbor.example.com/ai-infra/ai-infra-api:v0.3.8')
  expect(imageName(plain, plain.services[0]!, 'x')).toBe('nginx:x')
  expect(serviceReferences(infra, infra.services[0]!)).toEqual([
    'harbor.example.com/ai-infra/ai-infra-base:v0.3.8',
    'harbor.example.com/ai-infra/ai-infra-base:stable',
  ])
  expect(archImageName(infra, infra.services[0]!, 'arm64')).toBe(
    'harbor.example.com/ai-infra/ai-infra-base:v0.3.8-arm64',
  )
  const image = '{image}-{arch}:{tag}'
  expect(archImageName({ ...infra, archTags: image }, infra.services[0]!, 'arm-v7')).toBe(
    'harbor.example.com/ai-infra/ai-infra-base-arm-v7:v0.3.8',
  )
})

/** `base`, `near base: why`, or undefined. */
function match(project: typeof infra | typeof plain, text: string, self?: string): string | undefined {
  const found = matchServiceReference(
    project,
    text,
    project.services.find(({ name }) => name === self),
  )
  if (found === undefined) return undefined
  return 'service' in found ? found.service.name : `near ${found.nearMiss.name}: ${found.why}`
}

describe('a reference is a service', () => {
  test('with the name and registry of the project, and no tag, latest or its tags', () => {
    for (const text of [
      'ai-infra-base',
      'ai-infra-base:latest',
      'ai-infra-base:v0.3.8',
      'ai-infra-base:stable',
      'harbor.example.com/ai-infra/ai-infra-base',
      'harbor.example.com/ai-infra/ai-infra-base:v0.3.8',
    ])
      expect([text, match(infra, text, 'api')]).toEqual([text, 'base'])
  })
  test('never itself, never with another registry', () => {
    expect(match(infra, 'ai-infra-base:v0.3.8', 'base')).toBeUndefined()
    expect(match(plain, 'nginx:alpine', 'nginx')).toBeUndefined()
    expect(match(plain, 'nginx', 'nginx')).toBeUndefined()
    expect(match(plain, 'redis:7', 'redis')).toBeUndefined()
    expect(match(plain, 'alpine:3.20', 'web')).toBeUndefined()
    expect(match(plain, 'scratch', 'web')).toBeUndefined()
    expect(match(plain, 'not a reference', 'web')).toBeUndefined()
    expect(match(plain, 'docker.io/library/base:v2', 'web')).toBeUndefined()
  })
  test('near misses are told', () => {
    expect(match(plain, 'nginx:alpine', 'web')).toBe('near nginx: its tag is "alpine", the project\'s is "v1"')
    expect(match(plain, `base@${DIGEST}`, 'web')).toStartWith('near base: a digest')
    expect(match(plain, 'docker.io/library/base', 'web')).toBe("near base: the project's name of it is base:v1")
    expect(match(infra, 'base', 'api')).toBe('near base: the image of service base is called ai-infra-base')
    expect(match(infra, 'other.example.com/x/ai-infra-base:v0.3.8', 'api')).toStartWith('near base: the project')
  })
})
