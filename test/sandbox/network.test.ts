import { afterAll, beforeAll, expect } from 'bun:test'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { networkInterfaces } from 'node:os'
import { canRun, requirePeers } from '../peers/require.ts'
import { openWorkshop, type Workshop } from './workshop.ts'

const needs = ['root', 'busybox', 'slirp4netns'] as const
const step = requirePeers(...needs)
const outside = Object.values(networkInterfaces())
  .flat()
  .find(one => one?.internal === false && one.family === 'IPv4')?.address
let shop: Workshop
let server: Server
let port: number

beforeAll(async () => {
  if (!canRun(...needs)) return
  shop = await openWorkshop()
  server = createServer((_, response) => response.end('hello')).listen(0)
  port = (server.address() as AddressInfo).port
})
afterAll(async () => {
  server?.close()
  await shop?.[Symbol.asyncDispose]()
})

// A static wget would want to load libraries to look names up.
const fetch = (host: string) => `printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 5 ${host} ${port} | tail -1`

step('default: a network of its own that reaches this machine and beyond, but not its loopback', async () => {
  expect(shop.sandbox.facts.network).toBeOneOf(['pasta', 'slirp4netns'])
  expect(await shop.run(fetch(outside!), { network: 'default' })).toMatchObject({ stdout: 'hello' })
  expect(await shop.run(fetch('127.0.0.1'), { network: 'default' })).toMatchObject({ stdout: '' })
  expect(await shop.run(fetch('10.0.2.2'), { network: 'default' })).toMatchObject({ stdout: '' })
})

step('host-gateway is where this machine listens', async () => {
  const hosts = [['machine', 'host-gateway']] as const
  const { stdout } = await shop.run('grep machine /etc/hosts', { network: 'default', hosts })
  expect(await shop.run(fetch(stdout.split('\t')[0]!), { network: 'default', hosts })).toMatchObject({
    stdout: 'hello',
  })
})

step('none: loopback, which is up, and nothing else', async () => {
  const { stdout } = await shop.run('cd /sys/class/net && echo * && cat lo/operstate && ping -c1 127.0.0.1 | tail -2', {
    network: 'none',
  })
  expect(stdout).toStartWith('lo\nunknown\n1 packets transmitted, 1 packets received')
  expect(await shop.run(fetch(outside!), { network: 'none' })).toMatchObject({ stdout: '' })
})

step('host: the network of this machine', async () => {
  expect(await shop.run(fetch('127.0.0.1'), { network: 'host' })).toMatchObject({ stdout: 'hello' })
})

step('hosts, resolv.conf and the name of the machine', async () => {
  const { stdout } = await shop.run('hostname; cat /etc/hosts; cat /etc/resolv.conf; echo x >> /etc/hosts', {
    ...{ network: 'default', hosts: [['db.local', '10.1.2.3']] },
  })
  expect(stdout).toStartWith(
    'buildkitsandbox\n127.0.0.1\tlocalhost buildkitsandbox\n::1\tlocalhost ip6-localhost ip6-loopback\n10.1.2.3\tdb.local\nnameserver ',
  )
  expect(stdout).not.toContain('nameserver 127.')
})
