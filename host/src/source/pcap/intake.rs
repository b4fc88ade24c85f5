//! What a frame of a capture is to a chain: a packet with a hook, a device and a mark, which
//! captures do not tell.

use std::sync::Arc;

use ipqext_filter::PacketFilter;
use ipqext_wire::has_partial_checksum;

use super::sheet::{Content, Framed, Sheet};
use crate::capture::{Frame, Interface, LinkType, split};
use crate::packet::{Batch, Hook, Link, Links, Packet, PacketFlags, Settlement};

/// The device of packets whose capture names none.
const NO_NAME: &str = "pcap";
/// So many devices are told apart. Each new one has all of them told again.
const DEVICES_MAX: usize = 1024;
/// `ARPHRD_ETHER`, `ARPHRD_LOOPBACK` and `ARPHRD_NONE` of `<linux/if_arp.h>`.
const ETHERNET: u16 = 1;
const LOOPBACK: u16 = 772;
const NONE: u16 = 0xfffe;

/// A value for the packets that a filter matches, or for all of them.
#[derive(Clone, Debug)]
pub struct Choice<T> {
    /// The value.
    pub value: T,
    /// Whom it is for.
    pub filter: Option<PacketFilter>,
}

impl<T> Choice<T> {
    /// Reads `VALUE`, or `VALUE=FILTER`.
    ///
    /// # Errors
    /// The value is none, or the filter: what is wrong with it.
    pub fn parse(
        text: &str,
        value: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Self, String> {
        let (before, filter) = match text.split_once('=') {
            Some((value, filter)) => (value, Some(filter)),
            None => (text, None),
        };
        let filter = filter.map(PacketFilter::parse).transpose();
        Ok(Self {
            value: value(before)?,
            filter: filter.map_err(|error| error.to_string())?,
        })
    }
}

/// The first that is for a packet of these bytes, and of so many.
fn chosen<'a, T>(choices: &'a [Choice<T>], bytes: &[u8], length: usize) -> Option<&'a T> {
    let mut fitting = choices.iter().filter(|choice| {
        let filter = choice.filter.as_ref();
        filter.is_none_or(|filter| filter.matches(bytes, length))
    });
    fitting.next().map(|choice| &choice.value)
}

/// Whether a frame got into a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It did.
    In,
    /// Its device is new: others must be told of it first.
    NewDevice,
}

/// Makes packets of frames.
#[derive(Clone, Debug, Default)]
pub struct Intake {
    hooks: Vec<Choice<Hook>>,
    devices: Vec<Choice<String>>,
    marks: Vec<Choice<u32>>,
    /// The index of the device of each choice.
    of_choice: Vec<u32>,
    /// The index of the device of each interface that was met.
    of_interface: Vec<Option<u32>>,
    links: Links,
    /// Whether there are devices that others were not told of.
    has_news: bool,
    count: u64,
}

impl Intake {
    /// The first choice that is for a packet counts. Without one its hook is `prerouting`, its
    /// device the one that the capture names, and its mark 0.
    pub fn new(
        hooks: Vec<Choice<Hook>>,
        devices: Vec<Choice<String>>,
        marks: Vec<Choice<u32>>,
    ) -> Self {
        let mut intake = Self {
            hooks,
            devices,
            marks,
            ..Self::default()
        };
        let names = intake.devices.iter().map(|choice| choice.value.clone());
        let names: Vec<String> = names.collect();
        intake.of_choice = names
            .iter()
            .map(|name| intake.device(name, ETHERNET))
            .collect();
        intake
    }

    /// The devices that there are now, if others have to be told.
    pub fn take_news(&mut self) -> Option<Arc<Links>> {
        std::mem::take(&mut self.has_news).then(|| Arc::new(self.links.clone()))
    }

    /// The devices that were chosen, before any capture names others.
    pub fn chosen(devices: &[Choice<String>]) -> Links {
        Self::new(Vec::new(), devices.to_vec(), Vec::new()).links
    }

    /// The index of a device, which is made if there is none of that name; 0 if there are too
    /// many.
    fn device(&mut self, name: &str, hardware_type: u16) -> u32 {
        let known = self.links.devices.iter().find(|link| link.name == name);
        if let Some(known) = known {
            return known.index;
        }
        if self.links.devices.len() == DEVICES_MAX {
            return 0;
        }
        let index = self.links.devices.len() as u32 + 1;
        self.links.version += 1;
        self.links.devices.push(Link {
            index,
            name: name.to_owned(),
            hardware_type,
        });
        self.has_news = true;
        index
    }

    /// Puts a frame at the end of a batch, and what a packet has no place for into the sheet.
    pub fn put(
        &mut self,
        frame: &Frame<'_>,
        interface: &Interface,
        batch: &mut Batch,
        sheet: &mut Sheet,
    ) -> Put {
        let place = frame.interface as usize;
        let device = match self.of_interface.get(place) {
            Some(&Some(device)) => device,
            _ => return self.meet(place, interface),
        };
        let framed = Framed {
            number: self.count + 1,
            interface: frame.interface,
            time_ns: frame.time_ns,
            original_length: frame.original_length,
            ..Framed::default()
        };
        self.count += 1;
        let common = Packet {
            id: framed.number as u32,
            arrived_ns: frame.time_ns,
            flags: PacketFlags::KERNEL_TIMESTAMP,
            ..Packet::default()
        };
        let Some(split) = split(interface.link_type, frame) else {
            sheet.push(framed, frame.bytes, &[]);
            batch.push(common, &[]);
            batch.decide(batch.len() - 1, Settlement::Accept);
            return Put::In;
        };
        let (header, behind) = frame.bytes.split_at(split.header_length);
        let (bytes, padding) = behind.split_at(split.length);
        let length = split.original_length as usize;
        let hook = match &self.hooks[..] {
            [] => Hook::Prerouting,
            hooks => *chosen(hooks, bytes, length).unwrap_or(&Hook::Prerouting),
        };
        let device = match &self.devices[..] {
            [] => device,
            devices => self.chosen_device(devices, bytes, length).unwrap_or(device),
        };
        let mark = match &self.marks[..] {
            [] => 0,
            marks => *chosen(marks, bytes, length).unwrap_or(&0),
        };
        let mut flags = common.flags;
        // A machine captures its own packets before its hardware completes them.
        flags.set(
            PacketFlags::CHECKSUM_PARTIAL,
            has_partial_checksum(bytes, length),
        );
        let leaves = matches!(hook, Hook::Output | Hook::Postrouting);
        let framed = Framed {
            content: Content::Ip,
            ..framed
        };
        sheet.push(framed, header, padding);
        let packet = Packet {
            mark,
            in_link: if leaves { 0 } else { device },
            out_link: if leaves { device } else { 0 },
            hardware_address: split.hardware_address,
            hook,
            flags,
            protocol: split.protocol,
            original_length: split.original_length,
            ..common
        };
        batch.push(packet, bytes);
        Put::In
    }

    fn chosen_device(
        &self,
        choices: &[Choice<String>],
        bytes: &[u8],
        length: usize,
    ) -> Option<u32> {
        let mut fitting = choices.iter().zip(&self.of_choice).filter(|(choice, _)| {
            let filter = choice.filter.as_ref();
            filter.is_none_or(|filter| filter.matches(bytes, length))
        });
        fitting.next().map(|(_, index)| *index)
    }

    /// Gives an interface its device.
    fn meet(&mut self, place: usize, interface: &Interface) -> Put {
        let hardware_type = match interface.link_type {
            LinkType::ETHERNET => ETHERNET,
            LinkType::NULL | LinkType::LOOP => LOOPBACK,
            _ => NONE,
        };
        let name = interface.name.as_deref().unwrap_or(NO_NAME);
        let index = self.device(name, hardware_type);
        if self.of_interface.len() <= place {
            self.of_interface.resize(place + 1, None);
        }
        self.of_interface[place] = Some(index);
        Put::NewDevice
    }
}
