//! The extension that does nothing.

use super::BenchError;

/// Its text. It must be assembled before it can be compiled.
const TEXT: &str = include_str!("empty.wat");

/// Assembles it.
pub(super) fn module() -> Result<Vec<u8>, BenchError> {
    wat::parse_str(TEXT).map_err(|error| BenchError::Empty(error.to_string()))
}

#[cfg(test)]
mod tests {
    use crate::packet::Needs;
    use crate::runtime::Runtime;

    #[test]
    fn it_is_an_extension_without_needs() {
        let module = super::module().unwrap();
        let compiled = Runtime::new().unwrap().compile(&module).unwrap();
        assert_eq!(compiled.description.name, "empty");
        assert_eq!(compiled.description.summary, "Does nothing.");
        assert_eq!(compiled.description.needs, Needs::default());
        assert!(!compiled.description.has_state);
    }
}
