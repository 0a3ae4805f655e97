import { expect, test } from 'bun:test'
import { Gate, Host } from './host.ts'

const env = { HOME: '/nonexistent' }
const failed = (code: string) => Object.assign(new Error('x'), { code })

test('schemes: HTTPS, HTTP on loopback, both for insecure hosts until one has answered', () => {
  const plain = new Host('r.test', { insecure: false, env })
  expect(plain.url('/v2/')).toBe('https://r.test/v2/')
  expect(plain.switchScheme(failed('EPROTO'))).toBe(false)

  const hub = new Host('docker.io', { insecure: false, env })
  expect(hub.url('/v2/')).toBe('https://registry-1.docker.io/v2/')

  const local = new Host('[::1]:5000', { insecure: false, env })
  expect(local.url('/v2/')).toBe('http://[::1]:5000/v2/')
  expect(local.switchScheme(failed('ECONNREFUSED'))).toBe(false)
  expect(local.switchScheme(failed('ECONNRESET'))).toBe(true)
  expect(local.origin).toBe('https://[::1]:5000')

  // Cut in the clear, no TLS either: it speaks HTTP, and what cuts is the network.
  expect(local.switchScheme(failed('EPROTO'))).toBe(true)
  expect([local.url('/'), local.switchScheme(failed('ECONNRESET'))]).toEqual(['http://[::1]:5000/', false])

  const insecure = new Host('r.test', { insecure: true, env })
  expect(insecure.tls).toEqual({ rejectUnauthorized: false })
  expect(insecure.switchScheme(failed('ENOTFOUND'))).toBe(false)
  // Nothing on 443 may mean something on 80; with a port there is only that port.
  expect(insecure.switchScheme(failed('ECONNREFUSED'))).toBe(true)
  expect(insecure.url('/')).toBe('http://r.test/')
  const withPort = new Host('r.test:5000', { insecure: true, env })
  expect(withPort.switchScheme(failed('ECONNREFUSED'))).toBe(false)
  expect(withPort.switchScheme(failed('EPROTO'))).toBe(true)
  withPort.settle()
  expect(withPort.switchScheme(failed('ECONNRESET'))).toBe(false)
})

test('a gate lets so many in, the others in order', async () => {
  const gate = new Gate(2)
  const order: number[] = []
  const work = async (n: number) => {
    await gate.enter()
    order.push(n)
    await new Promise(resolve => setTimeout(resolve, 5))
    gate.leave()
  }
  const all = [1, 2, 3, 4].map(work)
  await new Promise(resolve => setTimeout(resolve, 1))
  expect(order).toEqual([1, 2])
  await Promise.all(all)
  expect(order).toEqual([1, 2, 3, 4])
})
