//! Reading a capture of either format.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use super::error::{CaptureError, Failure};
use super::pcap::{self, Pcap};
use super::pcapng::{self, PcapNg};
use super::stream::Stream;
use super::{Frame, Interface};

/// What the standard input is called in messages.
const STANDARD_INPUT: &str = "standard input";

/// A capture that is read frame by frame, in memory that does not grow with it.
pub struct Reader {
    name: PathBuf,
    stream: Stream,
    format: Format,
    interfaces: Vec<Interface>,
    packets: u64,
    length: Option<u64>,
    /// Nothing more is to be had, after the end or an error.
    over: bool,
}

enum Format {
    Pcap(Pcap),
    PcapNg(PcapNg),
}

/// A frame by the place of its bytes in the stream.
pub(super) struct Place {
    pub(super) interface: u32,
    pub(super) time_ns: u64,
    pub(super) original_length: u32,
    pub(super) bytes: Range<usize>,
}

impl Reader {
    /// Opens a file, or the standard input if it is called `-`.
    ///
    /// # Errors
    /// It cannot be read, is no capture, or its header is damaged.
    pub fn open(path: &Path) -> Result<Self, CaptureError> {
        let (name, file) = if path == Path::new("-") {
            // Its own descriptor: `io::stdin` would copy all bytes once more.
            let file = io::stdin().as_fd().try_clone_to_owned().map(File::from);
            (Path::new(STANDARD_INPUT), file)
        } else {
            (path, File::open(path))
        };
        let opened = file.and_then(|file| Ok((file.metadata()?, file)));
        let (metadata, file) = opened.map_err(|source| CaptureError::Io {
            path: name.to_owned(),
            source,
        })?;
        let mut reader = Self::new(name, file)?;
        reader.length = metadata.is_file().then_some(metadata.len());
        Ok(reader)
    }

    /// Reads an input that messages call so.
    ///
    /// # Errors
    /// It cannot be read, is no capture, or its header is damaged.
    pub fn new(
        name: impl Into<PathBuf>,
        input: impl Read + Send + 'static,
    ) -> Result<Self, CaptureError> {
        let name = name.into();
        match begin(input) {
            Ok((stream, format, interfaces)) => Ok(Self {
                name,
                stream,
                format,
                interfaces,
                packets: 0,
                length: None,
                over: false,
            }),
            Err(failure) => Err(failure.told(name, 0)),
        }
    }

    /// The next frame; none at the end, and for ever after an error: what could be read
    /// before it has been given.
    ///
    /// # Errors
    /// The capture is damaged, or cannot be read.
    #[expect(
        clippy::should_implement_trait,
        reason = "a frame is lent by the reader, which no iterator can do"
    )]
    pub fn next(&mut self) -> Result<Option<Frame<'_>>, CaptureError> {
        if self.over {
            return Ok(None);
        }
        let place = match &mut self.format {
            Format::Pcap(pcap) => pcap.next(&mut self.stream),
            Format::PcapNg(pcapng) => pcapng.next(&mut self.stream, &mut self.interfaces),
        };
        match place {
            Ok(Some(place)) => {
                self.packets += 1;
                Ok(Some(Frame {
                    interface: place.interface,
                    time_ns: place.time_ns,
                    original_length: place.original_length,
                    bytes: self.stream.at(place.bytes),
                }))
            }
            Ok(None) => {
                self.over = true;
                Ok(None)
            }
            Err(failure) => {
                self.over = true;
                Err(failure.told(self.name.clone(), self.packets))
            }
        }
    }

    /// All interfaces that were described so far, of all sections, numbered through.
    pub fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    /// How many bytes of the file as it lies on disk (of gzip: compressed ones) were taken.
    pub fn taken(&self) -> u64 {
        self.stream.taken()
    }

    /// How many bytes it has on disk, if it is a regular file.
    pub fn length(&self) -> Option<u64> {
        self.length
    }
}

fn begin(input: impl Read + Send + 'static) -> Result<(Stream, Format, Vec<Interface>), Failure> {
    let mut stream = Stream::new(input)?;
    let magic = match stream.magic()? {
        Some(magic) => magic,
        None => return Err(Failure::NoCapture),
    };
    if magic == pcapng::MAGIC {
        let pcapng = PcapNg::begin(&mut stream)?;
        Ok((stream, Format::PcapNg(pcapng), Vec::new()))
    } else if pcap::MAGICS.contains(&magic) {
        let (pcap, interface) = Pcap::begin(&mut stream)?;
        Ok((stream, Format::Pcap(pcap), vec![interface]))
    } else {
        Err(Failure::NoCapture)
    }
}

#[cfg(test)]
impl Reader {
    /// How many bytes it holds of the capture.
    pub(super) fn held(&self) -> usize {
        let names = self.interfaces.iter().filter_map(|it| it.name.as_ref());
        self.stream.held() + names.map(String::len).sum::<usize>()
    }
}
