//! What a file looks like from outside, and whether its end is there.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::libc::O_NONBLOCK;

/// What differs when another file is in the place of one, or other bytes in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Look {
    /// The file itself, without links on the way to it.
    pub(super) end: PathBuf,
    device: u64,
    inode: u64,
    length: u64,
    /// Seconds and nanoseconds; that of the inode cannot be set back as that of the contents.
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Look {
    /// Looks at a file, `end` of which is the real path; none if there is no regular file.
    pub(super) fn at(file: &Path, end: &Path) -> Option<Self> {
        let metadata = fs::metadata(file).ok()?;
        metadata.is_file().then(|| Self {
            end: end.to_owned(),
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }

    #[cfg(test)]
    pub(super) fn of_length(length: u64) -> Self {
        Self {
            end: PathBuf::new(),
            device: 0,
            inode: 0,
            length,
            modified: (0, 0),
            changed: (0, 0),
        }
    }
}

/// How many sections are looked at. No compiler makes as many.
const SECTIONS_MAX: u32 = 10_000;

/// Whether a file of WebAssembly ends where its last section does: if it does not, somebody is
/// still writing it, or it is none.
///
/// # Errors
/// It cannot be read.
pub(super) fn is_whole(file: &Path) -> io::Result<bool> {
    // One that became a FIFO meanwhile must not be waited for.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(O_NONBLOCK)
        .open(file)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok(false);
    }
    let length = metadata.len();
    ends_with_a_section(length, |bytes, at| file.read_at(bytes, at))
}

/// A module or component is eight bytes, and then sections: each one byte of its kind, its
/// length in LEB128, and so many bytes (WebAssembly Core Specification, 5.5).
fn ends_with_a_section(
    length: u64,
    mut read_at: impl FnMut(&mut [u8], u64) -> io::Result<usize>,
) -> io::Result<bool> {
    let mut magic = [0; 4];
    let read = read_at(&mut magic, 0)?;
    let mut at = 8;
    if length < at || magic[..read] != *b"\0asm" {
        return Ok(false);
    }
    for _ in 0..SECTIONS_MAX {
        if at >= length {
            return Ok(at == length);
        }
        let mut header = [0; 6];
        let read = read_at(&mut header, at)?;
        let Some((number, bytes)) = leb128(header.get(1..read).unwrap_or_default()) else {
            return Ok(false);
        };
        at += 1 + bytes + number;
    }
    Ok(true)
}

/// An unsigned number of up to 32 bits, and how many bytes it takes.
fn leb128(bytes: &[u8]) -> Option<(u64, u64)> {
    let mut number = 0;
    for (place, byte) in (0_u64..).zip(bytes) {
        number |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some((number, place + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_whole(bytes: &[u8]) -> bool {
        let read_at = |into: &mut [u8], at: u64| {
            let rest = bytes.get(at as usize..).unwrap_or_default();
            let count = rest.len().min(into.len());
            into[..count].copy_from_slice(&rest[..count]);
            Ok(count)
        };
        ends_with_a_section(bytes.len() as u64, read_at).unwrap()
    }

    #[test]
    fn a_module_is_whole_at_the_end_of_a_section_only() {
        let mut module = b"\0asm\x01\0\0\0".to_vec();
        let mut ends = vec![module.len()];
        // A custom section of 200 bytes, an empty one, and one whose length takes three bytes.
        for (header, length) in [
            (&[0, 0xc8, 0x01][..], 200),
            (&[7, 0], 0),
            (&[0, 0xa0, 0x9c, 0x01], 20_000),
        ] {
            module.extend(header);
            module.extend(vec![0xff; length]);
            ends.push(module.len());
        }
        for length in 0..=module.len() {
            let expected = ends.contains(&length);
            assert_eq!(is_whole(&module[..length]), expected, "{length}");
        }
        let longer = [&module[..], &[0]].concat();
        assert!(!is_whole(&longer));
    }

    #[test]
    fn what_is_no_webassembly_is_not_whole() {
        assert!(!is_whole(b""));
        assert!(!is_whole(b"not a module"));
        // A length that does not end, and one that is beyond all bounds.
        assert!(!is_whole(b"\0asm\x01\0\0\0\0\xff\xff\xff\xff\xff\xff"));
        assert!(!is_whole(b"\0asm\x01\0\0\0\0\xff\xff\xff\xff\x7f"));
    }

    #[test]
    fn a_file_of_nothing_but_sections_is_not_looked_at_for_ever() {
        let sections = [0, 0].repeat(SECTIONS_MAX as usize + 1);
        let bytes = [b"\0asm\x01\0\0\0", &sections[..], b"rest"].concat();
        assert!(is_whole(&bytes));
    }
}
