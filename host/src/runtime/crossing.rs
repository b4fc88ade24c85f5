//! How the packets of a call get into a guest's memory, and what it says out of it:
//! without an allocation, and without a step for each field.
//!
//! The generated bindings would do both, correctly and slowly: they store a packet field
//! by field, each with its own look-up of the guest's memory, which cost as much as all
//! else of a call; and they lift each list into memory of its own. Types and layouts are
//! still theirs here: wasmtime checks them against the guest's when it is loaded.
//!
//! The traits' methods are documented by wasmtime in its source only
//! (`wasmtime::component::func::typed`).

use std::cell::RefCell;
use std::mem::{MaybeUninit, swap};

use wasmtime::component::__internal::{
    CanonicalAbiInfo, InstanceType, InterfaceType, LiftContext, LowerContext, bad_type_info,
};
use wasmtime::component::{ComponentType, Lift, Lower, WasmList};
use wasmtime::{Result, bail};

use super::bindings;
use crate::packet::{self, Outcome};

/// A batch as the contract has it (`types.batch` in `wit/`).
#[derive(ComponentType, Lower)]
#[component(record)]
pub(super) struct Batch<'a> {
    #[component(name = "now-ns")]
    pub(super) now_ns: u64,
    #[component(name = "links-version")]
    pub(super) links_version: u32,
    pub(super) packets: &'a [Packet],
    pub(super) bytes: &'a [u8],
}

/// A packet of ours on its way to a guest.
#[repr(transparent)]
pub(super) struct Packet(packet::Packet);

/// What a guest says, which [`take`] takes up.
pub(super) struct Said(());

/// So many bytes a packet has in a guest's memory, by the canonical ABI.
const PACKET_BYTES: usize = bindings::Packet::SIZE32;

impl Packet {
    /// The same packets.
    pub(super) fn all(packets: &[packet::Packet]) -> &[Self] {
        // SAFETY: the one is transparent over the other.
        unsafe { std::slice::from_raw_parts(packets.as_ptr().cast(), packets.len()) }
    }

    /// Writes the packet as the canonical ABI has the record: each field at the next
    /// place that its alignment allows, in little-endian order.
    fn store(&self, bytes: &mut [u8; PACKET_BYTES]) {
        let packet = &self.0;
        bytes[..4].copy_from_slice(&packet.id.to_le_bytes());
        bytes[4..8].copy_from_slice(&packet.mark.to_le_bytes());
        bytes[8..16].copy_from_slice(&packet.arrived_ns.to_le_bytes());
        bytes[16..20].copy_from_slice(&packet.in_link.to_le_bytes());
        bytes[20..24].copy_from_slice(&packet.out_link.to_le_bytes());
        bytes[24..32].copy_from_slice(&packet.hardware_address.to_u64().to_le_bytes());
        bytes[32] = packet.hardware_address.len();
        bytes[33] = bindings::hook(packet.hook) as u8;
        bytes[34..36].copy_from_slice(&packet.protocol.to_le_bytes());
        // The contract lists them in the order of our bits.
        bytes[36] = packet.flags.bits();
        bytes[37..40].fill(0);
        bytes[40..44].copy_from_slice(&packet.offset.to_le_bytes());
        bytes[44..48].copy_from_slice(&packet.captured_length.to_le_bytes());
        bytes[48..52].copy_from_slice(&packet.original_length.to_le_bytes());
        bytes[52..].fill(0);
    }
}

// SAFETY: it is, for the outside, the packet of the bindings.
unsafe impl ComponentType for Packet {
    type Lower = <bindings::Packet as ComponentType>::Lower;
    const ABI: CanonicalAbiInfo = bindings::Packet::ABI;

    fn typecheck(ty: &InterfaceType, types: &InstanceType<'_>) -> Result<()> {
        bindings::Packet::typecheck(ty, types)
    }
}

// SAFETY: what it does not do itself is the bindings'; a list is stored as they would.
unsafe impl Lower for Packet {
    fn linear_lower_to_flat<T>(
        &self,
        cx: &mut LowerContext<'_, T>,
        ty: InterfaceType,
        dst: &mut MaybeUninit<Self::Lower>,
    ) -> Result<()> {
        bindings::packet(&self.0).linear_lower_to_flat(cx, ty, dst)
    }

    fn linear_lower_to_memory<T>(
        &self,
        cx: &mut LowerContext<'_, T>,
        ty: InterfaceType,
        offset: usize,
    ) -> Result<()> {
        bindings::packet(&self.0).linear_lower_to_memory(cx, ty, offset)
    }

    fn linear_store_list_to_memory<T>(
        cx: &mut LowerContext<'_, T>,
        _ty: InterfaceType,
        offset: usize,
        items: &[Self],
    ) -> Result<()> {
        let room = cx.as_slice_mut().get_mut(offset..);
        let room = room.and_then(|room| room.get_mut(..items.len() * PACKET_BYTES));
        let Some(room) = room else {
            bail!("the guest gave room for packets outside of its memory");
        };
        let (slots, _) = room.as_chunks_mut::<PACKET_BYTES>();
        for (packet, slot) in items.iter().zip(slots) {
            packet.store(slot);
        }
        Ok(())
    }
}

thread_local! {
    /// What the guest of this thread's last call said. A value is lifted before the guest
    /// may use its memory again, and nothing but a new value can be handed out from
    /// there: so its parts are put here, into memory that is used again.
    static SAID: RefCell<Outcome> = RefCell::default();
}

/// Takes up what was said last on this thread, and leaves it empty memory.
pub(super) fn take(_said: Said, outcome: &mut Outcome) {
    SAID.with_borrow_mut(|said| swap(said, outcome));
}

// SAFETY: it is, for the outside, the outcome of the bindings.
unsafe impl ComponentType for Said {
    type Lower = <bindings::Outcome as ComponentType>::Lower;
    const ABI: CanonicalAbiInfo = bindings::Outcome::ABI;

    fn typecheck(ty: &InterfaceType, types: &InstanceType<'_>) -> Result<()> {
        bindings::Outcome::typecheck(ty, types)
    }
}

// SAFETY: each field is lifted by wasmtime's own code, from where the canonical ABI has it.
unsafe impl Lift for Said {
    fn linear_lift_from_flat(
        _cx: &mut LiftContext<'_>,
        _ty: InterfaceType,
        _src: &Self::Lower,
    ) -> Result<Self> {
        bail!("three lists are more than a function returns flat")
    }

    fn linear_lift_from_memory(
        cx: &mut LiftContext<'_>,
        ty: InterfaceType,
        bytes: &[u8],
    ) -> Result<Self> {
        let InterfaceType::Record(record) = ty else {
            bad_type_info()
        };
        let [decisions, edits, inserts] = &cx.types[record].fields[..] else {
            bad_type_info()
        };
        let [decisions, edits, inserts] = [decisions.ty, edits.ty, inserts.ty];
        // A list is a pointer and a length, each of four bytes.
        let ([first, second, third], _) = bytes.as_chunks::<8>() else {
            bad_type_info()
        };
        SAID.with_borrow_mut(|said| {
            said.clear();
            let list = WasmList::linear_lift_from_memory(cx, decisions, first)?;
            let into = &mut Translated(&mut said.decisions, bindings::decision);
            bindings::Decision::linear_lift_into_from_memory(cx, &list, into)?;
            let list = WasmList::linear_lift_from_memory(cx, edits, second)?;
            let into = &mut Translated(&mut said.edits, bindings::edit);
            bindings::Edit::linear_lift_into_from_memory(cx, &list, into)?;
            let list = WasmList::<u8>::linear_lift_from_memory(cx, inserts, third)?;
            u8::linear_lift_into_from_memory(cx, &list, &mut said.bytes)
        })?;
        Ok(Self(()))
    }
}

/// Takes the guest's values, and keeps ours.
struct Translated<'a, A, B>(&'a mut Vec<B>, fn(&A) -> B);

impl<A, B> Extend<A> for Translated<'_, A, B> {
    fn extend<I: IntoIterator<Item = A>>(&mut self, values: I) {
        let Self(kept, translate) = self;
        kept.extend(values.into_iter().map(|value| translate(&value)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{HardwareAddress, Hook, PacketFlags};

    /// That a guest reads the same is tested with one, in `tests/sandbox.rs`.
    #[test]
    fn a_packet_has_its_fields_where_the_canonical_abi_puts_them() {
        let packet = packet::Packet {
            id: 0x0101_0101,
            mark: 0x0202_0202,
            arrived_ns: 0x0303_0303_0303_0303,
            in_link: 0x0404_0404,
            out_link: 0x0505_0505,
            hardware_address: HardwareAddress::new(&[6; 7]),
            hook: Hook::Postrouting,
            protocol: 0x0707,
            flags: PacketFlags::GSO | PacketFlags::ALTERED,
            offset: 0x0808_0808,
            captured_length: 0x0909_0909,
            original_length: 0x0a0a_0a0a,
        };
        let mut bytes = [0xff; PACKET_BYTES];
        Packet(packet).store(&mut bytes);
        let mut expected = Vec::new();
        for (value, count) in [(1, 4), (2, 4), (3, 8), (4, 4), (5, 4), (6, 7), (0, 1)] {
            expected.extend([value].repeat(count));
        }
        expected.extend([7, 4, 7, 7, 0b10001, 0, 0, 0]);
        for value in [8, 9, 10, 0] {
            expected.extend([value; 4]);
        }
        assert_eq!(bytes[..], expected);
        assert_eq!(bindings::Packet::ALIGN32, 8);
    }

    #[test]
    fn flags_have_the_same_bits_on_both_sides() {
        let names = [
            "GSO",
            "CHECKSUM_PARTIAL",
            "CHECKSUM_UNVERIFIED",
            "KERNEL_TIMESTAMP",
            "ALTERED",
        ];
        for flag in PacketFlags::all().iter() {
            let packet = packet::Packet {
                flags: flag,
                ..packet::Packet::default()
            };
            let theirs = format!("{:?}", bindings::packet(&packet).packet_flags);
            let name = names[flag.bits().trailing_zeros() as usize];
            assert!(theirs.contains(name), "{flag:?} is {theirs} for a guest");
        }
    }
}
