const NAMES = ['http_proxy', 'https_proxy', 'ftp_proxy', 'no_proxy', 'all_proxy']

/**
 * Variables of proxies that a RUN sees though no ARG declares them, in both cases, as `NAME=value`. They come from build
 * arguments in any case (the lower one wins), and are no part of keys and history (BuildKit's ProxyEnv).
 */
export function proxyVariables(args: Readonly<Record<string, string>>): string[] {
  return NAMES.flatMap(name => {
    const given = Object.keys(args)
      .filter(key => key.toLowerCase() === name)
      .sort()
      .at(-1)
    const value = given === undefined ? '' : args[given]!
    return value === '' ? [] : [`${name.toUpperCase()}=${value}`, `${name}=${value}`]
  })
}

/** `args` with the proxies of docker's configuration, where they name none of the kind themselves. */
export function withProxies(
  args: Readonly<Record<string, string>>,
  configured: Readonly<Record<string, string>>,
): Readonly<Record<string, string>> {
  const given = new Set(Object.keys(args).map(key => key.toLowerCase()))
  const missing = Object.entries(configured).filter(([key]) => !given.has(key.toLowerCase()))
  return missing.length === 0 ? args : { ...Object.fromEntries(missing), ...args }
}
