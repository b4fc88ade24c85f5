//! Real directories, and how their files come to change.

use super::*;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;

use tokio::sync::mpsc::{UnboundedReceiver, error::TryRecvError, unbounded_channel};

/// A small module, told from others by a number.
fn module(number: u8) -> Vec<u8> {
    [b"\0asm\x01\0\0\0", &[0, 2, 1, number][..]].concat()
}

/// A directory with one file, and somebody who watches it.
struct Watched {
    dir: tempfile::TempDir,
    events: UnboundedReceiver<Event>,
    _watching: Watching,
}

impl Watched {
    /// Watches the directory `ext` after it has been prepared.
    fn new(prepare: impl FnOnce(&Path)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        prepare(dir.path());
        let registry = Registry::open(&dir.path().join("ext")).unwrap();
        let (sender, events) = unbounded_channel();
        let watching = FileWatcher::subscribe(&registry).watch(sender).unwrap();
        Self {
            dir,
            events,
            _watching: watching,
        }
    }

    /// With a directory that has `a.wasm`.
    fn plain() -> Self {
        Self::new(|dir| {
            fs::create_dir(dir.join("ext")).unwrap();
            fs::write(dir.join("ext/a.wasm"), module(0)).unwrap();
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// All that is told within some time.
    fn told_within(&mut self, time: Duration) -> Vec<String> {
        let until = Instant::now() + time;
        let mut told = Vec::new();
        while Instant::now() < until {
            match self.events.try_recv() {
                Ok(Event::Notice(Notice::FileChanged(file))) => {
                    let file = file.strip_prefix(self.dir.path()).unwrap().to_owned();
                    told.push(file.to_str().unwrap().to_owned());
                }
                Ok(_) => panic!("another event"),
                Err(TryRecvError::Empty) => thread::sleep(Duration::from_millis(5)),
                Err(TryRecvError::Disconnected) => panic!("the watcher has ended"),
            }
        }
        told
    }

    /// All that is told until there was something, and then nothing more for a while.
    fn told(&mut self) -> Vec<String> {
        let until = Instant::now() + Duration::from_secs(20);
        let mut told = Vec::new();
        while told.is_empty() && Instant::now() < until {
            told = self.told_within(Duration::from_millis(20));
        }
        told.extend(self.told_within(REST + Duration::from_millis(300)));
        told
    }

    /// All that is told for a while in which what inotify says would be.
    fn told_soon(&mut self) -> Vec<String> {
        self.told_within(REST + GATHER + Duration::from_millis(400))
    }
}

#[test]
fn nothing_is_told_of_files_as_they_are_and_of_reading_them() {
    let mut watched = Watched::plain();
    fs::read(watched.path("ext/a.wasm")).unwrap();
    fs::write(watched.path("ext/notes.txt"), b"text").unwrap();
    assert_eq!(watched.told_soon(), [""; 0]);
}

#[test]
fn each_way_to_change_a_file_is_told_once() {
    let mut watched = Watched::plain();
    let file = watched.path("ext/a.wasm");
    // As cp does.
    fs::write(&file, module(1)).unwrap();
    assert_eq!(watched.told(), ["ext/a.wasm"]);
    // As mv does.
    fs::write(watched.path("other"), module(2)).unwrap();
    fs::rename(watched.path("other"), &file).unwrap();
    assert_eq!(watched.told(), ["ext/a.wasm"]);
    // As cargo does: it links what it built elsewhere.
    fs::write(watched.path("built"), module(3)).unwrap();
    fs::remove_file(&file).unwrap();
    fs::hard_link(watched.path("built"), &file).unwrap();
    assert_eq!(watched.told(), ["ext/a.wasm"]);
    // As cp -p and rsync -t do: as long, and as old.
    let modified = fs::metadata(&file).unwrap().modified().unwrap();
    fs::write(&file, module(4)).unwrap();
    let opened = File::options().write(true).open(&file).unwrap();
    opened.set_modified(modified).unwrap();
    drop(opened);
    assert_eq!(watched.told(), ["ext/a.wasm"]);
    // A new file.
    fs::write(watched.path("ext/b.wasm"), module(5)).unwrap();
    assert_eq!(watched.told(), ["ext/b.wasm"]);
}

#[test]
fn a_file_that_is_deleted_is_not_told_of_until_it_is_back() {
    let mut watched = Watched::plain();
    let file = watched.path("ext/a.wasm");
    fs::remove_file(&file).unwrap();
    assert_eq!(watched.told_soon(), [""; 0]);
    fs::write(&file, module(0)).unwrap();
    assert_eq!(watched.told(), ["ext/a.wasm"]);
}

#[test]
fn a_file_that_comes_in_pieces_is_told_of_at_its_end() {
    let mut watched = Watched::plain();
    let file = watched.path("ext/a.wasm");
    let whole = [&module(1)[..], &[0, 40], &[0; 40]].concat();
    fs::write(&file, b"").unwrap();
    for piece in whole.chunks(2) {
        let mut appended = File::options().append(true).open(&file).unwrap();
        appended.write_all(piece).unwrap();
        drop(appended);
        // Longer than one that is all there has to rest; and the first pieces are a module.
        let told = watched.told_within(Duration::from_millis(100));
        assert_eq!(told, [""; 0]);
    }
    assert_eq!(watched.told(), ["ext/a.wasm"]);
}

#[test]
fn a_file_that_is_open_for_writing_is_told_of_when_it_is_closed() {
    let mut watched = Watched::plain();
    let mut open = File::create(watched.path("ext/a.wasm")).unwrap();
    open.write_all(&module(1)).unwrap();
    // It is a whole module, and yet there is more to come.
    assert_eq!(watched.told_soon(), [""; 0]);
    open.write_all(&[0, 1, 0]).unwrap();
    assert_eq!(watched.told_soon(), [""; 0]);
    drop(open);
    assert_eq!(watched.told(), ["ext/a.wasm"]);
}

#[test]
fn one_that_stays_a_piece_is_told_of_after_some_time() {
    let mut watched = Watched::plain();
    fs::write(watched.path("ext/a.wasm"), &module(1)[..7]).unwrap();
    assert_eq!(watched.told_soon(), [""; 0]);
    assert_eq!(watched.told(), ["ext/a.wasm"]);
}

#[test]
fn links_are_followed_to_wherever_they_lead() {
    // As Kubernetes mounts directories: `..data` is moved.
    let mut watched = Watched::new(|dir| {
        for (version, number) in [("ext/one", 1), ("ext/two", 2)] {
            fs::create_dir_all(dir.join(version)).unwrap();
            fs::write(dir.join(version).join("a.wasm"), module(number)).unwrap();
        }
        symlink("one", dir.join("ext/..data")).unwrap();
        symlink("..data/a.wasm", dir.join("ext/a.wasm")).unwrap();
        fs::create_dir(dir.join("built")).unwrap();
        fs::write(dir.join("built/b.wasm"), module(3)).unwrap();
        symlink(dir.join("built/b.wasm"), dir.join("ext/b.wasm")).unwrap();
    });
    symlink("two", watched.path("ext/..data_tmp")).unwrap();
    fs::rename(watched.path("ext/..data_tmp"), watched.path("ext/..data")).unwrap();
    assert_eq!(watched.told(), ["ext/a.wasm"]);
    // What a link leads to, in another directory.
    fs::write(watched.path("built/tmp"), module(4)).unwrap();
    fs::rename(watched.path("built/tmp"), watched.path("built/b.wasm")).unwrap();
    assert_eq!(watched.told(), ["ext/b.wasm"]);
    // As ln -sfn does, to a third directory; and what is there then.
    fs::create_dir(watched.path("third")).unwrap();
    fs::write(watched.path("third/b.wasm"), module(5)).unwrap();
    symlink(watched.path("third/b.wasm"), watched.path("tmp")).unwrap();
    fs::rename(watched.path("tmp"), watched.path("ext/b.wasm")).unwrap();
    assert_eq!(watched.told(), ["ext/b.wasm"]);
    fs::write(watched.path("third/b.wasm"), module(6)).unwrap();
    assert_eq!(watched.told(), ["ext/b.wasm"]);
    // Where nothing leads any more nothing is heard.
    fs::write(watched.path("built/b.wasm"), module(7)).unwrap();
    assert_eq!(watched.told_soon(), [""; 0]);
}

#[test]
fn the_directory_itself_may_be_a_link_that_is_led_elsewhere() {
    let mut watched = Watched::new(|dir| {
        for (version, number) in [("one", 1), ("two", 2)] {
            fs::create_dir(dir.join(version)).unwrap();
            fs::write(dir.join(version).join("a.wasm"), module(number)).unwrap();
        }
        symlink("one", dir.join("ext")).unwrap();
    });
    symlink("two", watched.path("tmp")).unwrap();
    fs::rename(watched.path("tmp"), watched.path("ext")).unwrap();
    assert_eq!(watched.told(), ["ext/a.wasm"]);
    fs::write(watched.path("two/a.wasm"), module(3)).unwrap();
    assert_eq!(watched.told(), ["ext/a.wasm"]);
    fs::write(watched.path("one/a.wasm"), module(4)).unwrap();
    assert_eq!(watched.told_soon(), [""; 0]);
}

#[test]
fn a_directory_that_is_replaced_or_removed_is_watched_again() {
    let mut watched = Watched::plain();
    let (dir, old) = (watched.path("ext"), watched.path("old"));
    fs::create_dir(watched.path("new")).unwrap();
    fs::write(watched.path("new/a.wasm"), module(1)).unwrap();
    fs::rename(&dir, &old).unwrap();
    fs::rename(watched.path("new"), &dir).unwrap();
    assert_eq!(watched.told(), ["ext/a.wasm"]);
    fs::write(watched.path("ext/a.wasm"), module(2)).unwrap();
    assert_eq!(watched.told(), ["ext/a.wasm"]);
    fs::write(watched.path("old/a.wasm"), module(3)).unwrap();
    assert_eq!(watched.told_soon(), [""; 0]);

    fs::remove_dir_all(&dir).unwrap();
    assert_eq!(watched.told_soon(), [""; 0]);
    fs::create_dir(&dir).unwrap();
    fs::write(watched.path("ext/a.wasm"), module(4)).unwrap();
    // Nobody says that a directory is there again, but it is looked for.
    assert_eq!(watched.told(), ["ext/a.wasm"]);
    fs::write(watched.path("ext/a.wasm"), module(5)).unwrap();
    assert_eq!(watched.told(), ["ext/a.wasm"]);
}

#[test]
fn what_nobody_says_is_found_some_seconds_later() {
    let mut watched = Watched::plain();
    let file = watched.path("ext/a.wasm");
    fs::hard_link(&file, watched.path("elsewhere")).unwrap();
    // The number of its names has changed.
    assert_eq!(watched.told(), ["ext/a.wasm"]);
    fs::write(watched.path("elsewhere"), module(1)).unwrap();
    assert_eq!(watched.told(), ["ext/a.wasm"]);
}

#[test]
fn a_watcher_ends_when_it_is_let_go() {
    let Watched {
        events, _watching, ..
    } = Watched::plain();
    drop(_watching);
    let mut events = events;
    let began = Instant::now();
    while !matches!(events.try_recv(), Err(TryRecvError::Disconnected)) {
        assert!(began.elapsed() < Duration::from_secs(5));
        thread::sleep(Duration::from_millis(5));
    }
}
