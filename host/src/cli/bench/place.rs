//! Where the profile goes: to its place when it is whole, and not at all if it does not come to
//! that. What stood there before stands there until then.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use super::BenchCliError;
use crate::runtime::Profile;

/// Where descriptors have names, as `/dev/stdout`.
const OF_DESCRIPTORS: [&str; 2] = ["/dev", "/proc"];

/// A place that can be written to, and is nothing that is read.
pub(super) struct Place {
    path: PathBuf,
    /// The file that another is put in place of; none where it is written to as it is: a pipe, a
    /// device, or a descriptor.
    file: Option<PathBuf>,
}

impl Place {
    /// Looks whether a profile can go there. Nothing is changed.
    ///
    /// # Errors
    /// It cannot, or it would overwrite one of the inputs.
    pub(super) fn find(path: &Path, inputs: &[PathBuf]) -> Result<Self, BenchCliError> {
        if let Some(input) = inputs.iter().find(|input| is_same(input, path)) {
            return Err(BenchCliError::IsInput {
                path: path.to_owned(),
                input: input.clone(),
            });
        }
        let unwritable = |source| unwritable(path, source);
        let place = Self {
            path: path.to_owned(),
            file: file(path).map_err(unwritable)?,
        };
        // Before the work, not after it, it is told that there is no place.
        if let Some(file) = &place.file {
            HalfMade::beside(file).map_err(unwritable)?;
        }
        Ok(place)
    }

    /// Writes the profile there.
    ///
    /// # Errors
    /// It cannot be written, or is not whole.
    pub(super) fn write(&self, profile: &Profile) -> Result<(), BenchCliError> {
        let unwritable = |source| unwritable(&self.path, source);
        let Some(file) = &self.file else {
            let direct = OpenOptions::new().append(true).open(&self.path);
            return self.fill(direct.map_err(unwritable)?, profile);
        };
        let (half_made, new) = HalfMade::beside(file).map_err(unwritable)?;
        self.fill(new, profile)?;
        half_made.place(file).map_err(unwritable)
    }

    fn fill(&self, file: File, profile: &Profile) -> Result<(), BenchCliError> {
        let mut output = BufWriter::new(file);
        let written = profile.write(&mut output);
        written.map_err(|error| BenchCliError::Profile {
            path: self.path.clone(),
            error,
        })?;
        let flushed = output.flush();
        flushed.map_err(|source| unwritable(&self.path, source))
    }
}

fn unwritable(path: &Path, source: io::Error) -> BenchCliError {
    BenchCliError::Unwritable {
        path: path.to_owned(),
        source,
    }
}

/// Whether two paths are the same file or pipe, however they are spelled. A device, as a
/// terminal, can be read and written at once.
fn is_same(one: &Path, other: &Path) -> bool {
    let place = |path: &Path| {
        let metadata = fs::metadata(path).ok()?;
        let is_device = metadata.file_type().is_char_device();
        (!is_device).then(|| (metadata.dev(), metadata.ino()))
    };
    place(one).is_some_and(|one| Some(one) == place(other))
}

/// The file that a path leads to, or none where it leads to something else.
fn file(path: &Path) -> io::Result<Option<PathBuf>> {
    let known = match fs::metadata(path) {
        Ok(known) => known,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Some(path.to_owned()));
        }
        Err(error) => return Err(error),
    };
    if known.is_dir() {
        return Err(io::Error::from(io::ErrorKind::IsADirectory));
    }
    if !known.is_file() {
        return Ok(None);
    }
    // A link goes on leading there.
    let file = path.canonicalize()?;
    let mut of_descriptors = OF_DESCRIPTORS.iter();
    let is_descriptor = of_descriptors.any(|dir| path.starts_with(dir) && !file.starts_with(dir));
    Ok((!is_descriptor).then_some(file))
}

/// A file that is being written. Nothing is left of it unless it comes to its place.
struct HalfMade(PathBuf);

impl HalfMade {
    /// Begins one in the directory of another, with what may be done with that.
    fn beside(file: &Path) -> io::Result<(Self, File)> {
        if file.file_name().is_none() {
            return Err(io::Error::from(io::ErrorKind::IsADirectory));
        }
        let process = std::process::id();
        let now = UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos();
        let path = file.with_file_name(format!(".ipqext-profile-{process}-{now}"));
        // Never through a link that somebody else put there.
        let new = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)?;
        let half_made = Self(path);
        if let Ok(old) = fs::metadata(file) {
            new.set_permissions(old.permissions())?;
        }
        Ok((half_made, new))
    }

    fn place(self, file: &Path) -> io::Result<()> {
        fs::rename(&self.0, file)
    }
}

impl Drop for HalfMade {
    fn drop(&mut self) {
        // Once it is in its place nothing has its name any more.
        let _ = fs::remove_file(&self.0);
    }
}
