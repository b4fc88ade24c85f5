//! Messages, each with its length before it, and descriptors beside them (unix(7)).

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};

use super::{HELLO, HandoverError, Message, STEP, VERSION};

/// How many descriptors go in one piece; the kernel takes 253 at most.
const RIGHTS_MAX: usize = 128;
/// The longest message: files of extensions are up to 64 MiB, and there may be many.
const BYTES_MAX: u64 = 4 << 30;
/// How long the other one may take to read a piece.
const WRITES: Duration = Duration::from_secs(10);
/// The longest answer to a hello.
const LINE_MAX: usize = 4096;

/// One end of the connection.
#[derive(Debug)]
pub struct Channel(UnixStream);

/// Says hello on a connection to the control socket.
///
/// # Errors
/// The daemon there does not hand over.
pub fn greet(mut stream: UnixStream) -> Result<Channel, HandoverError> {
    stream.write_all(format!("{HELLO}{VERSION}\n").as_bytes())?;
    stream.set_read_timeout(Some(WRITES))?;
    // Byte by byte: what comes behind the line is not to be taken.
    let mut line = Vec::new();
    let mut byte = [0];
    while line.len() < LINE_MAX && stream.read(&mut byte)? == 1 && byte[0] != b'\n' {
        line.push(byte[0]);
    }
    match String::from_utf8_lossy(&line).into_owned() {
        line if line == HELLO.trim_end() => Ok(Channel::new(stream)?),
        line if line.is_empty() => Err(HandoverError::HungUp("anything")),
        line => Err(HandoverError::OtherVersion(line)),
    }
}

impl Channel {
    /// On a connection on which the hello was said.
    ///
    /// # Errors
    /// It cannot be set up.
    pub fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(false)?;
        stream.set_write_timeout(Some(WRITES))?;
        Ok(Self(stream))
    }

    /// Sends a message, and descriptors with it.
    ///
    /// # Errors
    /// The other one is gone, or does not read.
    pub fn send(
        &mut self,
        message: &Message,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), HandoverError> {
        let bytes = postcard::to_allocvec(message)
            .map_err(|error| HandoverError::NoMessage(error.to_string()))?;
        let mut head = [0; 12];
        head[..8].copy_from_slice(&(bytes.len() as u64).to_le_bytes());
        head[8..].copy_from_slice(&(descriptors.len() as u32).to_le_bytes());
        let patience = match message {
            // Nobody waits for it.
            Message::Estate(_) => WRITES,
            _ => STEP,
        };
        let until = Instant::now() + patience;
        self.write(&head, until)?;
        for piece in descriptors.chunks(RIGHTS_MAX) {
            let piece: Vec<RawFd> = piece.iter().map(AsRawFd::as_raw_fd).collect();
            let rights = [ControlMessage::ScmRights(&piece)];
            let fd = self.0.as_raw_fd();
            let one = [IoSlice::new(&[0])];
            self.may_write(until)?;
            sendmsg::<()>(fd, &one, &rights, MsgFlags::MSG_NOSIGNAL, None)
                .map_err(io::Error::from)?;
        }
        Ok(self.write(&bytes, until)?)
    }

    /// Lets no write wait beyond a time.
    fn may_write(&self, until: Instant) -> io::Result<()> {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.0.set_write_timeout(Some(left))
    }

    fn write(&mut self, mut bytes: &[u8], until: Instant) -> io::Result<()> {
        while !bytes.is_empty() {
            self.may_write(until)?;
            match self.0.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Receives the next message, for which the other one has so long, and its descriptors.
    ///
    /// # Errors
    /// It did not come in time, is none, or the other one says that it cannot go on.
    /// `expected` is what is to come, for the text.
    pub fn receive(
        &mut self,
        expected: &'static str,
        patience: Duration,
    ) -> Result<(Message, Vec<OwnedFd>), HandoverError> {
        let until = Instant::now() + patience;
        let silent = |error: io::Error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                HandoverError::Silent { expected, patience }
            }
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => {
                HandoverError::HungUp(expected)
            }
            _ => HandoverError::Io(error),
        };
        let mut head = [0; 12];
        self.fill(&mut head, until).map_err(silent)?;
        let [l0, l1, l2, l3, l4, l5, l6, l7, c0, c1, c2, c3] = head;
        let length = u64::from_le_bytes([l0, l1, l2, l3, l4, l5, l6, l7]);
        let count = u32::from_le_bytes([c0, c1, c2, c3]) as usize;
        if length > BYTES_MAX || count > 1 + usize::from(u16::MAX) {
            let text = format!("{length} bytes and {count} descriptors");
            return Err(HandoverError::NoMessage(text));
        }
        let mut descriptors = Vec::new();
        while descriptors.len() < count {
            self.wait(until).map_err(silent)?;
            let taken = self.take_rights(&mut descriptors).map_err(silent)?;
            if taken == 0 {
                return Err(HandoverError::HungUp(expected));
            }
        }
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < length {
            // Never more memory than came.
            let begin = bytes.len();
            let piece = (length - begin as u64).min(1 << 20) as usize;
            bytes.resize(begin + piece, 0);
            self.fill(&mut bytes[begin..], until).map_err(silent)?;
        }
        match postcard::from_bytes(&bytes) {
            Ok(Message::Failed(why)) => Err(HandoverError::Told(why)),
            Ok(message) => Ok((message, descriptors)),
            Err(error) => Err(HandoverError::NoMessage(error.to_string())),
        }
    }

    /// Lets no read wait beyond a time.
    fn wait(&self, until: Instant) -> io::Result<()> {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.0.set_read_timeout(Some(left))
    }

    fn fill(&mut self, bytes: &mut [u8], until: Instant) -> io::Result<()> {
        let mut at = 0;
        while at < bytes.len() {
            self.wait(until)?;
            match self.0.read(&mut bytes[at..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => at += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Takes a piece of descriptors; 0 if the other one hung up.
    fn take_rights(&mut self, into: &mut Vec<OwnedFd>) -> io::Result<usize> {
        let mut byte = [0];
        let mut bytes = [IoSliceMut::new(&mut byte)];
        let mut room = nix::cmsg_space!([RawFd; RIGHTS_MAX]);
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let fd = self.0.as_raw_fd();
        let received = recvmsg::<()>(fd, &mut bytes, Some(&mut room), flags)?;
        if received.flags.contains(MsgFlags::MSG_CTRUNC) {
            let text =
                "there is no room for the descriptors that came; raise the limit of open files";
            return Err(io::Error::other(text));
        }
        let before = into.len();
        for message in received.cmsgs()? {
            if let ControlMessageOwned::ScmRights(descriptors) = message {
                // SAFETY: they have just come, and nobody else has them.
                let owned = |descriptor| unsafe { OwnedFd::from_raw_fd(descriptor) };
                into.extend(descriptors.into_iter().map(owned));
            }
        }
        match (received.bytes, into.len() - before) {
            (0, _) => Ok(0),
            (_, 0) => Err(io::Error::other("descriptors are missing")),
            (_, count) => Ok(count),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use proptest::prelude::*;

    use super::*;
    use crate::handover::{Carried, Saved, State, Worker};

    fn pair() -> (Channel, Channel) {
        let (a, b) = UnixStream::pair().unwrap();
        (Channel::new(a).unwrap(), Channel::new(b).unwrap())
    }

    #[test]
    fn a_message_comes_with_its_descriptors_however_many() {
        let (mut a, mut b) = pair();
        let state = State {
            generation: 7,
            extensions: vec![Carried {
                saved: vec![Some(Saved {
                    version: "1".to_owned(),
                    parts: vec![vec![3; 3_000_000]],
                })],
                counters: Vec::new(),
            }],
            workers: vec![Worker {
                queue: 9,
                counters: vec![("received".to_owned(), 5)],
            }],
        };
        let expected = format!("{state:?}");
        let sending = std::thread::spawn(move || {
            let input = io::stdin();
            let descriptors = vec![input.as_fd(); 300];
            a.send(&Message::State(state), &descriptors).unwrap();
            a.send(&Message::Go, &[]).unwrap();
        });
        let (message, descriptors) = b.receive("State", Duration::from_secs(10)).unwrap();
        let Message::State(state) = message else {
            panic!("{message:?}");
        };
        assert_eq!(format!("{state:?}"), expected);
        assert_eq!(descriptors.len(), 300);
        let (message, descriptors) = b.receive("Go", Duration::from_secs(10)).unwrap();
        assert!(matches!(message, Message::Go) && descriptors.is_empty());
        sending.join().unwrap();
        let gone = b.receive("Served", Duration::from_secs(10)).unwrap_err();
        assert!(matches!(gone, HandoverError::HungUp("Served")), "{gone}");
    }

    #[test]
    fn who_says_nothing_is_not_waited_for_and_who_fails_is_told_of() {
        let (mut a, mut b) = pair();
        let silent = b.receive("Ready", Duration::from_millis(30)).unwrap_err();
        assert!(matches!(silent, HandoverError::Silent { .. }), "{silent}");
        a.send(&Message::Failed("no room".to_owned()), &[]).unwrap();
        let told = b.receive("Ready", Duration::from_secs(10)).unwrap_err();
        assert_eq!(told.to_string(), "no room");
    }

    #[test]
    fn a_daemon_that_does_not_hand_over_is_told_of_with_its_own_words() {
        for (answer, words) in [
            (
                "refused: this daemon speaks version 2\n",
                "speaks version 2",
            ),
            ("{\"error\":\"not JSON\"}\n", "not JSON"),
            ("", "hung up"),
        ] {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            theirs.write_all(answer.as_bytes()).unwrap();
            theirs.shutdown(std::net::Shutdown::Write).unwrap();
            let error = greet(ours).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_is_refused_and_ends_nobody(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            theirs.write_all(&(bytes.len() as u64).to_le_bytes()).unwrap();
            theirs.write_all(&[0; 4]).unwrap();
            theirs.write_all(&bytes).unwrap();
            drop(theirs);
            let mut ours = Channel::new(ours).unwrap();
            // A message by chance is none the worse.
            let _ = ours.receive("anything", Duration::from_secs(5));
        }
    }
}
