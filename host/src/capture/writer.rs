//! Writing pcapng (draft-ietf-opsawg-pcapng).

use std::io::{self, Write};

use super::{FRAME_BYTES_MAX, Interface};

/// The resolution of times: nanoseconds (`if_tsresol`).
const NANOSECONDS: u8 = 9;

/// The longest value of an option, in bytes; a whole number of words, so that padding does
/// not make it longer.
const OPTION_MAX: usize = 65_532;

const COMMENT: u16 = 1;
const INTERFACE_NAME: u16 = 2;
const DROP_COUNT: u16 = 4;
const INTERFACE_RESOLUTION: u16 = 9;

/// Writes a capture, frame by frame, as one section in little-endian byte order. It makes many
/// small writes: give it a writer with a buffer.
#[derive(Debug)]
pub struct Writer<W: Write> {
    writer: W,
    interfaces: u32,
}

impl<W: Write> Writer<W> {
    /// Begins a capture.
    ///
    /// # Errors
    /// The writer's.
    pub fn new(writer: W) -> io::Result<Self> {
        let mut this = Self {
            writer,
            interfaces: 0,
        };
        this.word(0x0a0d_0d0a)?;
        this.word(28)?;
        this.word(0x1a2b_3c4d)?;
        // Version 1.0.
        this.word(1)?;
        // How long the section will be is not known.
        this.writer.write_all(&[0xff; 8])?;
        this.word(28)?;
        Ok(this)
    }

    /// Describes an interface, and gives its number. Times of its frames are in nanoseconds. A
    /// name of more than 65,532 bytes is cut.
    ///
    /// # Errors
    /// The writer's.
    pub fn interface(&mut self, interface: &Interface) -> io::Result<u32> {
        let name = interface.name.as_deref().map(fitting);
        let mut length = 20 + 8 + 4;
        length += name.map_or(0, option_length);
        self.word(1)?;
        self.word(length)?;
        self.word(u32::from(interface.link_type.0))?;
        self.word(interface.snap_length)?;
        if let Some(name) = name {
            self.option(INTERFACE_NAME, name.as_bytes())?;
        }
        self.option(INTERFACE_RESOLUTION, &[NANOSECONDS])?;
        self.word(0)?;
        self.word(length)?;
        let number = self.interfaces;
        self.interfaces += 1;
        Ok(number)
    }

    /// Writes a frame of an interface: `parts` one behind the other are its bytes. A comment of
    /// more than 65,532 bytes is cut. An original length that is less than the bytes that
    /// there are is taken for as many.
    ///
    /// # Errors
    /// The writer's; or the interface was not described, or the frame is longer than
    /// [`FRAME_BYTES_MAX`].
    pub fn frame(
        &mut self,
        interface: u32,
        time_ns: u64,
        original_length: u32,
        parts: &[&[u8]],
        comment: Option<&str>,
    ) -> io::Result<()> {
        self.frame_after(0, interface, time_ns, original_length, parts, comment)
    }

    /// The same, of a frame before which some were lost (`epb_dropcount`).
    ///
    /// # Errors
    /// As of [`Self::frame`].
    pub fn frame_after(
        &mut self,
        lost: u64,
        interface: u32,
        time_ns: u64,
        original_length: u32,
        parts: &[&[u8]],
        comment: Option<&str>,
    ) -> io::Result<()> {
        if interface >= self.interfaces {
            let text = format!("interface {interface} was not described to the capture");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let captured: usize = parts.iter().map(|part| part.len()).sum();
        if captured > FRAME_BYTES_MAX {
            let text = format!("a frame of {captured} bytes is too long for a capture");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let comment = comment.map(fitting);
        let mut options = comment.map_or(0, option_length);
        if lost > 0 {
            options += 12;
        }
        if options > 0 {
            options += 4;
        }
        let length = 32 + captured.next_multiple_of(4) as u32 + options;
        let mut head = [0; 28];
        let fields = [
            6,
            length,
            interface,
            (time_ns >> 32) as u32,
            time_ns as u32,
            captured as u32,
            original_length.max(captured as u32),
        ];
        for (at, field) in head.chunks_exact_mut(4).zip(fields) {
            at.copy_from_slice(&field.to_le_bytes());
        }
        self.writer.write_all(&head)?;
        for part in parts {
            self.writer.write_all(part)?;
        }
        self.pad(captured)?;
        if let Some(comment) = comment {
            self.option(COMMENT, comment.as_bytes())?;
        }
        if lost > 0 {
            self.option(DROP_COUNT, &lost.to_le_bytes())?;
        }
        if options > 0 {
            self.word(0)?;
        }
        self.word(length)
    }

    /// Hands on what a buffer below still holds: what is written so far is whole.
    ///
    /// # Errors
    /// The writer's.
    pub fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }

    /// Ends the capture, and gives the writer back.
    ///
    /// # Errors
    /// The writer's.
    pub fn finish(mut self) -> io::Result<W> {
        self.flush()?;
        Ok(self.writer)
    }

    fn word(&mut self, word: u32) -> io::Result<()> {
        self.writer.write_all(&word.to_le_bytes())
    }

    fn option(&mut self, code: u16, value: &[u8]) -> io::Result<()> {
        self.word(u32::from(code) | (value.len() as u32) << 16)?;
        self.writer.write_all(value)?;
        self.pad(value.len())
    }

    fn pad(&mut self, length: usize) -> io::Result<()> {
        let padding = length.next_multiple_of(4) - length;
        self.writer.write_all(&[0; 3][..padding])
    }
}

/// As much of a text as an option holds.
fn fitting(text: &str) -> &str {
    &text[..text.floor_char_boundary(OPTION_MAX)]
}

/// The length of an option with its head and its padding.
fn option_length(value: &str) -> u32 {
    4 + value.len().next_multiple_of(4) as u32
}
