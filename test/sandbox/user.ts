// Run by ordinary-user.test.ts as another user: takes steps as JSON, runs them in a sandbox, prints what came of them.
import { enterUserNamespace } from '../../src/sandbox/user-namespace.ts'
import { openWorkshop } from './workshop.ts'

const code = await enterUserNamespace({ signal: new AbortController().signal })
if (code !== undefined) process.exit(code)

await using shop = await openWorkshop()
const outcomes = []
for (const [command, more] of JSON.parse(process.argv[2]!))
  outcomes.push(await shop.run(command, more).catch(({ code, message, hint }) => ({ code, message, hint })))
console.log(JSON.stringify({ facts: shop.sandbox.facts, outcomes }))
