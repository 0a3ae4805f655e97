/** The engines, the preferred one first. */
export const ENGINES = ['native', 'docker', 'podman'] as const

export type EngineName = (typeof ENGINES)[number]
