//! Parameters of extensions, as operators give them: a text, or the file that has it.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The longest file of parameters that is read, in bytes.
const FILE_BYTES_MAX: usize = 1 << 20;

/// Why parameters cannot be had from a file.
#[derive(Debug, thiserror::Error)]
pub enum ParamsError {
    /// It cannot be read.
    #[error(
        "cannot read the parameters from {}: {source} \
         (a text that begins with `@` is written with `@@`)",
        file.display()
    )]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Nothing stands behind the `@`.
    #[error(
        "`@` stands alone: give a file as @FILE, or @- for the standard input \
         (a text that begins with `@` is written with `@@`)"
    )]
    NoFile,
    /// It is longer than the daemon would take.
    #[error("the parameters in {} are longer than {FILE_BYTES_MAX} bytes", file.display())]
    TooLong {
        /// The file.
        file: PathBuf,
    },
    /// It is no text.
    #[error("the parameters in {} are not UTF-8, from byte {at} on", file.display())]
    NotUtf8 {
        /// The file.
        file: PathBuf,
        /// How many bytes before it are.
        at: usize,
    },
}

/// The parameters that an argument stands for: `@FILE` for what is in the file,
/// `@-` for the standard input, `@@x` for `@x`, and any other for itself.
///
/// # Errors
/// The file cannot be read, is no text, or is too long.
pub fn expand(argument: String) -> Result<String, ParamsError> {
    match argument.strip_prefix('@') {
        None => Ok(argument),
        Some("") => Err(ParamsError::NoFile),
        Some("-") => read(PathBuf::from("the standard input"), Ok(io::stdin())),
        Some(rest) if rest.starts_with('@') => Ok(rest.to_owned()),
        Some(path) => read(PathBuf::from(path), File::open(path)),
    }
}

/// The parameters in a file that a configuration names.
///
/// # Errors
/// It is no regular file, cannot be read, is no text, or is too long: what is wrong.
pub(crate) fn of_file(path: &Path) -> Result<String, String> {
    let cannot = |error: io::Error| format!("cannot read {}: {error}", path.display());
    // Opening a FIFO would wait for its other end.
    if !std::fs::metadata(path).map_err(cannot)?.is_file() {
        return Err(cannot(io::Error::other("it is not a regular file")));
    }
    read(path.to_owned(), File::open(path)).map_err(|error| match error {
        ParamsError::Unreadable { source, .. } => cannot(source),
        other => other.to_string(),
    })
}

fn read(file: PathBuf, opened: io::Result<impl Read>) -> Result<String, ParamsError> {
    let mut bytes = Vec::new();
    let read = opened.and_then(|reader| {
        reader
            .take(FILE_BYTES_MAX as u64 + 1)
            .read_to_end(&mut bytes)
    });
    if let Err(source) = read {
        return Err(ParamsError::Unreadable { file, source });
    }
    if bytes.len() > FILE_BYTES_MAX {
        return Err(ParamsError::TooLong { file });
    }
    String::from_utf8(bytes).map_err(|error| ParamsError::NotUtf8 {
        at: error.utf8_error().valid_up_to(),
        file,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_at_sign_makes_it_a_file() {
        let expanded = |text: &str| expand(text.to_owned()).unwrap();
        for text in ["", "every=2", "a@b", "-5"] {
            assert_eq!(expanded(text), text);
        }
        assert_eq!(expanded("@@home"), "@home");
        assert_eq!(expanded("@@@"), "@@");
    }

    #[test]
    fn a_file_is_given_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let text = "# a comment\ndrop udp\n\nevery=2\n";
        assert_eq!(expand(file(&dir, text.as_bytes())).unwrap(), text);
        assert_eq!(expand(file(&dir, b"")).unwrap(), "");
        let longest = "x".repeat(FILE_BYTES_MAX);
        assert_eq!(expand(file(&dir, longest.as_bytes())).unwrap(), longest);
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = expand("@/missing/rules".to_owned()).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("/missing/rules: No such file"), "{text}");
        assert!(text.contains("`@@`"), "{text}");
        let error = expand("@/".to_owned()).unwrap_err();
        assert!(error.to_string().contains("Is a directory"), "{error}");
        assert!(matches!(expand("@".to_owned()), Err(ParamsError::NoFile)));
    }

    #[test]
    fn what_is_no_text_or_too_long_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let error = expand(file(&dir, b"abc\xffdef")).unwrap_err();
        assert!(error.to_string().ends_with("not UTF-8, from byte 3 on"));
        let error = expand(file(&dir, &vec![b'x'; FILE_BYTES_MAX + 1])).unwrap_err();
        assert!(error.to_string().ends_with("longer than 1048576 bytes"));
        // It has no end, and is read no further than that.
        let error = expand("@/dev/zero".to_owned()).unwrap_err();
        assert!(matches!(error, ParamsError::TooLong { .. }));
    }

    fn file(dir: &tempfile::TempDir, bytes: &[u8]) -> String {
        let path = dir.path().join("params");
        std::fs::write(&path, bytes).unwrap();
        format!("@{}", path.display())
    }
}
