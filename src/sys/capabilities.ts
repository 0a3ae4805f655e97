import { readFileSync } from 'node:fs'

/** Numbers of Linux, see capabilities(7). */
const NUMBERS = { sys_admin: 21, mknod: 27 } as const

/** Whether this process may do now what a capability allows. */
export function hasCapability(name: keyof typeof NUMBERS): boolean {
  const mask = /^CapEff:\s*(\w+)/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1] ?? '0'
  return (BigInt(`0x${mask}`) & (1n << BigInt(NUMBERS[name]))) !== 0n
}
