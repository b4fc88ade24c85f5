//! What is told of one packet to those who watch.

use std::sync::Arc;

use crate::chain::{Chain, Saying};
use crate::packet::{Batch, Fate, Links, Packet, Settlement};

/// What one extension said of the packet.
#[derive(Clone, Debug)]
pub struct Said {
    /// The extension's name.
    pub extension: Arc<str>,
    /// What it said.
    pub saying: Saying,
    /// The packet's mark after it, if that changed.
    pub mark: Option<u32>,
    /// Whether the packet's bytes changed.
    pub edited: bool,
    /// Why it failed.
    pub fault: Option<Box<str>>,
}

/// One packet, what became of it, and who said what. Used again and again: it keeps its
/// memory.
#[derive(Clone, Debug)]
pub struct Record {
    /// The kernel queue that it came by.
    pub queue: u16,
    /// The devices that it names.
    pub links: Arc<Links>,
    /// The packet as it came.
    pub came: Packet,
    /// The mark it went back with.
    pub mark: u32,
    /// What the kernel was told.
    pub settlement: Settlement,
    /// The extension that said so; none if the packet came to the end of the chain.
    pub by: Option<Arc<str>>,
    /// What each extension said, in chain order.
    pub said: Vec<Said>,
    /// Its bytes as they came, as many as there were.
    pub bytes: Vec<u8>,
    /// Whether an extension changed them.
    pub is_altered: bool,
    /// Its bytes as they went back, if so.
    pub altered: Vec<u8>,
}

impl Record {
    /// An empty record, with room for a packet of ordinary size.
    pub fn new() -> Self {
        Self {
            queue: 0,
            links: Arc::default(),
            came: Packet::default(),
            mark: 0,
            settlement: Settlement::Accept,
            by: None,
            said: Vec::with_capacity(16),
            bytes: Vec::with_capacity(2048),
            is_altered: false,
            altered: Vec::new(),
        }
    }

    /// Writes down the packet at a place of a batch that the chain has evaluated with
    /// its journal open.
    pub fn fill(
        &mut self,
        queue: u16,
        links: &Arc<Links>,
        batch: &Batch,
        place: usize,
        chain: &Chain,
    ) {
        let entry = &batch.entries()[place];
        self.queue = queue;
        self.links.clone_from(links);
        self.came = *entry.came();
        self.mark = entry.packet.mark;
        self.settlement = entry.settlement();
        self.bytes.clear();
        self.bytes.extend_from_slice(batch.bytes_of(entry.came()));
        self.is_altered = entry.is_altered();
        self.altered.clear();
        if self.is_altered {
            self.altered
                .extend_from_slice(batch.bytes_of(&entry.packet));
        }
        self.said.clear();
        let journal = chain.journal();
        for note in journal.of(place) {
            let Some(extension) = chain.name(note.stage) else {
                continue;
            };
            let fault = match note.saying {
                Saying::Fault(_) => journal.fault(note.stage, place).map(Box::from),
                Saying::Verdict(_) | Saying::Skipped(_) => None,
            };
            self.said.push(Said {
                extension: extension.clone(),
                saying: note.saying,
                mark: note.mark,
                edited: note.edited,
                fault,
            });
        }
        self.by = match entry.fate {
            Fate::Undecided => None,
            // Who decides is the last to be asked.
            Fate::Decided(_) => self.said.last().map(|said| said.extension.clone()),
        };
    }
}

impl Default for Record {
    fn default() -> Self {
        Self::new()
    }
}
