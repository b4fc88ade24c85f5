//! An extension that is wanted in a chain.

use std::path::{Path, PathBuf};

use crate::chain::{LimitsChange, PolicyChange};
use crate::event::{GrantChange, Wanted};
use crate::packet::Group;

/// An extension that is wanted in a chain, from a `.wasm` file. What is not said is as it is by
/// default in the daemon.
#[derive(Clone, Debug)]
pub struct Extension {
    pub(super) from: From,
    pub(super) wanted: Wanted,
}

/// Where it is to be had.
#[derive(Clone, Debug)]
pub(super) enum From {
    /// A file, whatever its name.
    File(PathBuf),
    /// The file of its name in a directory.
    Directory(PathBuf),
}

impl Extension {
    /// The one in a file.
    pub fn file(path: impl AsRef<Path>) -> Self {
        let path = path.as_ref();
        let origin = path.display().to_string();
        Self {
            from: From::File(path.to_owned()),
            wanted: Wanted::new(origin, String::new(), String::new()),
        }
    }

    /// The one that is wanted, from a directory of extensions, where its file has its name.
    pub fn wanted(directory: &Path, wanted: Wanted) -> Self {
        Self {
            from: From::Directory(directory.to_owned()),
            wanted,
        }
    }

    /// Gives it parameters; what they mean is the extension's affair.
    #[must_use]
    pub fn params(mut self, params: impl Into<String>) -> Self {
        self.wanted.params = params.into();
        self
    }

    /// Gives it only packets of a group.
    #[must_use]
    pub fn group(mut self, group: Group) -> Self {
        self.wanted.group = group;
        self
    }

    /// Lets it do more, or less, than is usual of what it declares.
    #[must_use]
    pub fn grant(mut self, grant: GrantChange) -> Self {
        self.wanted.grant = grant;
        self
    }

    /// Says what becomes of packets that it does not decide.
    #[must_use]
    pub fn policy(mut self, policy: PolicyChange) -> Self {
        self.wanted.policy = policy;
        self
    }

    /// Holds it to other limits.
    #[must_use]
    pub fn limits(mut self, limits: LimitsChange) -> Self {
        self.wanted.limits = limits;
        self
    }
}
