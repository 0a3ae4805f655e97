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
  of(
    'a class that excludes, beyond ASCII',
    'FROM scratch AS files\nCOPY é a /\nFROM scratch\nCOPY --from=files /*[^é] /x/',
    {
      files: c => c.file('é').file('a'),
      differs: { section: 'A class that excludes, beyond ASCII', only: /^linux\/amd64: \/x\/é: .* archimage nothing$/ },
    },
  ),
  {
    name: 'an index beyond the last stage',
    dockerfile: 'FROM scratch AS t\nCOPY --from=REG/base:1 /etc/passwd /\nCOPY --from=1 /etc/group /\n',
    differs: { section: 'An index beyond the last stage', only: /^archimage refuses, BuildKit does not/ },
  },
  {
    name: 'one letter and a slash on windows',
    dockerfile: 'FROM REG/windows:1\nCOPY a b/\n',
    platforms: ['windows/amd64'],
    differs: { section: 'One letter and a slash on Windows', only: /: \/(?:Files\/)?b(?:\/a)?: BuildKit/ },
  },
  {
    name: 'a stage whose name no image can have',
    dockerfile: 'FROM scratch AS bad-\nCOPY a /\n',
    refused: true,
  },
]
