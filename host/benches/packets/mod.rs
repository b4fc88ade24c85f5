//! Packets for benches.

use ipqext_host::packet::{Batch, HardwareAddress, Hook, Packet, PacketFlags};

/// The bytes of a UDP packet of that length.
pub(crate) fn packet(length: u16) -> Vec<u8> {
    let [high, low] = length.to_be_bytes();
    let header = [
        0x45, 0, high, low, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
    ];
    let mut bytes = vec![0; length.into()];
    bytes[..header.len()].copy_from_slice(&header);
    bytes
}

/// Fills a batch anew with so many packets of these bytes.
pub(crate) fn fill(batch: &mut Batch, packets: u32, bytes: &[u8]) {
    batch.begin(1);
    for id in 0..packets {
        let packet = Packet {
            id,
            mark: id % 2,
            arrived_ns: 0,
            in_link: 1,
            out_link: 0,
            hardware_address: HardwareAddress::default(),
            hook: Hook::Input,
            protocol: 0x0800,
            flags: PacketFlags::empty(),
            offset: 0,
            captured_length: bytes.len() as u32,
            original_length: bytes.len() as u32,
        };
        batch.push(packet, bytes);
    }
}
