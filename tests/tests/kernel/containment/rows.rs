//! The misdeeds, in the order of the table.

/// One misdeed, and how it is brought about.
pub(super) struct Row {
    /// In words, for the table.
    pub(super) misdeed: &'static str,
    /// The extension that does it.
    pub(super) extension: &'static str,
    /// Its parameters.
    pub(super) params: &'static str,
    /// Options of `add`, split at spaces.
    pub(super) options: &'static str,
    /// What is commanded while packets come, after it was started.
    pub(super) commands: &'static [&'static str],
    /// Whether packets come long enough for its state to be saved, or for it to fail often
    /// though each time takes long.
    pub(super) is_long: bool,
    /// Which packets are its own: those that the misdeed is about.
    pub(super) own: Own,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Own {
    /// None, since it never gets any.
    None,
    /// Those that are poisoned.
    Poisoned,
    /// All.
    All,
}

impl Row {
    /// On every packet, under the policy that holds by default.
    const fn on_all(misdeed: &'static str, extension: &'static str, params: &'static str) -> Self {
        Self {
            misdeed,
            extension,
            params,
            options: "",
            commands: &[],
            is_long: false,
            own: Own::All,
        }
    }

    /// On poisoned packets, which are dropped for it: so it is seen that no others are.
    const fn on_poison(
        misdeed: &'static str,
        extension: &'static str,
        params: &'static str,
    ) -> Self {
        Self {
            options: "--on-fault drop",
            own: Own::Poisoned,
            ..Self::on_all(misdeed, extension, params)
        }
    }

    /// When it is commanded something.
    const fn commanded(
        misdeed: &'static str,
        extension: &'static str,
        params: &'static str,
        commands: &'static [&'static str],
    ) -> Self {
        Self {
            commands,
            ..Self::on_all(misdeed, extension, params)
        }
    }

    /// Before it gets any packet.
    const fn refused(misdeed: &'static str, extension: &'static str, params: &'static str) -> Self {
        Self {
            own: Own::None,
            ..Self::on_all(misdeed, extension, params)
        }
    }

    const fn with(self, options: &'static str) -> Self {
        Self { options, ..self }
    }

    /// Under the default policy: what a loop leaves no time for in its batch gets the policy
    /// as well.
    const fn passed_on(self) -> Self {
        Self {
            options: "",
            ..self
        }
    }

    const fn for_long(self) -> Self {
        Self {
            is_long: true,
            ..self
        }
    }
}

pub(super) const ROWS: &[Row] = &[
    // Panics.
    Row::on_poison("panics on one packet", "panics-on", "on=poison"),
    Row::on_all("panics on each tenth packet", "panics-on", "on=10"),
    Row::on_all("panics on every packet", "panics", ""),
    Row::refused("panics in `describe`", "traps-in-describe", ""),
    Row::commanded("panics in `help`", "panics-in-help", "", &["help"]),
    Row::refused("panics in `init`", "panics-in", "in=init"),
    Row::refused("panics in `start`", "panics-in", "in=start"),
    Row::commanded("panics in `stop`", "panics-in", "in=stop", &["stop"]),
    Row::commanded("panics in `reset`", "panics-in", "in=reset", &["reset"]),
    Row::commanded("panics in `info`", "panics-in", "in=info", &["info"]),
    Row::commanded("panics in `fini`", "panics-in", "in=fini", &["delete"]),
    Row::on_all("panics in `save`", "panics-in", "in=save").for_long(),
    Row::on_poison("panics in `restore`", "panics-in", "in=restore").for_long(),
    // Endless loops.
    Row::on_poison(
        "loops for ever on one packet of a batch",
        "loops-on",
        "on=poison",
    )
    .passed_on(),
    Row::on_all(
        "loops for ever on each hundredth packet",
        "loops-hundredth",
        "",
    ),
    Row::on_all("loops for ever on every packet", "loops-on", "on=all").for_long(),
    Row::refused("loops for ever in `describe`", "loops-in-describe", ""),
    Row::commanded("loops for ever in `help`", "loops-in-help", "", &["help"]),
    Row::refused("loops for ever in `init`", "loops-in", "in=init"),
    Row::refused("loops for ever in `start`", "loops-in", "in=start"),
    Row::commanded("loops for ever in `stop`", "loops-in", "in=stop", &["stop"]),
    Row::commanded(
        "loops for ever in `reset`",
        "loops-in",
        "in=reset",
        &["reset"],
    ),
    Row::commanded("loops for ever in `info`", "loops-in", "in=info", &["info"]),
    Row::commanded(
        "loops for ever in `fini`",
        "loops-in",
        "in=fini",
        &["delete"],
    ),
    Row::on_all("loops for ever in `save`", "loops-in", "in=save").for_long(),
    // A worker has no time for that: it is tried where spares are made.
    Row::on_poison("loops for ever in `restore`", "loops-in", "in=restore")
        .with("--call-deadline 50ms")
        .for_long(),
    Row::refused(
        "loops for ever in its module's start function",
        "loops-at-start",
        "",
    ),
    Row::on_all(
        "is busy nearly up to its deadline on every batch",
        "busy",
        "us=1000",
    ),
    Row::on_all(
        "takes longer to begin again than packets can wait",
        "slow-init",
        "",
    ),
    Row::on_all("sleeps for a minute on every packet", "sleeps", ""),
    // Memory.
    Row::on_poison("recurses until its stack is full", "recurses", "on=poison"),
    Row::on_poison("reads where it has no memory", "reads-beyond", "on=poison"),
    Row::on_all("divides by zero", "divides-by-zero", ""),
    Row::on_poison(
        "takes 2,000 MiB at once",
        "takes-memory",
        "on=poison mib=2000",
    ),
    Row::on_all(
        "takes memory by steps, 4 MiB a packet",
        "takes-memory",
        "on=all mib=4",
    ),
    Row::on_all("takes and touches memory without end", "grows", "").for_long(),
    Row::on_all("grows its table without end", "grows-table", ""),
    // Decisions and edits.
    Row::on_all(
        "decides of a packet that is not there",
        "decides-wrongly",
        "beyond",
    ),
    Row::on_all("decides of a packet twice", "decides-wrongly", "twice"),
    Row::on_all(
        "decides of packets out of order",
        "decides-wrongly",
        "backwards",
    ),
    Row::on_all(
        "decides of a packet that was decided before it",
        "decides-wrongly",
        "decided",
    ),
    Row::on_all(
        "drops packets without having declared it",
        "undeclared-drop",
        "",
    ),
    Row::on_all(
        "sets bits of the mark that it did not declare",
        "undeclared-mark",
        "",
    ),
    Row::on_all("has packets repeated for ever", "repeats", ""),
    Row::on_all("rewrites what it did not declare", "undeclared-edit", ""),
    Row::on_poison(
        "rewrites a packet to nothing",
        "edits-wrongly",
        "on=poison how=empty",
    ),
    Row::on_poison(
        "makes a packet 70,000 bytes longer",
        "edits-wrongly",
        "on=poison how=long",
    ),
    Row::on_poison(
        "writes a wrong length field",
        "edits-wrongly",
        "on=poison how=length-field",
    ),
    Row::on_all(
        "points to new bytes where it has no memory",
        "lies",
        "beyond",
    ),
    Row::on_all("hands over 20 MiB of new bytes", "lies", "much").with("--deadline 500ms"),
    // What it says.
    Row::commanded(
        "says what is no UTF-8 in `info`",
        "says",
        "what=no-utf8",
        &["info"],
    ),
    Row::commanded("says 100 MB in `info`", "says", "what=much", &["info"]),
    Row::commanded(
        "says 100 MB in `info`, with memory for it",
        "says",
        "what=much",
        &["info"],
    )
    .with("--memory 256MiB --worker-call-deadline 500ms"),
    Row::on_all("logs a hundred lines a packet", "floods", "where=log").with("--deadline 500ms"),
    Row::on_all(
        "prints 4 MB a packet, without the end of a line",
        "floods",
        "where=stdout",
    )
    .for_long(),
    Row::on_all("logs a lot whenever it begins, and panics", "babbles", ""),
    // The world around it.
    Row::commanded(
        "looks for files, variables, arguments and the network",
        "pries",
        "",
        &["info"],
    ),
    Row::on_poison("ends its program", "exits", "on=poison"),
    Row::on_poison("refuses the state that it saved", "refuses-restore", "").for_long(),
    // Files that are no extension.
    Row::refused("is no WebAssembly", "no-wasm", ""),
    Row::refused("is cut off in its midst", "truncated", ""),
    Row::refused("is a file of 200 MB", "huge", ""),
    Row::refused("is a component of another world", "other-world", ""),
    Row::refused(
        "is built for another version of the contract",
        "other-version",
        "",
    ),
    Row::refused("has a memory of 64 bits", "memory64", ""),
    Row::refused("has a memory for threads", "shared-memory", ""),
];
