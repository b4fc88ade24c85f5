//! Files that cases name.

use std::fs;
use std::path::{Path, PathBuf};

use toml::de::DeValue;

use crate::document::string;

/// The path of a file that is there and regular: opening a FIFO would wait for its other end.
/// Relative ones begin at `base`; `mend` is said behind a file that is not there.
pub(super) fn file<'a>(
    base: &Path,
    example: &str,
    mend: &str,
) -> impl FnOnce(&'a DeValue<'a>) -> Result<PathBuf, String> {
    move |value| {
        let path = base.join(string(value, example)?);
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => Ok(path),
            Ok(_) => Err(format!("{} is not a regular file", path.display())),
            Err(_) => Err(format!("there is no file {}{mend}", path.display())),
        }
    }
}
