/**
 * A module of the runtime that is loaded when it is first needed: node:tls alone takes 10 ms, and a build in which nothing
 * changed needs none of these.
 */
export const builtin = {
  get childProcess() {
    return process.getBuiltinModule('node:child_process')
  },
  get tls() {
    return process.getBuiltinModule('node:tls')
  },
  get zlib() {
    return process.getBuiltinModule('node:zlib')
  },
}
