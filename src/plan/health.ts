import type { HealthcheckInstruction } from '../dockerfile/ast.ts'
import type { Healthcheck } from '../oci/config.ts'
import { goDuration } from './go-format.ts'

/** HEALTHCHECK as the config has it. */
export function healthcheck(instruction: HealthcheckInstruction): Healthcheck {
  if (instruction.none) return { Test: ['NONE'] }
  const { command, interval, timeout, startPeriod, startInterval, retries } = instruction
  return {
    Test: command
      ? [command.form === 'exec' ? 'CMD' : 'CMD-SHELL', ...(command.form === 'exec' ? command.args : [command.text])]
      : [],
    ...(interval ? { Interval: interval } : {}),
    ...(timeout ? { Timeout: timeout } : {}),
    ...(startPeriod ? { StartPeriod: startPeriod } : {}),
    ...(startInterval ? { StartInterval: startInterval } : {}),
    ...(retries ? { Retries: retries } : {}),
  }
}

/** The same as Go prints it into the history. */
export function healthText(health: Healthcheck): string {
  const time = (value: number | undefined): string => goDuration(value ?? 0)
  return `{Test:[${health.Test?.join(' ')}] Interval:${time(health.Interval)} Timeout:${time(health.Timeout)} StartPeriod:${time(health.StartPeriod)} StartInterval:${time(health.StartInterval)} Retries:${health.Retries ?? 0}}`
}
