import type { Case } from '../case.ts'

const ENV = 'ARG SOURCE_DATE_EPOCH\nENV E=$SOURCE_DATE_EPOCH\nCOPY . /x/'
const dated = (name: string, epoch: string, more: Partial<Case> = {}): Case => ({
  name,
  dockerfile: `FROM scratch\n${ENV}\n`,
  ...more,
  args: { SOURCE_DATE_EPOCH: epoch, ...more.args },
})
/** The epoch is that of a stage `when`. */
const stage = (name: string, lines: string, more: Partial<Case> = {}): Case =>
  dated(name, 'when', { dockerfile: `${lines}\nFROM scratch\n${ENV}\n`, ...more })

/** SOURCE_DATE_EPOCH as a number and as a name: `created` is compared, and what instructions see. */
export const epochs: readonly Case[] = [
  dated('an epoch in seconds', '1700000001'),
  dated('an epoch that ARG before FROM has', '1700000002', {
    dockerfile: `ARG SOURCE_DATE_EPOCH=5\nFROM scratch\n${ENV}\n`,
  }),
  dated('an epoch that is nothing', 'nothing', { refused: true }),
  dated('the epoch of a repository', 'context', { context: 'WEB/git/app.git' }),
  dated('the epoch of a URL with a date', 'context', { context: 'WEB/context.gzip' }),
  dated('the epoch of an archive is that of its newest file', 'context', {
    context: 'WEB/dated.tar.gz',
    dockerfile: '',
  }),
  dated('the epoch of an archive on standard input', 'context', {
    context: 'WEB/dated.tar.gz',
    dockerfile: '',
    through: 'stdin',
  }),
  dated('the epoch of a named repository', 'n', { contexts: { n: 'WEB/git/app.git#:app' } }),
  dated('the epoch of a named URL', 'n', { contexts: { n: 'WEB/hello.txt' } }),
  dated('the epoch of a named archive', 'n', { contexts: { n: 'WEB/dated.tar.gz' } }),
  stage('the epoch of a stage: a URL', 'FROM scratch AS when\nADD WEB/hello.txt /'),
  stage('the epoch of a stage: an archive', 'FROM scratch AS When\nADD WEB/dated.tar.gz /'),
  stage('the epoch of a stage: a repository', 'FROM scratch AS when\nADD WEB/git/app.git#COMMIT(first) /'),
  stage('the epoch of a stage with arguments', 'ARG B=scratch\nFROM $B AS when\nARG N=x F=hello.$N\nADD WEB/$F /', {
    args: { N: 'txt' },
  }),
  stage('a stage that copies as well has no epoch', 'FROM scratch AS when\nADD WEB/hello.txt /\nCOPY a /', {
    refused: true,
  }),
  stage('a stage with two sources has no epoch', 'FROM scratch AS when\nADD WEB/hello.txt WEB/etag.txt /', {
    refused: true,
  }),
  stage('a stage with files alone has no epoch', 'FROM scratch AS when\nADD a /', { refused: true }),
  stage('a stage upon an image has no epoch', 'FROM REG/base:1 AS when\nADD WEB/hello.txt /', { refused: true }),
  stage('an empty stage has no epoch', 'FROM scratch AS when', { refused: true }),
]
