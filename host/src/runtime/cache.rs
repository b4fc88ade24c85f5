//! Compiled code that is kept from one start to the next.
//!
//! Whoever can write into the directory can run any code as this process: wasmtime takes
//! compiled code as it is. So the directory has to be ours, and nobody else's to write;
//! and a file whose checksum is wrong is not taken.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use super::compiled::Hash;

/// The most files that are kept; beyond it the ones that were made longest ago go.
const FILES_MAX: usize = 256;
/// How long the checksum is that a file ends with.
const CHECKSUM_BYTES: usize = 32;
/// What files end with, and what they end with while they are written.
const EXTENSION: &str = "cwasm";
const UNFINISHED: &str = "tmp";
/// After so long nobody goes on writing a file: whoever began has been killed.
const UNFINISHED_MAX: Duration = Duration::from_secs(3600);

/// Why a directory is not used for compiled code.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// It is no directory that could be used.
    #[error("cannot use {} for compiled code: {source}", path.display())]
    Unusable {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Somebody else could put code there.
    #[error(
        "{} is not used for compiled code: {why}, so others could have this daemon run code of \
         theirs; type: chown {user} {0} && chmod 700 {0}",
        path.display()
    )]
    Unsafe {
        /// Which.
        path: PathBuf,
        /// Who else can write there.
        why: String,
        /// The user whose it should be.
        user: u32,
    },
}

/// A directory of compiled code.
#[derive(Clone, Debug)]
pub struct CodeCache {
    dir: PathBuf,
}

impl CodeCache {
    /// Where compiled code is kept unless the operator says otherwise:
    /// `$XDG_CACHE_HOME/ipqext`, for root `/var/cache/ipqext`, for others
    /// `$HOME/.cache/ipqext` (XDG Base Directory Specification). `None` where there is
    /// no such place.
    pub fn usual_place() -> Option<PathBuf> {
        let variable = |name| {
            let path = std::env::var_os(name).map(PathBuf::from);
            path.filter(|path| path.is_absolute())
        };
        let caches = variable("XDG_CACHE_HOME").or_else(|| {
            if nix::unistd::geteuid().is_root() {
                return Some(PathBuf::from("/var/cache"));
            }
            variable("HOME").map(|home| home.join(".cache"))
        });
        caches.map(|caches| caches.join("ipqext"))
    }

    /// Takes a directory, and makes it if it is not there.
    ///
    /// # Errors
    /// It cannot be used, or others can write there.
    pub fn open(dir: &Path) -> Result<Self, CacheError> {
        let unusable = |source| CacheError::Unusable {
            path: dir.to_owned(),
            source,
        };
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(dir).map_err(|error| {
            unusable(match error.kind() {
                // There is something, and no directory.
                io::ErrorKind::AlreadyExists => io::ErrorKind::NotADirectory.into(),
                _ => error,
            })
        })?;
        // The directory itself, not what a link of somebody's points to.
        let metadata = fs::symlink_metadata(dir).map_err(unusable)?;
        if !metadata.is_dir() {
            return Err(unusable(io::ErrorKind::NotADirectory.into()));
        }
        let path = dir.to_owned();
        match who_else(&metadata) {
            None => Ok(Self { dir: path }),
            Some(why) => Err(CacheError::Unsafe {
                path,
                why,
                user: nix::unistd::geteuid().as_raw(),
            }),
        }
    }

    /// The code of a `.wasm` file, if it was kept and is as it was.
    pub(super) fn load(&self, engine: &Engine, hash: &Hash) -> Option<Component> {
        let path = self.path(engine, hash);
        let (file, bytes) = match read(&path) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %path.display(), error = %error,
                    "compiled code cannot be read, it is compiled again");
                return None;
            }
        };
        let whole = bytes
            .len()
            .checked_sub(CHECKSUM_BYTES)
            .map(|length| bytes.split_at(length))
            .is_some_and(|(code, checksum)| Sha256::digest(code)[..] == *checksum);
        drop(bytes);
        // From the file itself, so that what is not used of it takes no memory; and from the
        // one that was looked at, whatever stands at the path by now.
        let same = format!("/proc/self/fd/{}", file.as_raw_fd());
        // SAFETY: the file is ours alone to write, nobody writes into one that is finished,
        // and the code is, by its checksum, what `store` got from wasmtime and put there.
        // What stands behind it is not read.
        let component = whole
            .then(|| unsafe { Component::deserialize_file(engine, same) }.ok())
            .flatten();
        if component.is_none() {
            tracing::warn!(path = %path.display(),
                "compiled code is damaged, it is compiled again");
        }
        component
    }

    /// Keeps the code of a `.wasm` file. Where that cannot be it is said, and no harm.
    pub(super) fn store(&self, engine: &Engine, hash: &Hash, component: &Component) {
        let path = self.path(engine, hash);
        let code = match component.serialize() {
            Ok(code) => code,
            Err(error) => {
                tracing::warn!(error = %error, "compiled code cannot be kept");
                return;
            }
        };
        if let Err(error) = self.write(&path, &code).and_then(|()| self.prune()) {
            tracing::warn!(path = %path.display(), error = %error, "compiled code cannot be kept");
        }
    }

    /// All that the code depends on is in the name: the file, and how it is compiled.
    fn path(&self, engine: &Engine, hash: &Hash) -> PathBuf {
        use std::hash::{DefaultHasher, Hash as _, Hasher};
        let mut compiler = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut compiler);
        // What turns a module into a component is part of this program.
        env!("CARGO_PKG_VERSION").hash(&mut compiler);
        let compiler = compiler.finish();
        self.dir.join(format!("{hash}-{compiler:016x}.{EXTENSION}"))
    }

    /// Another process finds all of the file, or none. Its code is run where it stands in
    /// the file: so nobody may write into one that another has begun, also not where both
    /// have the same number, each in a container of its own.
    fn write(&self, path: &Path, code: &[u8]) -> io::Result<()> {
        let process = std::process::id();
        let now = UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos();
        let unfinished = path.with_extension(format!("{process}-{now}.{UNFINISHED}"));
        let mut options = OpenOptions::new();
        let options = options.write(true).create_new(true).mode(0o600);
        let mut file = options.open(&unfinished)?;
        let mut write = || {
            file.write_all(code)?;
            file.write_all(&Sha256::digest(code))?;
            fs::rename(&unfinished, path)
        };
        write().inspect_err(|_| {
            // Where it cannot be removed now, it is once it is old.
            let _ = fs::remove_file(&unfinished);
        })
    }

    /// Removes the oldest files beyond the limit, and what was never finished.
    fn prune(&self) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.dir)?.flatten() {
            let path = entry.path();
            // Another daemon may have removed it meanwhile.
            let Ok(made) = entry.metadata().and_then(|metadata| metadata.modified()) else {
                continue;
            };
            if path.extension().is_some_and(|end| end == EXTENSION) {
                files.push((made, path));
            } else if path.extension().is_some_and(|end| end == UNFINISHED)
                && made.elapsed().is_ok_and(|age| age > UNFINISHED_MAX)
            {
                remove(&path)?;
            }
        }
        files.sort();
        let excess = files.len().saturating_sub(FILES_MAX);
        files[..excess]
            .iter()
            .try_for_each(|(_, path)| remove(path))
    }
}

/// Removes a file that another daemon may remove as well.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Who else than this user can write a file or directory, if anybody can.
fn who_else(metadata: &Metadata) -> Option<String> {
    if metadata.uid() != nix::unistd::geteuid().as_raw() {
        Some(format!("it belongs to user {}", metadata.uid()))
    } else if metadata.mode() & 0o022 != 0 {
        Some(format!("its mode is {:o}", metadata.mode() & 0o7777))
    } else {
        None
    }
}

/// Reads a file that nobody else can write. The directory was looked at when it was
/// opened: whoever owns one above it may have put another in its place since.
fn read(path: &Path) -> io::Result<(File, Vec<u8>)> {
    let mut options = OpenOptions::new();
    let mut file: File = options
        .read(true)
        .custom_flags(nix::libc::O_NOFOLLOW)
        .open(path)?;
    let metadata = file.metadata()?;
    if let Some(why) = who_else(&metadata) {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    let mut bytes = Vec::with_capacity(metadata.len() as usize);
    file.read_to_end(&mut bytes)?;
    Ok((file, bytes))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;
    use crate::runtime::Runtime;

    /// A component without anything in it.
    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

    fn runtime() -> Runtime {
        Runtime::new().unwrap()
    }

    fn files(cache: &CodeCache) -> Vec<PathBuf> {
        let entries = fs::read_dir(&cache.dir).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    #[test]
    fn what_is_kept_is_found_again_unless_the_file_or_the_compiler_is_another() {
        let place = tempfile::tempdir().unwrap();
        let cache = CodeCache::open(&place.path().join("a/b")).unwrap();
        let engine = runtime().engine;
        let (hash, other) = (Hash::of(b"one"), Hash::of(b"other"));
        assert!(cache.load(&engine, &hash).is_none());
        let component = Component::new(&engine, EMPTY).unwrap();
        cache.store(&engine, &hash, &component);
        assert!(cache.load(&engine, &hash).is_some());
        assert!(cache.load(&engine, &other).is_none());
        assert!(cache.load(&Engine::default(), &hash).is_none());
        let [file] = &files(&cache)[..] else {
            panic!("one file, and nothing unfinished");
        };
        assert_eq!(fs::metadata(file).unwrap().mode() & 0o777, 0o600);
        let dir = fs::metadata(place.path().join("a/b")).unwrap();
        assert_eq!(dir.mode() & 0o777, 0o700);
    }

    #[test]
    fn a_spoiled_file_is_not_taken_whatever_is_wrong_with_it() {
        let place = tempfile::tempdir().unwrap();
        let cache = CodeCache::open(&place.path().join("c")).unwrap();
        let engine = runtime().engine;
        let hash = Hash::of(b"one");
        let component = Component::new(&engine, EMPTY).unwrap();
        cache.store(&engine, &hash, &component);
        let path = cache.path(&engine, &hash);
        let good = fs::read(&path).unwrap();
        let mut flipped = good.clone();
        flipped[good.len() / 2] ^= 1;
        for bad in [&[], &good[..10], &good[..good.len() - 1], &flipped] {
            fs::write(&path, bad).unwrap();
            assert!(cache.load(&engine, &hash).is_none());
        }
        // Right by its checksum, and no code at all.
        let mut nonsense = b"nonsense".to_vec();
        nonsense.extend(Sha256::digest(b"nonsense"));
        fs::write(&path, nonsense).unwrap();
        assert!(cache.load(&engine, &hash).is_none());
        cache.store(&engine, &hash, &component);
        assert!(cache.load(&engine, &hash).is_some());
    }

    #[test]
    fn a_file_that_others_can_write_is_not_taken_though_it_is_as_it_was() {
        let place = tempfile::tempdir().unwrap();
        let cache = CodeCache::open(&place.path().join("c")).unwrap();
        let engine = runtime().engine;
        let hash = Hash::of(b"one");
        let component = Component::new(&engine, EMPTY).unwrap();
        cache.store(&engine, &hash, &component);
        let path = cache.path(&engine, &hash);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o622)).unwrap();
        assert!(cache.load(&engine, &hash).is_none());
        // As where the directory was exchanged for another user's.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        if std::os::unix::fs::chown(&path, Some(65534), None).is_ok() {
            assert!(cache.load(&engine, &hash).is_none());
        }
        cache.store(&engine, &hash, &component);
        assert!(cache.load(&engine, &hash).is_some());
    }

    #[test]
    fn a_directory_where_others_can_write_is_refused_and_said_how_to_mend() {
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().join("open");
        fs::create_dir(&dir).unwrap();
        for mode in [0o777, 0o770, 0o702] {
            fs::set_permissions(&dir, fs::Permissions::from_mode(mode)).unwrap();
            let error = CodeCache::open(&dir).unwrap_err().to_string();
            assert!(error.contains(&format!("its mode is {mode:o}")), "{error}");
            assert!(error.contains("chmod 700"), "{error}");
        }
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
        CodeCache::open(&dir).unwrap();

        let link = place.path().join("link");
        symlink(&dir, &link).unwrap();
        let error = CodeCache::open(&link).unwrap_err();
        assert!(matches!(error, CacheError::Unusable { .. }), "{error}");
        let file = place.path().join("file");
        fs::write(&file, b"").unwrap();
        let error = CodeCache::open(&file).unwrap_err();
        assert!(matches!(error, CacheError::Unusable { .. }), "{error}");
        assert!(error.to_string().contains("not a directory"), "{error}");
    }

    #[test]
    fn the_oldest_files_go_when_there_are_too_many() {
        let place = tempfile::tempdir().unwrap();
        let cache = CodeCache::open(&place.path().join("c")).unwrap();
        for number in 0..FILES_MAX + 3 {
            let path = cache.dir.join(format!("{number}.{EXTENSION}"));
            let file = File::create(path).unwrap();
            let made = UNIX_EPOCH + std::time::Duration::from_secs(number as u64);
            file.set_modified(made).unwrap();
        }
        fs::write(cache.dir.join("not-ours"), b"").unwrap();
        // Of a daemon that was killed, and of one that is at it.
        let unfinished = ["1.tmp", "2.tmp"].map(|name| cache.dir.join(name));
        let [dead, _] = unfinished
            .each_ref()
            .map(|path| File::create(path).unwrap());
        dead.set_modified(UNIX_EPOCH).unwrap();
        cache.prune().unwrap();
        let left = files(&cache);
        assert!(!left.contains(&unfinished[0]) && left.contains(&unfinished[1]));
        assert_eq!(left.len(), FILES_MAX + 2);
        for gone in 0..3 {
            assert!(!left.contains(&cache.dir.join(format!("{gone}.{EXTENSION}"))));
        }
    }
}
