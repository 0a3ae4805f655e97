#!/usr/bin/env node
// Writes the program of one service for one platform: a real, static executable that prints the service's name, its
// version and the architecture it was made for. It stands for the compiler of a real project, so that this example
// needs nothing but Node. archimage runs it as `prebuild`, once per platform, with TARGETOS, TARGETARCH and
// TARGETVARIANT set; by hand:  TARGETOS=linux TARGETARCH=arm64 node tools/make-binary.mjs api dist/api
import { chmodSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { elf } from './elf.mjs'
import { pe } from './pe.mjs'

const [service, out] = process.argv.slice(2)
if (!service || !out) {
  console.error('usage: make-binary.mjs SERVICE FILE   (the platform comes from TARGETOS, TARGETARCH, TARGETVARIANT)')
  process.exit(2)
}

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..')
const version = readFileSync(resolve(root, 'VERSION'), 'utf8').trim()
const { TARGETOS: os = 'linux', TARGETARCH: arch = 'amd64', TARGETVARIANT: variant = '' } = process.env
const platform = [os, arch, variant].filter(Boolean).join('/')

const make = {
  'linux/amd64': message => elf('amd64', message),
  'linux/arm64': message => elf('arm64', message),
  'linux/arm/v7': message => elf('arm', message),
  'windows/amd64': message => pe(message.replace('\n', '\r\n')),
}[platform]
if (!make) {
  console.error(`make-binary: ${service} has no program for ${platform}`)
  process.exit(1)
}

const bytes = make(Buffer.from(`${service} ${version} ${platform}\n`).toString('latin1'))
const file = resolve(os === 'windows' ? `${out}.exe` : out)
// A file that is right already keeps its time: nothing has to be hashed again.
if (!same(file, bytes)) {
  mkdirSync(dirname(file), { recursive: true })
  const temporary = `${file}.${process.pid}`
  writeFileSync(temporary, bytes)
  chmodSync(temporary, 0o755)
  renameSync(temporary, file)
}

function same(path, expected) {
  try {
    return readFileSync(path).equals(expected)
  } catch {
    return false
  }
}
