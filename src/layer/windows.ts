import type { TarEntry } from '../tar/entry.ts'

/**
 * Windows layers keep the files below Files/, the registry below Hives/, and what NTFS knows in PAX records. Values as
 * BuildKit writes them (util/winlayers): the security descriptors are those that Windows gives new files of the
 * administrators' group, O:BAG:SYD:(A;OICI;FA;;;BA)(A;OICI;FA;;;SY)(A;;FA;;;BA)(A;OICIIO;GA;;;CO)(A;OICI;0x1200a9;;;BU)
 * (A;CI;LC;;;BU)(A;CI;DC;;;BU) for directories, O:BAG:SYD:(A;;FA;;;BA)(A;;FA;;;SY)(A;;0x1200a9;;;BU) for files.
 */
const SECURITY = {
  dir:
    'AQAEgBQAAAAkAAAAAAAAADAAAAABAgAAAAAABSAAAAAgAgAAAQEAAAAAAAUSAAAAAgCoAAcAAAAAAxgA/wEfAAECAAAAAAAFIAAAACACAAAAAxQA' +
    '/wEfAAEBAAAAAAAFEgAAAAAAGAD/AR8AAQIAAAAAAAUgAAAAIAIAAAALFAAAAAAQAQEAAAAAAAMAAAAAAAMYAKkAEgABAgAAAAAABSAAAAAhAgAA' +
    'AAIYAAQAAAABAgAAAAAABSAAAAAhAgAAAAIYAAIAAAABAgAAAAAABSAAAAAhAgAA',
  file:
    'AQAEgBQAAAAkAAAAAAAAADAAAAABAgAAAAAABSAAAAAgAgAAAQEAAAAAAAUSAAAAAgBMAAMAAAAAABgA/wEfAAECAAAAAAAFIAAAACACAAAAABQA' +
    '/wEfAAEBAAAAAAAFEgAAAAAAGACpABIAAQIAAAAAAAUgAAAAIQIAAA==',
} as const

/** FILE_ATTRIBUTE_DIRECTORY and FILE_ATTRIBUTE_ARCHIVE. */
const ATTRIBUTES = { dir: '16', file: '32' } as const
/** S_IFDIR and S_IFREG, which stand in the mode field of windows layers. */
const MODE = { dir: 0o40000, file: 0o100000 } as const

/** The two directories that every windows layer begins with. */
export function windowsTop(mtime: number): readonly TarEntry[] {
  const top = { type: 'dir', mode: MODE.dir, uid: 0, gid: 0, size: 0, mtime } as const
  const pax = { 'MSWINDOWS.fileattr': ATTRIBUTES.dir, 'LIBARCHIVE.creationtime': `${mtime}.0` }
  return [
    { path: 'Hives', ...top, pax },
    { path: 'Files', ...top, pax },
  ]
}

/** The entry as it stands in a windows layer; a security descriptor that it has from its base stays. */
export function asWindows(entry: TarEntry): TarEntry {
  const type = entry.type === 'dir' || entry.type === 'file' ? entry.type : undefined
  return {
    ...entry,
    path: `Files/${entry.path}`,
    mode: entry.mode | (type === undefined ? 0 : MODE[type]),
    ...(entry.type === 'hardlink' && { link: `Files/${entry.link}` }),
    pax: {
      ...(type && { 'MSWINDOWS.fileattr': ATTRIBUTES[type], 'MSWINDOWS.rawsd': SECURITY[type] }),
      ...entry.pax,
      'LIBARCHIVE.creationtime': `${Math.floor(entry.mtime)}.0`,
    },
  }
}
