// Run by kill.test.ts, which kills it: steps of all kinds, one after the other and beside each other, until it ends.
import { openWorkshop } from './workshop.ts'

const [mark] = process.argv.slice(2)
const shop = await openWorkshop()
console.log(shop.folder)
const bytes = { kind: 'bytes', bytes: Buffer.from('secret'), mode: 0o400, uid: 0, gid: 0 } as const
for (;;)
  await Promise.all([
    shop.run(`sleep 1000${mark} & (setsid sleep 1000${mark} &) ; sleep 0.0$((RANDOM % 9))`, {
      mounts: [{ ...bytes, target: '/run/secrets/a' }],
      network: 'default',
    }),
    shop.run(`dd if=/dev/zero of=/big bs=64k count=20 2>/dev/null; rm -r /etc; sleep 0.0$((RANDOM % 9))`, {
      mounts: [{ kind: 'layers', lowers: [shop.base], path: '/bin', target: '/other', readOnly: false }],
      limits: { memory: 64 << 20, cpuShares: 512 },
    }),
  ])
