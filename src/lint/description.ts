/** What the comments above an ARG or a FROM say of a name: `# NAME what it is for`. */
export function description(comments: readonly string[], name: string | undefined): string | undefined {
  if (name === undefined || name === '') return undefined
  return comments.find(comment => comment.startsWith(`${name} `))?.slice(name.length + 1) || undefined
}
