//! State that outlives an instance: the interface `state`, which an extension may export
//! beside `extension`.

use std::cell::Cell;

use wasmtime::component::__internal::{CanonicalAbiInfo, InstanceType, InterfaceType, LiftContext};
use wasmtime::component::types::{ComponentFunc, ComponentItem, Type};
use wasmtime::component::{Component, ComponentType, Func, Instance, Lift};
use wasmtime::error::Context as _;
use wasmtime::{Result, Store, bail};

use super::host_api::HostState;
use crate::chain::Limits;

/// The interface that an extension exports whose state can be carried over.
const STATE: &str = "ipqext:packet/state@0.1.0";

/// What is to be done about one that is not as it should be.
const ADVICE: &str = "export `save` and `restore` as wit/packet.wit has them, or neither";

/// What `save` gives.
type Answer = std::result::Result<Saved, String>;
/// What `restore` gives.
type Done = std::result::Result<(), String>;

/// The two functions of an instance, of checked types.
#[derive(Clone, Copy)]
pub(super) struct State {
    save: Func,
    restore: Func,
    bytes_max: usize,
}

/// Says whether a component's `state` is as the contract has it; one without is fine.
///
/// # Errors
/// What is wrong with it, and how to mend it.
pub(super) fn check(component: &Component) -> std::result::Result<(), String> {
    let Some((item, interface)) = component.get_export(None, STATE) else {
        return Ok(());
    };
    if !matches!(item, ComponentItem::ComponentInstance(_)) {
        return Err(format!("its {STATE} is no interface; {ADVICE}"));
    }
    for (name, is_right) in [("save", is_save as fn(&_) -> _), ("restore", is_restore)] {
        match component.get_export(Some(&interface), name) {
            Some((ComponentItem::ComponentFunc(func), _)) if is_right(&func) => {}
            Some(_) => return Err(format!("its {STATE} has another `{name}`; {ADVICE}")),
            None => return Err(format!("its {STATE} has no `{name}`; {ADVICE}")),
        }
    }
    Ok(())
}

/// `func() -> result<list<u8>, string>`
fn is_save(func: &ComponentFunc) -> bool {
    func.params().len() == 0 && gives(func, |ok| ok.is_some_and(|ty| is_list(&ty, &Type::U8)))
}

/// `func(version: string, parts: list<list<u8>>) -> result<_, string>`
fn is_restore(func: &ComponentFunc) -> bool {
    let params: Vec<Type> = func.params().map(|(_, ty)| ty).collect();
    let [Type::String, Type::List(parts)] = &params[..] else {
        return false;
    };
    is_list(&parts.ty(), &Type::U8) && gives(func, |ok| ok.is_none())
}

fn is_list(ty: &Type, of: &Type) -> bool {
    matches!(ty, Type::List(list) if list.ty() == *of)
}

/// Gives a result, which is right if all is well, and a text if not.
fn gives(func: &ComponentFunc, is_right: impl FnOnce(Option<Type>) -> bool) -> bool {
    let results: Vec<Type> = func.results().collect();
    match &results[..] {
        [Type::Result(result)] => is_right(result.ok()) && result.err() == Some(Type::String),
        _ => false,
    }
}

impl State {
    /// Finds an instance's functions, if it has them.
    ///
    /// # Errors
    /// They are not as [`check`] wants them.
    pub(super) fn find(
        store: &mut Store<HostState>,
        instance: &Instance,
        limits: &Limits,
    ) -> Result<Option<Self>> {
        let Some(interface) = instance.get_export_index(&mut *store, None, STATE) else {
            return Ok(None);
        };
        let mut func = |name: &str| {
            let index = instance.get_export_index(&mut *store, Some(&interface), name);
            let func = index.and_then(|index| instance.get_func(&mut *store, index));
            func.with_context(|| format!("its {STATE} has no `{name}`"))
        };
        let (save, restore) = (func("save")?, func("restore")?);
        save.typed::<(), (Answer,)>(&*store)?;
        restore.typed::<(&str, &[Vec<u8>]), (Done,)>(&*store)?;
        Ok(Some(Self {
            save,
            restore,
            // More than a call may copy at all would be a fault, and not a refusal.
            bytes_max: limits.state_bytes.min(limits.host_call_bytes),
        }))
    }

    /// Asks for the state. Of one that is too long nothing is copied.
    pub(super) fn save(
        &self,
        store: &mut Store<HostState>,
    ) -> Result<std::result::Result<Vec<u8>, String>> {
        ROOM.set(self.bytes_max);
        let save = self.save.typed::<(), (Answer,)>(&*store)?;
        let (answer,) = save.call(store, ())?;
        Ok(answer.and_then(|saved| match saved {
            Saved::Whole(bytes) => Ok(bytes),
            Saved::TooLong(length) => Err(format!(
                "its state has {length} bytes and may have {}; let it save less, or allow it more \
                 with `ipqext limit NAME --state SIZE`",
                self.bytes_max
            )),
        }))
    }

    /// Hands over what was saved.
    pub(super) fn restore(
        &self,
        store: &mut Store<HostState>,
        version: &str,
        parts: &[Vec<u8>],
    ) -> Result<Done> {
        let restore = self.restore.typed::<(&str, &[Vec<u8>]), (Done,)>(&*store)?;
        let (done,) = restore.call(store, (version, parts))?;
        Ok(done)
    }
}

thread_local! {
    /// How many bytes of a state are taken in this thread's call: a value is lifted
    /// without knowing for whom.
    static ROOM: Cell<usize> = const { Cell::new(0) };
}

/// A state as it is lifted.
enum Saved {
    Whole(Vec<u8>),
    /// Only its length was looked at.
    TooLong(usize),
}

// SAFETY: it is, for the outside, a list of bytes.
unsafe impl ComponentType for Saved {
    type Lower = <Vec<u8> as ComponentType>::Lower;
    const ABI: CanonicalAbiInfo = <Vec<u8> as ComponentType>::ABI;

    fn typecheck(ty: &InterfaceType, types: &InstanceType<'_>) -> Result<()> {
        Vec::<u8>::typecheck(ty, types)
    }
}

// SAFETY: what it takes it has wasmtime's own code lift.
unsafe impl Lift for Saved {
    fn linear_lift_from_flat(
        _cx: &mut LiftContext<'_>,
        _ty: InterfaceType,
        _src: &Self::Lower,
    ) -> Result<Self> {
        bail!("a result with a list is more than a function returns flat")
    }

    fn linear_lift_from_memory(
        cx: &mut LiftContext<'_>,
        ty: InterfaceType,
        bytes: &[u8],
    ) -> Result<Self> {
        // A list is a pointer and a length, each of four bytes.
        let Some(&[_, length]) = bytes.as_chunks::<4>().0.first_chunk::<2>() else {
            bail!("a list has eight bytes")
        };
        let length = u32::from_le_bytes(length) as usize;
        if length > ROOM.get() {
            return Ok(Self::TooLong(length));
        }
        Vec::linear_lift_from_memory(cx, ty, bytes).map(Self::Whole)
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
