// Run by tests as another user, or with less than others have: takes steps and options of the sandbox as JSON, runs them, prints what came of them.
import { enterUserNamespace } from '../../src/sandbox/user-namespace.ts'
import { openWorkshop } from './workshop.ts'

const code = await enterUserNamespace({ signal: new AbortController().signal })
if (code !== undefined) process.exit(code)

const options = JSON.parse(process.argv[3] ?? '{}')
const shop = await openWorkshop(options).catch(({ code, message, hint }) => {
  console.log(JSON.stringify({ refusal: { code, message, hint } }))
  process.exit(0)
})
const outcomes = []
for (const [command, more] of JSON.parse(process.argv[2]!, (key, value) =>
  key === 'bytes' ? Buffer.from(value) : value,
))
  outcomes.push(await shop.run(command, more).catch(({ code, message, hint }) => ({ code, message, hint })))
console.log(JSON.stringify({ facts: shop.sandbox.facts, outcomes }))
await shop[Symbol.asyncDispose]()
