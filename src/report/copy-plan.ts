import type { PlanView } from '../copy/plan-view.ts'
import { sanitize } from '../errors/render-text.ts'
import { count, formatBytes, shortDigest } from './format.ts'

/** What `--dry-run` tells people: for each image what would be done, and what that takes. */
export function renderCopyPlan(plans: readonly PlanView[]): string[] {
  const lines = plans.flatMap(plan => [
    sanitize(`${plan.source} → ${plan.target}${plan.tags.map(({ tag }, i) => `${i > 0 ? ', ' : ''}:${tag}`).join('')}`),
    ...details(plan).map(line => `  ${sanitize(line)}`),
  ])
  return lines
}

function details(plan: PlanView): string[] {
  if (plan.state === 'failed') return [`cannot be copied: ${plan.error?.message ?? ''}`]
  if (plan.state === 'same') return [`is there already: ${plan.digest}`]
  const moved = plan.tags.flatMap(({ tag, now }) =>
    now === undefined || now === plan.result ? [] : [`${tag} is ${shortDigest(now)} now`],
  )
  if (plan.state === 'kept') return [...moved.map(text => `${text}, and stays`)]
  const { manifests, blobs } = plan
  const missing = blobs.filter(({ there }) => !there)
  const platforms = [...new Set(manifests.flatMap(({ platform }) => platform ?? []))]
  const attestations = manifests.filter(({ attestation }) => attestation).length
  const extras = manifests.filter(({ belongs }) => belongs !== undefined).length
  const fresh = manifests.filter(({ there }) => !there).length
  return [
    plan.result === undefined
      ? `${plan.digest}, its layers compressed anew`
      : plan.result === plan.digest
        ? `${plan.digest}`
        : `${plan.digest}, as ${plan.result}`,
    [
      ...platforms,
      ...(attestations > 0 ? [count(attestations, 'attestation')] : []),
      ...(extras > 0 ? [`${count(extras, 'manifest')} that refer to it`] : []),
    ].join(', '),
    ...moved,
    `${count(fresh, 'manifest')} and ${count(missing.length, 'blob')} (${formatBytes(missing.reduce((sum, { size }) => sum + size, 0))}) to write, ${manifests.length - fresh + blobs.length - missing.length} there`,
  ].filter(line => line !== '')
}
