//! Rules with the target NFQUEUE in what `iptables-save` prints, whoever made them.

/// A rule that sends packets to queues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct QueueRule {
    program: &'static str,
    table: String,
    /// As `iptables` takes it behind `-A`.
    spec: Vec<String>,
    first: u16,
    last: u16,
    /// Whether packets go on while nobody serves the queue.
    pub(super) bypass: bool,
}

/// The rules in a text of `iptables-save`.
pub(super) fn queue_rules(program: &'static str, saved: &str) -> impl Iterator<Item = QueueRule> {
    let mut table = String::new();
    saved.lines().filter_map(move |line| {
        if let Some(name) = line.strip_prefix('*') {
            name.clone_into(&mut table);
            return None;
        }
        rule(program, &table, line)
    })
}

fn rule(program: &'static str, table: &str, line: &str) -> Option<QueueRule> {
    let words = shlex::split(line.strip_prefix("-A ")?)?;
    let behind = |option: &str| {
        let mut pairs = words.windows(2);
        pairs.find_map(|pair| (pair[0] == option).then(|| pair[1].clone()))
    };
    if behind("-j").as_deref() != Some("NFQUEUE") {
        return None;
    }
    let queues = behind("--queue-num").or_else(|| behind("--queue-balance"));
    // Without either it is queue 0 (iptables-extensions(8)).
    let queues = queues.unwrap_or_else(|| "0".to_owned());
    let (first, last) = queues.split_once(':').unwrap_or((&queues, &queues));
    Some(QueueRule {
        program,
        table: table.to_owned(),
        first: first.parse().ok()?,
        last: last.parse().ok()?,
        bypass: words.iter().any(|word| word == "--queue-bypass"),
        spec: words,
    })
}

impl QueueRule {
    /// The queues that it sends packets to.
    pub(super) fn queues(&self) -> impl Iterator<Item = u16> + use<> {
        self.first..=self.last
    }

    /// The queues as iptables names them.
    pub(super) fn queue_text(&self) -> String {
        if self.first == self.last {
            self.first.to_string()
        } else {
            format!("{}:{}", self.first, self.last)
        }
    }

    /// What keeps its packets from conntrack, which otherwise has seen them: it comes
    /// after the table raw, where packets come in and are made (`NF_IP_PRI_CONNTRACK` in
    /// `<linux/netfilter_ipv4.h>`). `None` if it has not.
    pub(super) fn notrack(&self) -> Option<String> {
        let hook = match self.spec.first().map(String::as_str) {
            Some("OUTPUT") => "OUTPUT",
            _ => "PREROUTING",
        };
        (self.table != "raw").then(|| {
            let program = self.program;
            format!("{program} -t raw -A {hook} (the same match) -j CT --notrack")
        })
    }

    /// The command line that does that with it.
    pub(super) fn command(&self, action: &str) -> String {
        let words = [self.program, "-t", &self.table, action].into_iter();
        let words = words.chain(self.spec.iter().map(String::as_str));
        shlex::try_join(words).unwrap_or_else(|_| self.program.to_owned())
    }
}
