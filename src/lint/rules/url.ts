/** The page that BuildKit's results point to. */
export function ruleUrl(page: string): string {
  return `https://docs.docker.com/go/dockerfile/rule/${page}/`
}
