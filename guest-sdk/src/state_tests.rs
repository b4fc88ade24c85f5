use super::*;
use crate::prelude::*;
use crate::test::{Kit, TestPacket, saved_state};
use serde::Deserialize;

/// Two fields, the second new in version 2, and neither merged nor migrated from version 3.
#[derive(Default, Debug, PartialEq, Serialize, Deserialize)]
struct Notes {
    last: String,
    count: u8,
}

impl SerdeState for Notes {
    const VERSION: u32 = 2;

    fn migrate(saved: OtherVersion<'_>) -> Result<Self, String> {
        match saved.version() {
            1 => Ok(Notes {
                last: saved.decode()?,
                count: saved.extension_version().len() as u8,
            }),
            _ => Err(saved.unknown()),
        }
    }
}

fn notes(last: &str, count: u8) -> Notes {
    Notes {
        last: last.to_owned(),
        count,
    }
}

fn restored(parts: impl IntoIterator<Item = Vec<u8>>) -> Result<Notes, String> {
    let mut state = notes("as it began", 9);
    restore(&mut state, "1.2.3", parts.into_iter().collect())?;
    Ok(state)
}

#[test]
fn the_version_stands_before_the_state() {
    assert_eq!(save(&notes("ab", 7)).unwrap(), [2, 2, b'a', b'b', 7]);
    assert_eq!(save(&300_u64).unwrap(), [1, 0xac, 0x02]);
}

#[test]
fn a_state_comes_back_as_it_was_and_stays_without_parts() {
    let saved = save(&notes("ab", 7)).unwrap();
    assert_eq!(restored([saved]), Ok(notes("ab", 7)));
    assert_eq!(restored([]), Ok(notes("as it began", 9)));
}

#[test]
fn an_older_version_is_migrated_and_an_unknown_one_refused() {
    let old = saved_state(1, &"old");
    assert_eq!(restored([old]), Ok(notes("old", 5)));
    let newer = saved_state(3, &("newer", 1, 2));
    let refused = restored([newer]).unwrap_err();
    assert!(
        refused.contains("version 1.2.3") && refused.contains("state version 3"),
        "{refused}"
    );
    assert!(refused.contains("knows 2"), "{refused}");
    // By default none is migrated.
    let refused = restore(&mut 0_u64, "1.2.3", vec![saved_state(2, &1_u64)]);
    assert!(refused.unwrap_err().contains("SerdeState::migrate"));
}

#[test]
fn what_is_no_state_is_refused_and_changes_nothing() {
    let longer = [save(&notes("ab", 7)).unwrap(), vec![0]].concat();
    for (part, words) in [
        (vec![], "no state version"),
        (vec![0xff; 9], "no state version"),
        (vec![2], "shape of state version 2"),
        (vec![2, 200, b'a'], "shape of state version 2"),
        (longer, "1 bytes are left over"),
        (saved_state(1, &(3_u8, "old")), "shape of state version 1"),
    ] {
        let mut state = notes("as it began", 9);
        let refused = restore(&mut state, "1.2.3", vec![part]).unwrap_err();
        assert!(refused.contains(words), "{refused}");
        assert!(refused.contains("version 1.2.3"), "{refused}");
        assert_eq!(state, notes("as it began", 9));
    }
}

#[test]
fn several_parts_are_refused_unless_they_can_be_merged() {
    let part = save(&notes("ab", 7)).unwrap();
    let refused = restored([part.clone(), part]).unwrap_err();
    assert!(refused.contains("SerdeState::merge"), "{refused}");
    let mut count = 1;
    let parts = [5_u64, 6, u64::MAX].map(|count| save(&count).unwrap());
    restore(&mut count, "1.2.3", parts[..2].to_vec()).unwrap();
    assert_eq!(count, 11);
    restore(&mut count, "1.2.3", parts.to_vec()).unwrap();
    assert_eq!(count, u64::MAX);
}

#[derive(Default)]
struct Nested {
    inner: (u32, u64),
}

impl Extension for Nested {
    const NEEDS: Needs = Needs::none();

    fn proc(&mut self, _packet: &mut Packet) -> Verdict {
        self.inner.1 += 1;
        Verdict::Pass
    }
}

mod nested {
    use super::Nested;
    use crate::prelude::*;

    export!(Nested, state = inner.1);
}

/// Nothing but its state.
#[derive(Default, Serialize, Deserialize)]
struct Whole {
    seen: u64,
}

impl SerdeState for Whole {}

impl Extension for Whole {
    const NEEDS: Needs = Needs::none();

    fn proc(&mut self, _packet: &mut Packet) -> Verdict {
        self.seen += 1;
        Verdict::Pass
    }
}

mod whole {
    use super::Whole;
    use crate::prelude::*;

    export!(Whole, state);
}

#[test]
fn one_line_exports_a_field_or_the_whole() -> Result<(), String> {
    let ping = || TestPacket::ping("10.0.0.1", "10.0.0.2");
    let mut nested = Kit::<Nested>::new()?;
    nested.decide_batch([ping(), ping()]);
    let saved = nested.save()?;
    let nested = Kit::<Nested>::restored("", "1.2.3", [saved.clone(), saved])?;
    assert_eq!(nested.extension().inner, (0, 4));

    let mut whole = Kit::<Whole>::new()?;
    whole.proc(ping());
    let whole = Kit::<Whole>::restored("", "1.2.3", [whole.save()?])?;
    assert_eq!(whole.extension().seen, 1);
    Ok(())
}
