import type { Case } from '../case.ts'

const of = (name: string, lines: string, more: Partial<Case> = {}): Case => ({
  name,
  dockerfile: `FROM REG/base:1\n${lines}\n`,
  ...more,
})

/** Corners of the language itself: directives, splitting, what is understood otherwise on purpose. */
export const language: readonly Case[] = [
  of('text before a default in EXPOSE', 'EXPOSE 80${END:-80}', {
    differs: {
      section: 'Text before a default in EXPOSE',
      only: /^linux\/amd64: (?:config\.config\.ExposedPorts|history)/,
    },
  }),
  of('a trigger that cannot work', 'ONBUILD RUNN make', {
    differs: { section: 'Triggers that cannot work', only: /^archimage refuses, BuildKit does not/ },
  }),
  {
    name: 'two directives of one kind',
    dockerfile: '# check=skip=all\n# escape=`\n# check=skip=all\nFROM scratch\nCOPY a /\n',
    refused: true,
    differs: { section: 'Places of wrong directives', only: /^refused at line 2 by BuildKit, at line 3 by archimage/ },
  },
  of('a flag beyond ASCII', 'COPY --exclude=größe.txt . /x/', {
    files: c => c.file('größe.txt').file('a'),
    differs: { section: 'Flags beyond ASCII', only: /^linux\/amd64: \/x\/gr/ },
  }),
]
