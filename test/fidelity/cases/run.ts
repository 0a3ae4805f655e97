import type { Case } from '../case.ts'
import type { Context } from '../context.ts'

const ALL_LINUX = ['linux/amd64', 'linux/arm64', 'linux/arm/v7']

/** RUN upon a busybox with what other cases need: users, many files, links, whiteouts' victims (runBases). */
function run(name: string, lines: string, more: Omit<Case, 'name' | 'dockerfile'> = {}): Case {
  return { name: `RUN: ${name}`, dockerfile: `FROM REG/shell:1\n${lines}\n`, ...more }
}

const some = (c: Context): void => {
  c.files('a', 'b').file('d/f').file('d/g', 'g\n', 0o755).file('d/.hidden')
}

const script = (c: Context): void => {
  c.file('say.sh', '#!/bin/sh\necho "said $1 by $0"\n', 0o755).file('plain.sh', 'echo plain > /plain\n')
}

const forms: readonly Case[] = [
  run('shell form', 'RUN echo one > /one && echo two > /two'),
  run('JSON form', 'RUN ["/bin/busybox", "touch", "/a b", "/$HOME"]'),
  run('JSON form without a shell in front', 'RUN ["sh", "-c", "echo $0 $1 > /args", "x", "y z"]'),
  run('broken JSON is a command', 'RUN [ "$(echo 1)" = 1 ] && touch /yes'),
  run('continuations and comments', 'RUN echo one \\\n  # a comment\n  && echo two > /two \\\n\n  && touch /three'),
  run('heredoc for the shell', 'RUN <<EOF\nset -e\necho "$HOME" > /home-is\nmkdir /made\nEOF'),
  run('heredoc with quotes', "ARG X=1\nRUN <<'EOF'\necho $X > /x\necho '$X' > /y\nEOF"),
  run('heredoc with tabs', 'RUN <<-EOF\n\techo one > /one\n\t\techo two > /two\n\tEOF'),
  run('heredoc with an interpreter', 'RUN <<EOF\n#!/bin/awk -f\nBEGIN { print "awk" > "/out" }\nEOF'),
  run('heredoc into a program', 'RUN cat <<EOF > /text\nline $HOME\n\\$HOME\nEOF'),
  run('several heredocs', 'RUN cat <<ONE - <<TWO > /both\nfirst\nONE\nsecond\nTWO'),
  run('heredoc on another descriptor', 'RUN cat 0<<EOF >/zero\nzero\nEOF'),
  run('SHELL', 'SHELL ["/bin/busybox", "ash", "-euxc"]\nRUN echo $- > /flags\nRUN touch /x'),
  run('SHELL of a base stage', 'SHELL ["/bin/sh", "-c", "echo prefix > /prefix; eval \\"$0\\""]\nRUN touch /y'),
  run('exit code of the last command only', 'RUN false | true\nRUN false; true'),
  run('a script of the context', 'COPY say.sh /bin/say\nRUN say hello > /said', { files: script }),
  run('standard input is empty', 'RUN cat > /empty; echo $? > /code'),
  run('standard output and error can be opened', 'RUN echo a > /dev/stdout && echo b > /dev/stderr && touch /ok'),
  run('quotes and dollars', `RUN printf '%s\\n' "a b" 'c "d"' \\$HOME $HOME \${HOME:-x} > /words`),
  run('not expanded by the builder', 'ENV X=builder\nRUN X=shell; echo $X ${X} > /x'),
  run('a word with all blanks', 'RUN    echo    a   >    /a   '),
  run('an empty line of history', 'RUN true\nRUN true'),
]

const environment: readonly Case[] = [
  run('environment', 'RUN env | grep -v -e ^OTEL_ -e ^TRACEPARENT | sort > /env'),
  run(
    'environment with ENV and ARG',
    'ENV A=1 B="two words"\nARG C=3\nARG D\nRUN env | grep -v -e ^OTEL_ -e ^TRACEPARENT | sort > /env',
    {
      args: { D: '4' },
    },
  ),
  run('ENV beats ARG', 'ENV A=env\nARG A=arg\nRUN echo $A > /a', { args: { A: 'given' } }),
  run('an argument without a value', 'ARG NONE\nRUN echo "${NONE-unset}" > /x'),
  run('an argument without text', 'ARG NONE=\nRUN echo "${NONE-unset}" > /x'),
  run('PATH of the base', 'ENV PATH=/opt/bin:$PATH\nRUN echo $PATH > /path'),
  run(
    'platform arguments',
    'ARG TARGETPLATFORM\nARG TARGETARCH\nARG TARGETVARIANT\nRUN env | grep TARGET | sort > /env',
    {
      platforms: ALL_LINUX,
    },
  ),
  run('proxies reach steps and not the history', 'RUN echo $http_proxy $HTTP_PROXY > /proxy', {
    args: { http_proxy: 'http://127.0.0.1:1', HTTP_PROXY: 'http://127.0.0.1:2' },
  }),
  run(
    'HOME by user',
    'RUN echo $HOME > /h1\nUSER app\nRUN echo $HOME > /tmp/h2\nENV HOME=/elsewhere\nRUN echo $HOME > /tmp/h3',
  ),
  run('HOME of an unknown number', 'USER 4242\nRUN echo "$HOME" > /tmp/h'),
  run('WORKDIR', 'WORKDIR /made/here\nRUN pwd > pwd\nWORKDIR deeper\nRUN pwd > pwd'),
  run('WORKDIR through a link', 'WORKDIR /link-to-srv/y\nRUN pwd -P > /p; touch here'),
  run('WORKDIR of a user', 'USER app\nWORKDIR /home/app/w\nRUN touch mine; id > /tmp/id'),
  run('variables in values of ENV change later steps only', 'ENV A=1\nRUN echo $A > /1\nENV A=2\nRUN echo $A > /2'),
  run('umask', 'RUN umask > /umask; touch /file; mkdir /dir'),
  run('host name', 'RUN hostname > /name; cat /proc/sys/kernel/hostname >> /name'),
  run('ulimit of cores and files are those of a container', 'RUN ulimit -c > /dev/null; touch /ok'),
]

const users: readonly Case[] = [
  run('USER by name', 'USER app\nRUN id > /tmp/id; touch /tmp/mine'),
  run('USER by number', 'USER 1000\nRUN id > /tmp/id; touch /tmp/mine'),
  run('USER by number without a name', 'USER 4242\nRUN id -u > /tmp/id; id -g >> /tmp/id; id -G >> /tmp/id'),
  run('USER with a group', 'USER app:staff\nRUN id > /tmp/id; touch /tmp/mine'),
  run('USER with a group by number', 'USER app:77\nRUN id -G > /tmp/id; touch /tmp/mine'),
  run('USER by number with groups of the name', 'USER 1000\nRUN id -G > /tmp/groups'),
  run('USER root again', 'USER app\nUSER root\nRUN id > /id'),
  run('a user made by a step', 'RUN echo new:x:2000:2001::/:/bin/sh >> /etc/passwd\nUSER new\nRUN touch /tmp/new'),
  run('an unknown user', 'USER nosuch\nRUN true', { refused: true }),
  run('su through the set-user-ID bit', 'USER 1000\nRUN /bin/su -c "id -u > /root-was-here"'),
  run(
    'set-user-ID and set-group-ID survive chown in this order',
    'RUN cp /bin/busybox /x && chown app /x && chmod 6755 /x',
  ),
  run('chown takes the set-user-ID bit away', 'RUN cp /bin/busybox /x && chmod 4755 /x && chown app /x'),
  run('a user may not write where root may', 'USER app\nRUN touch /not 2>/dev/null || touch /tmp/refused'),
  run(
    'COPY --chown by a name that a step made',
    'RUN echo new:x:2000:2001::/:/bin/sh >> /etc/passwd\nCOPY --chown=new a /a',
  ),
  run(
    'capabilities',
    'RUN grep -i ^cap /proc/self/status > /caps\nUSER app\nRUN grep -i ^cap /proc/self/status > /tmp/caps',
  ),
  run(
    'no new privileges is off',
    'RUN grep -i nonewprivs /proc/self/status > /nnp; grep -i ^seccomp: /proc/self/status >> /nnp',
  ),
]

const changes: readonly Case[] = [
  run('nothing', 'RUN true'),
  run('a file, a folder, a link, a fifo', 'RUN touch /f; mkdir /d; ln -s /f /l; mkfifo /p'),
  run('modes', 'RUN for m in 0 400 644 755 1777 2755 4755 7777; do touch /m$m; chmod $m /m$m; done'),
  run('modes of folders', 'RUN for m in 0 700 1777 2775 3777; do mkdir /m$m; chmod $m /m$m; done'),
  run('hard links', 'RUN echo x > /x; ln /x /y; mkdir /d; ln /x /d/z'),
  run('a hard link to a file of the base', 'RUN ln /data/file1 /hard', {
    differs: { section: 'Hard links to files of a base', only: /\/(?:data\/file1|hard): .* = data\/file1 = hard$/ },
  }),
  run('hard links of the base, one changed', 'RUN echo more >> /links/one'),
  run('hard links of the base, one removed', 'RUN rm /links/two'),
  run('a file of the base appended to', 'RUN echo more >> /data/file1'),
  run('a file of the base written again', 'RUN echo new > /data/file1'),
  run('only the mode of a file of the base', 'RUN chmod 600 /data/file1'),
  run('only the owner of a file of the base', 'RUN chown app:staff /data/file1'),
  run('only the time of a file of the base', 'RUN touch -d @1000000000 /data/file1'),
  run('only the mode of a folder of the base', 'RUN chmod 700 /data'),
  run('chown to the owner that files have', 'RUN chown -R root:root /many'),
  run('chmod to the mode that files have', 'RUN chmod -R u=rwX,go=rX /many'),
  run('a file removed', 'RUN rm /data/file1'),
  run('a folder removed', 'RUN rm -r /data'),
  run('a folder emptied', 'RUN rm -r /data/*'),
  run('a folder removed and made again', 'RUN rm -r /data && mkdir /data'),
  run('a folder removed and made again with a file', 'RUN rm -r /data && mkdir -m 700 /data && touch /data/new'),
  run('a folder replaced by a file', 'RUN rm -r /data && touch /data'),
  run('a folder replaced by a link', 'RUN rm -r /data && ln -s /srv /data'),
  run('a file replaced by a folder', 'RUN rm /data/file1 && mkdir /data/file1 && touch /data/file1/x'),
  run('a link replaced by a folder', 'RUN rm /link-to-srv && mkdir -p /link-to-srv/x'),
  run('a folder moved', 'RUN mv /data /moved'),
  run('a file moved over another', 'RUN mv /data/file1 /data/file2'),
  run('made and removed in one step', 'RUN touch /x && mkdir /y && rm -r /x /y'),
  run('made in one step, removed in the next', 'RUN touch /x && mkdir -p /y/z\nRUN rm -r /x /y'),
  run('removed, made again in the next', 'RUN rm -r /data\nRUN mkdir /data && touch /data/again'),
  run('removed, copied again', 'RUN rm -r /data\nCOPY d /data/', { files: some }),
  run('copied, then removed', 'COPY d /data/\nRUN rm /data/f /data/file1', { files: some }),
  run('written through a link', 'RUN echo x > /link-to-srv/x; echo y > /link-to-file'),
  run('names with blanks, quotes, newlines', `RUN touch "/a b" "/it's" '/say "x"' "$(printf '/new\\nline')"`),
  run('names beyond ASCII', 'RUN touch /grün /日本 && mkdir -p "/ünter/ordner"'),
  run('long names', 'RUN n=$(printf "%0200d" 0); mkdir -p /$n/$n && touch /$n/$n/$n'),
  run('a deep tree', 'RUN d=; for i in $(seq 60); do d=$d/d$i; done; mkdir -p $d && touch $d/f'),
  run('many files', 'RUN mkdir /files && cd /files && for i in $(seq 500); do echo $i > f$i; done'),
  run(
    'large and sparse files',
    'RUN dd if=/dev/zero of=/sparse bs=1 count=1 seek=5000000 2>/dev/null; yes | head -c 3000000 > /large',
  ),
  run('an empty file', 'RUN : > /empty'),
  run('devices', 'RUN mknod /null c 1 3 && mknod /loop b 7 0 || touch /refused'),
  run('a socket is left out', 'RUN nc -l -U /sock -e true & sleep 0.2; touch /ok || true'),
  run('what is in /tmp and /run stays', 'RUN mkdir -p /run/x && touch /tmp/t /run/x/r'),
  run('mount points leave no trace', 'RUN ls /proc /sys /dev > /dev/null; ls -a / > /dev/null'),
  run('files below /dev, /proc and /sys are not of the image', 'RUN touch /dev/shm/x && touch /ok'),
  run('resolv.conf and hosts are not of the image', 'RUN cat /etc/hosts /etc/resolv.conf > /dev/null; touch /etc/mine'),
  run('a base that has its own hosts', 'COPY a /etc/hosts\nRUN touch /x'),
  run('etc replaced', 'RUN rm -rf /srv && mkdir /srv && touch /srv/1'),
  run('a process that stays behind', 'RUN (sleep 100; touch /late) & touch /ok'),
  run('the whole of a stage', 'RUN rm -r /data && touch /x\nFROM scratch\nCOPY --from=0 / /', {}),
]

const mounts: readonly Case[] = [
  run('bind of the context', 'RUN --mount=type=bind,target=/ctx ls -laR /ctx | wc -l > /n; cp /ctx/d/f /f', {
    files: some,
  }),
  run('bind of a folder', 'RUN --mount=type=bind,source=d,target=/ctx cp -r /ctx /copy', { files: some }),
  run('bind of a file', 'RUN --mount=source=a,target=/in/a cat /in/a > /out', { files: some }),
  run('bind without a source in a missing folder', 'RUN --mount=target=/x/y/z ls /x/y/z > /out', { files: some }),
  run('bind is read only', 'RUN --mount=target=/ctx touch /ctx/x 2>/dev/null || touch /refused', { files: some }),
  run(
    'bind that may be written, and forgets',
    'RUN --mount=target=/ctx,rw touch /ctx/x && rm /ctx/a && ls /ctx > /out',
    {
      files: some,
    },
  ),
  run('bind of a relative target', 'WORKDIR /w\nRUN --mount=target=ctx ls ctx > out', { files: some }),
  run('bind of a stage', 'RUN echo made > /made\nFROM REG/shell:1\nRUN --mount=from=0,target=/s true', {
    refused: true,
  }),
  {
    name: 'RUN: bind of a stage by name',
    dockerfile:
      'FROM REG/shell:1 AS one\nRUN echo made > /made\nFROM REG/shell:1\nRUN --mount=from=one,source=/made,target=/m cp /m /copy\n',
  },
  run('bind of an image', 'RUN --mount=from=REG/base:1,target=/base cp /base/usr/bin/tool /tool'),
  run('bind of a named context', 'RUN --mount=from=other,target=/o cp -r /o /copy', {
    contexts: { other: c => void c.file('o/x') },
  }),
  run('bind of what is not there', 'RUN --mount=source=missing,target=/x true', { refused: true }),
  run('bind with a variable', 'ARG P=d\nRUN --mount=source=$P,target=/x/$P ls /x/d > /out', { files: some }),
  run('cache', 'RUN --mount=type=cache,target=/cache touch /cache/x && ls /cache > /out'),
  run(
    'cache with mode and owner',
    'RUN --mount=type=cache,target=/c1,mode=0700,uid=1000,gid=50 stat -c "%a %u %g" /c1 > /out',
  ),
  run(
    'cache that several steps see',
    'RUN --mount=type=cache,target=/c2 touch /c2/x\nRUN --mount=type=cache,target=/c2 ls /c2 > /out',
  ),
  run('cache over a folder of the base', 'RUN --mount=type=cache,target=/data ls /data > /out; touch /data/x'),
  {
    name: 'RUN: cache begun from a stage',
    dockerfile:
      'FROM REG/shell:1 AS one\nRUN mkdir /seed && echo s > /seed/s\nFROM REG/shell:1\nRUN --mount=type=cache,from=one,source=/seed,target=/c3 ls /c3 > /out\n',
  },
  run('tmpfs', 'RUN --mount=type=tmpfs,target=/t touch /t/x && mount | grep -c " /t " > /out'),
  run('tmpfs over a folder of the base', 'RUN --mount=type=tmpfs,target=/data ls /data > /out'),
  run('a secret that is not given', 'RUN --mount=type=secret,id=none cat /run/secrets/none 2>/dev/null || touch /none'),
  run('a secret in a variable without a name', 'RUN --mount=type=secret,id=none,env= true', { refused: true }),
  run('a secret that is needed', 'RUN --mount=type=secret,id=none,required true', { refused: true }),
  run('an agent that is not given', 'RUN --mount=type=ssh echo "${SSH_AUTH_SOCK-none}" > /out'),
  run(
    'several mounts',
    'RUN --mount=source=a,target=/a --mount=type=tmpfs,target=/b --mount=type=cache,target=/c4 cat /a > /out; ls /b >> /out',
  ),
  run('a mount in a mount', 'RUN --mount=type=tmpfs,target=/t --mount=source=a,target=/t/x/a cat /t/x/a > /out'),
  run('a mount whose place is in the base', 'RUN --mount=source=a,target=/data/file1 cat /data/file1 > /out'),
  run('the place of a mount leaves no trace', 'RUN --mount=source=a,target=/new/place/a true\nRUN ls / > /names'),
  run('an unknown type', 'RUN --mount=type=nfs,target=/x true', { refused: true }),
  run('a mount without a target', 'RUN --mount=type=cache true', { refused: true }),
]

const surroundings: readonly Case[] = [
  run('no network', 'RUN --network=none ls /sys/class/net | grep -v sit0 > /nets'),
  run('an unknown network', 'RUN --network=somewhere true', { refused: true }),
  run('privileges that were not granted', 'RUN --security=insecure true', { refused: true }),
  run('the network of the machine, not granted', 'RUN --network=host true', { refused: true }),
  run('a command that fails', 'RUN true\nRUN exit 3', { refused: true }),
  run('a command that is not there', 'RUN no-such-command', { refused: true }),
  run('a program that is not there', 'RUN ["/no/such/program"]', { refused: true }),
  run('no shell', 'COPY a /a\nFROM scratch\nCOPY a /a\nRUN echo', { refused: true }),
  run(
    'masked and read-only places',
    'RUN for p in /proc/sys/kernel/core_pattern /proc/sysrq-trigger /sys/kernel/x; do echo x > $p || echo no $p >> /out; done 2>/dev/null; cat /proc/kcore /proc/timer_list 2>/dev/null | head -c 1 | wc -c >> /out',
  ),
  run(
    'devices that are there',
    'RUN ls /dev | grep -v otel | sort > /devs; stat -c "%t %T %a" /dev/null /dev/zero /dev/full /dev/random /dev/tty >> /devs',
  ),

  run('process numbers begin anew', 'RUN echo $$ > /pid; ps -o pid,comm | head -3 > /dev/null'),
]

const bare: Case = {
  name: 'RUN: a base without places for mounts',
  dockerfile: 'FROM REG/busybox:1\nRUN touch /ok\n',
  differs: { section: 'Places of mounts', only: /\/(?:dev|proc|sys): BuildKit dir 0755 0:0, archimage nothing$/ },
}

const platforms: readonly Case[] = [
  run('on three platforms', 'RUN uname -m > /machine', { platforms: ALL_LINUX }),
  run('changes on three platforms', 'RUN rm -r /data && mkdir /data && ln -s x /data/l && chown app /srv', {
    platforms: ALL_LINUX,
  }),
  run('users on a foreign platform', 'USER app:staff\nRUN id > /tmp/id; touch /tmp/mine', {
    platforms: ['linux/arm64'],
  }),
  {
    name: 'RUN: on the build platform, once, then for each target',
    dockerfile:
      'FROM --platform=$BUILDPLATFORM REG/shell:1 AS b\nRUN uname -m > /built-on\nARG TARGETARCH\nRUN echo for $TARGETARCH > /for\nFROM REG/shell:1\nCOPY --from=b /built-on /for /\n',
    platforms: ALL_LINUX,
  },
  {
    name: 'RUN: a foreign stage for the build platform',
    dockerfile:
      'FROM --platform=linux/arm64 REG/shell:1 AS b\nRUN uname -m > /m\nFROM REG/shell:1\nCOPY --from=b /m /m\n',
  },
  run('heredocs on a foreign platform', 'RUN <<EOF\n#!/bin/sh\nuname -m > /m\nEOF', { platforms: ['linux/arm/v7'] }),
]

const stages: readonly Case[] = [
  {
    name: 'RUN: a stage upon a stage that ran',
    dockerfile:
      'FROM REG/shell:1 AS one\nRUN touch /one\nFROM one AS two\nRUN touch /two && rm /one\nFROM two\nRUN ls / > /names\n',
  },
  {
    name: 'RUN: files of a stage that ran',
    dockerfile: `FROM REG/shell:1 AS b
RUN mkdir -p /out/d && echo x > /out/d/x && ln /out/d/x /out/y && ln -s d /out/l && chown -R app:staff /out && chmod 4711 /out/y
FROM scratch
COPY --from=b /out /kept/
COPY --from=b --chown=5:6 /out/d/x /changed
COPY --from=b /out/* /flat/
`,
  },
  {
    name: 'RUN: what a step deleted is not copied',
    dockerfile:
      'FROM REG/shell:1 AS b\nRUN rm /data/file1 && touch /data/new\nFROM scratch\nCOPY --from=b /data /data/\n',
  },
  {
    name: 'RUN: triggers of a stage',
    dockerfile: 'FROM REG/shell:1 AS b\nONBUILD RUN touch /triggered\nONBUILD COPY a /\nFROM b\nRUN ls / > /names\n',
  },
  run('COPY, RUN, COPY, RUN', 'COPY a /1\nRUN cp /1 /2\nCOPY --chown=app b /3\nRUN cp /3 /4 && chmod 700 /3', {
    files: some,
  }),
  run('COPY --link between steps', 'RUN mkdir /x\nCOPY --link a /x/a\nRUN ls -l /x | wc -l > /n\nCOPY --link b /x/b', {
    files: some,
  }),
  run('ADD of an archive, then a step', 'ADD t.tar /t/\nRUN find /t | sort > /list && chown app /t/d', {
    files: c => void c.sh('mkdir -p d && echo f > d/f && ln -s f d/l && tar -cf t.tar d'),
  }),
  run(
    'labels and CMD between steps',
    'LABEL a=1\nRUN touch /x\nCMD ["x"]\nRUN touch /y\nENTRYPOINT ["/e"]\nHEALTHCHECK CMD true',
  ),
  run('VOLUME, then a step that writes there', 'VOLUME /vol\nRUN mkdir -p /vol && touch /vol/x'),
]

/** apt, with a repository in the context. */
const APT = 'echo "deb [trusted=yes] file:/repo ./" > /etc/apt/sources.list && apt-get update -qq'
const TIDY =
  'rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/log/apt /var/log/dpkg.log /var/cache/ldconfig/aux-cache /var/log/alternatives.log'

export const packages: readonly Case[] = [
  ['installed with apt', 'apt-get install -y -qq demo-tool'],
  ['installed and removed', 'apt-get install -y -qq demo-tool && apt-get remove -y -qq demo-tool'],
  ['one that makes a user', 'apt-get install -y -qq demo-daemon'],
  ['with a set-user-ID program and file capabilities', 'apt-get install -y -qq demo-setuid'],
].map(([name, command]) => ({
  name: `Debian: ${name}`,
  dockerfile: `FROM REG/debian:1\nRUN --mount=target=/repo,source=repo ${APT} && DEBIAN_FRONTEND=noninteractive ${command} && ${TIDY}\n`,
  files: repository,
}))

function repository(c: Context): void {
  const deb = (name: string, files: string, postinst: string): void => {
    c.file(
      `${name}/DEBIAN/control`,
      `Package: ${name}\nVersion: 1.0\nArchitecture: all\nMaintainer: nobody <nobody@example.com>\nDescription: for a test\n`,
    )
    c.file(`${name}/DEBIAN/postinst`, `#!/bin/sh\nset -e\n${postinst}\n`, 0o755)
    c.sh(`${files}; dpkg-deb --root-owner-group -Zgzip -b ${name} repo/${name}_1.0_all.deb >/dev/null; rm -r ${name}`)
  }
  c.dir('repo')
  deb(
    'demo-tool',
    'mkdir -p demo-tool/usr/bin demo-tool/etc; echo tool > demo-tool/usr/bin/demo-tool; echo conf > demo-tool/etc/demo.conf',
    'true',
  )
  deb(
    'demo-daemon',
    'mkdir -p demo-daemon/usr/sbin; echo daemon > demo-daemon/usr/sbin/demo-daemon',
    'useradd --system --no-create-home demo || true\nsed -i "s/^demo:\\([^:]*\\):[0-9]*:/demo:\\1:19000:/" /etc/shadow\nmkdir -p /var/lib/demo\nchown demo: /var/lib/demo',
  )
  deb(
    'demo-setuid',
    'mkdir -p demo-setuid/usr/bin; cp /bin/true demo-setuid/usr/bin/demo-su; chmod 4755 demo-setuid/usr/bin/demo-su; cp /bin/true demo-setuid/usr/bin/demo-cap',
    `perl -e 'my ($f, $n, $v) = ("/usr/bin/demo-cap", "security.capability", pack("V5", 0x02000001, 0x400, 0, 0, 0)); syscall(188, $f, $n, $v, 20, 0) == 0 or die $!'`,
  )
  c.sh(
    'cd repo; for f in *.deb; do dpkg-deb -f $f; echo "Filename: ./$f"; echo "Size: $(stat -c %s $f)"; echo "SHA256: $(sha256sum $f | cut -d" " -f1)"; echo; done > Packages',
  )
}

export const steps: readonly Case[] = [
  ...forms,
  ...environment,
  ...users,
  ...changes,
  ...mounts,
  ...surroundings,
  bare,
  ...platforms,
  ...stages,
]
