//! The operator's parameters.

use crate::value::Value;

/// The parameters that the operator gave an extension, as `every=2,verbose=true`.
///
/// They are one text, and what it means is the extension's affair: [`raw`](Self::raw)
/// gives it as it is. The other functions read it as `key=value` items, separated
/// by commas or white space. Call [`only`](Self::only) first, so that a misspelt key
/// is refused instead of ignored:
///
/// ```
/// # use ipqext_sdk::Params;
/// # fn init(params: &Params) -> Result<u64, String> {
/// params.only(&["every"])?;
/// let every = params.parse::<u64>("every")?.unwrap_or(1);
/// # Ok(every)
/// # }
/// # assert_eq!(init(&Params::new("every=2")), Ok(2));
/// # assert_eq!(init(&Params::new("")), Ok(1));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params {
    raw: String,
}

impl Params {
    /// Parameters of that text, for tests.
    pub fn new(raw: impl Into<String>) -> Self {
        Params { raw: raw.into() }
    }

    /// The text as the operator gave it; empty if there was none.
    pub fn raw(&self) -> &str {
        &self.raw
    }

    /// The value of the first item `key=value`. It is empty for `key=`, and `None`
    /// if there is no such item.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.items().find_map(|item| match item.split_once('=') {
            Some((name, value)) if name == key => Some(value),
            _ => None,
        })
    }

    /// The value of `key` as a `T`, or `None` if there is no such item.
    ///
    /// # Errors
    ///
    /// If the value is none of `T`: a text for the operator that names the key, the
    /// value and what is wanted instead.
    pub fn parse<T: Value>(&self, key: &str) -> Result<Option<T>, String> {
        let Some(text) = self.get(key) else {
            return Ok(None);
        };
        match T::from_text(text) {
            Some(value) => Ok(Some(value)),
            None => Err(format!(
                "parameter `{key}` is `{text}`, wanted {}",
                T::WANTED
            )),
        }
    }

    /// Refuses whatever is not an item of one of the keys `known`.
    ///
    /// # Errors
    ///
    /// A text for the operator that names the first item with an unknown key, the
    /// first key that is there twice, or the first item that is no `key=value`, and
    /// the known keys.
    pub fn only(&self, known: &[&str]) -> Result<(), String> {
        for (index, item) in self.items().enumerate() {
            let Some((key, _)) = item.split_once('=') else {
                return Err(format!("`{item}` is not a `key=value`; {}", takes(known)));
            };
            if !known.contains(&key) {
                return Err(format!("unknown parameter `{key}`; {}", takes(known)));
            }
            let again = self
                .items()
                .take(index)
                .any(|earlier| earlier.split_once('=').is_some_and(|(name, _)| name == key));
            if again {
                return Err(format!("parameter `{key}` is there twice"));
            }
        }
        Ok(())
    }

    fn items(&self) -> impl Iterator<Item = &str> {
        self.raw
            .split(|separator: char| separator == ',' || separator.is_whitespace())
            .filter(|item| !item.is_empty())
    }
}

fn takes(known: &[&str]) -> String {
    if known.is_empty() {
        return "it takes no parameters".to_owned();
    }
    let keys: Vec<String> = known.iter().map(|key| format!("`{key}`")).collect();
    format!("it takes {}", keys.join(", "))
}

#[cfg(test)]
mod tests {
    use super::Params;

    #[test]
    fn items_are_separated_by_commas_or_white_space() {
        for raw in ["a=1,b=2", "a=1 b=2", " a=1 ,\tb=2\n,,"] {
            let params = Params::new(raw);
            assert_eq!(params.get("a"), Some("1"), "{raw:?}");
            assert_eq!(params.get("b"), Some("2"), "{raw:?}");
            assert_eq!(params.get("c"), None, "{raw:?}");
            assert_eq!(params.raw(), raw);
        }
    }

    #[test]
    fn a_value_may_be_empty_or_hold_an_equals_sign() {
        let params = Params::new("filter=port=53,name=");
        assert_eq!(params.get("filter"), Some("port=53"));
        assert_eq!(params.get("name"), Some(""));
    }

    #[test]
    fn an_error_names_key_value_and_wish() {
        let params = Params::new("every=two");
        assert_eq!(params.parse::<u64>("other"), Ok(None));
        assert_eq!(
            params.parse::<u16>("every"),
            Err(
                "parameter `every` is `two`, wanted a whole number from 0 to 65535, \
                 decimal or 0x hexadecimal"
                    .to_owned()
            )
        );
        assert_eq!(Params::new("every=2").parse::<u16>("every"), Ok(Some(2)));
    }

    #[test]
    fn only_accepts_each_known_key_once() {
        let known = ["every", "seed"];
        assert_eq!(Params::new("").only(&known), Ok(()));
        assert_eq!(Params::new("seed=1, every=2").only(&known), Ok(()));
    }

    #[test]
    fn only_refuses_the_rest() {
        let only = |raw: &str| Params::new(raw).only(&["every", "seed"]).unwrap_err();
        assert_eq!(
            only("evrey=2"),
            "unknown parameter `evrey`; it takes `every`, `seed`"
        );
        assert_eq!(only("=2"), "unknown parameter ``; it takes `every`, `seed`");
        assert_eq!(
            only("every"),
            "`every` is not a `key=value`; it takes `every`, `seed`"
        );
        assert_eq!(
            only("every=2 seed=1 every=3"),
            "parameter `every` is there twice"
        );
        assert_eq!(
            Params::new("every=2").only(&[]).unwrap_err(),
            "unknown parameter `every`; it takes no parameters"
        );
    }
}
