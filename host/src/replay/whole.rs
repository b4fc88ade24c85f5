//! Files that are written whole, or not at all.

use std::fs::{self, File, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::output::OutputError;

/// What is written at a time.
const BUFFER: usize = 256 << 10;

/// A file that is written. It comes to its place when it is whole; if it does not come to
/// that, nothing is left of it.
pub(super) struct Sink {
    path: PathBuf,
    file: BufWriter<Target>,
}

enum Target {
    /// Beside its place until then.
    HalfMade { file: NamedTempFile, place: PathBuf },
    /// The standard output, a pipe or a device: what is written is gone.
    Gone(Box<dyn Write + Send>),
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::HalfMade { file, .. } => file.write(bytes),
            Self::Gone(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::HalfMade { file, .. } => file.flush(),
            Self::Gone(file) => file.flush(),
        }
    }
}

impl Target {
    fn open(path: &Path) -> io::Result<Self> {
        if path.as_os_str() == "-" {
            return Ok(Self::Gone(Box::new(io::stdout())));
        }
        // What a link leads to is written, and not the link.
        let place = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let known = fs::metadata(&place).ok();
        let is_regular = known.as_ref().is_none_or(fs::Metadata::is_file);
        let is_of_system = ["/dev", "/proc"].iter().any(|dir| path.starts_with(dir));
        if !is_regular || is_of_system {
            let file = File::options().write(true).open(path)?;
            return Ok(Self::Gone(Box::new(file)));
        }
        let name = place.file_name().ok_or(io::ErrorKind::IsADirectory)?;
        let dir = match place.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir,
            _ => Path::new("."),
        };
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(".");
        // As the file that it takes the place of, or as any new file.
        let mode = known.map_or(0o666, |known| known.mode() & 0o777);
        let file = tempfile::Builder::new()
            .prefix(&hidden)
            .permissions(Permissions::from_mode(mode))
            .tempfile_in(dir)?;
        Ok(Self::HalfMade { file, place })
    }
}

impl Sink {
    pub(super) fn create(path: &Path) -> Result<Self, OutputError> {
        let target = Target::open(path);
        let target = target.map_err(|source| OutputError::writing(path, source))?;
        Ok(Self {
            path: path.to_owned(),
            file: BufWriter::with_capacity(BUFFER, target),
        })
    }

    /// Does something with the file.
    pub(super) fn does(
        &mut self,
        work: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), OutputError> {
        work(&mut self.file).map_err(|source| OutputError::writing(&self.path, source))
    }

    /// Nothing more is written. It is not in its place yet.
    pub(super) fn close(mut self) -> Result<Written, OutputError> {
        self.does(|file| file.flush())?;
        let Self { path, file } = self;
        let (target, _) = file.into_parts();
        Ok(Written { path, target })
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// A file that is whole, and goes to its place if all others are, too.
pub(super) struct Written {
    path: PathBuf,
    target: Target,
}

impl Written {
    /// Puts it in its place.
    pub(super) fn place(self) -> Result<(), OutputError> {
        let Self { path, target } = self;
        match target {
            Target::Gone(_) => Ok(()),
            Target::HalfMade { file, place } => match file.persist(&place) {
                Ok(_) => Ok(()),
                Err(error) => Err(OutputError::writing(&path, error.error)),
            },
        }
    }
}

/// Whether two paths are the same file, also one that is not there yet. Two ends of a pipe or
/// device are not, if they are named otherwise.
pub(super) fn is_same(one: &Path, other: &Path) -> bool {
    let known = |path: &Path| {
        let metadata = fs::metadata(path).ok()?;
        metadata.is_file().then(|| (metadata.dev(), metadata.ino()))
    };
    let place = |path: &Path| {
        let dir = match path.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir,
            _ => Path::new("."),
        };
        Some((fs::canonicalize(dir).ok()?, path.file_name()?.to_owned()))
    };
    let is_device = |path| fs::metadata(path).is_ok_and(|file| file.file_type().is_char_device());
    match (known(one), known(other)) {
        (Some(one), Some(other)) => one == other,
        (None, None) if one == other => !is_device(one),
        (None, None) => place(one).is_some_and(|one| Some(one) == place(other)),
        _ => false,
    }
}
