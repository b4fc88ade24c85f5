//! The macro that makes a crate an extension.

/// Makes a type the extension of this crate. Write it once, in a `cdylib`.
///
/// What the operator reads of it comes from the `Cargo.toml`:
///
/// | of the extension | is |
/// | --- | --- |
/// | the name | the crate's, without `ipqext_` before it, with `-` for `_`; so it is always the one of the `.wasm` file, also for an `[[example]]` |
/// | the version | `version` of the package |
/// | the summary | `description` of the package, on one line |
///
/// With `stateful` behind the type it exports its [`Stateful`](crate::Stateful) too:
/// `export!(Counter, stateful)`.
///
/// With `state` it makes it `Stateful` by the traits of serde: all of it with
/// `export!(Counter, state)`, one field with `export!(Counter, state = field)`. See `SerdeState`, which comes with the
/// feature `serde`.
///
/// In a native build it exports nothing: there the type is for tests.
#[macro_export]
macro_rules! export {
    ($extension:ty, stateful) => {
        $crate::export!($extension);
        $crate::export_state_of!($extension);
    };
    ($extension:ty, state) => {
        $crate::stateful_by_serde!($extension, );
        $crate::export!($extension, stateful);
    };
    ($extension:ty, state = $($field:tt).+) => {
        $crate::stateful_by_serde!($extension, $(.$field)+);
        $crate::export!($extension, stateful);
    };
    ($extension:ty) => {
        $crate::export_as! {
            $extension,
            ::core::env!("CARGO_CRATE_NAME"),
            ::core::env!("CARGO_PKG_VERSION"),
            ::core::env!("CARGO_PKG_DESCRIPTION")
        }
    };
}

/// Exports a type under the name of this crate, in this version and with this description.
#[doc(hidden)]
#[macro_export]
macro_rules! export_as {
    ($extension:ty, $crate_name:expr, $version:expr, $description:expr) => {
        const _: () = {
            ::std::thread_local! {
                static SLOT: $crate::component::Slot<$extension> =
                    const { ::std::cell::RefCell::new(::std::option::Option::None) };
            }

            impl $crate::component::Exported for $extension {
                const MANIFEST: $crate::component::Manifest = $crate::component::Manifest {
                    crate_name: $crate_name,
                    version: $version,
                    description: $description,
                };

                fn slot() -> &'static ::std::thread::LocalKey<$crate::component::Slot<Self>> {
                    &SLOT
                }
            }

            // Native linkers stumble over the `@` in the exported names.
            #[cfg(target_family = "wasm")]
            type Exported = $crate::component::Component<$extension>;
            #[cfg(target_family = "wasm")]
            $crate::bindings::export_component! { Exported with_types_in $crate::bindings }

            // What is allowed to be unused counts as used, and with it the whole of the
            // extension, which nothing exports in a native build.
            #[cfg(not(target_family = "wasm"))]
            #[allow(dead_code, reason = "stands for the exports")]
            fn stand_for_the_exports() -> $extension {
                <$extension as ::core::default::Default>::default()
            }
        };
    };
}

/// Exports the state of a type that is exported.
#[doc(hidden)]
#[macro_export]
macro_rules! export_state_of {
    ($extension:ty) => {
        const _: () = {
            #[cfg(target_family = "wasm")]
            type Exported = $crate::component::Component<$extension>;
            #[cfg(target_family = "wasm")]
            $crate::bindings::state::export_state! {
                Exported with_types_in $crate::bindings::state
            }

            #[cfg(not(target_family = "wasm"))]
            const fn stand_for_the_exports<E: $crate::Stateful>() {}
            #[cfg(not(target_family = "wasm"))]
            stand_for_the_exports::<$extension>();
        };
    };
}

/// Makes an extension stateful by what serde reads and writes of it.
#[cfg(feature = "serde")]
#[doc(hidden)]
#[macro_export]
macro_rules! stateful_by_serde {
    ($extension:ty, $($place:tt)*) => {
        impl $crate::Stateful for $extension {
            fn save(
                &self,
            ) -> ::core::result::Result<::std::vec::Vec<u8>, ::std::string::String> {
                $crate::state::save(&(*self) $($place)*)
            }

            fn restore(
                &mut self,
                version: &str,
                parts: ::std::vec::Vec<::std::vec::Vec<u8>>,
            ) -> ::core::result::Result<(), ::std::string::String> {
                $crate::state::restore(&mut (*self) $($place)*, version, parts)
            }
        }
    };
}

/// Says what is missing.
#[cfg(not(feature = "serde"))]
#[doc(hidden)]
#[macro_export]
macro_rules! stateful_by_serde {
    ($($any:tt)*) => {
        ::core::compile_error!(
            "export!(…, state) needs ipqext-sdk with the feature `serde`: in Cargo.toml give its \
             dependency `features = [\"serde\"]`"
        );
    };
}
