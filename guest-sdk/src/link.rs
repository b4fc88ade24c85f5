//! Network devices.

use std::cell::OnceCell;

use crate::bindings::ipqext::packet::types as wit;

/// A network device.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Link {
    /// The index by which the kernel names it, never 0.
    pub index: u32,
    /// The name, as `eth0`; it may change while the index stays.
    pub name: String,
    /// `ARPHRD_*` of `<linux/if_arp.h>`: 1 is Ethernet, 772 the loopback.
    pub hardware_type: u16,
}

impl From<wit::Link> for Link {
    fn from(link: wit::Link) -> Self {
        Link {
            index: link.index,
            name: link.name,
            hardware_type: link.hardware_type,
        }
    }
}

/// The devices as of one version, asked from their source when somebody looks one
/// up: most extensions never do, and asking copies every name.
pub(crate) struct LinkTable {
    source: Box<dyn Fn() -> Vec<Link>>,
    version: u32,
    links: OnceCell<Vec<Link>>,
}

impl LinkTable {
    pub(crate) fn new(source: impl Fn() -> Vec<Link> + 'static) -> Self {
        LinkTable {
            source: Box::new(source),
            version: 0,
            links: OnceCell::new(),
        }
    }

    /// Forgets the devices if they are of another version.
    pub(crate) fn adopt(&mut self, version: u32) {
        if self.version != version {
            self.version = version;
            self.links = OnceCell::new();
        }
    }

    /// The device of that index; `None` for 0 and for one that is gone.
    pub(crate) fn get(&self, index: u32) -> Option<&Link> {
        if index == 0 {
            return None;
        }
        let links = self.links.get_or_init(|| (self.source)());
        links.iter().find(|link| link.index == index)
    }
}

#[cfg(test)]
mod tests {
    use super::{Link, LinkTable};
    use std::cell::Cell;
    use std::rc::Rc;

    fn counted() -> (LinkTable, Rc<Cell<u32>>) {
        let asked = Rc::new(Cell::new(0));
        let counter = Rc::clone(&asked);
        let table = LinkTable::new(move || {
            counter.set(counter.get() + 1);
            vec![Link {
                index: 2,
                name: format!("eth{}", counter.get()),
                hardware_type: 1,
            }]
        });
        (table, asked)
    }

    #[test]
    fn the_source_is_asked_when_somebody_looks() {
        let (mut table, asked) = counted();
        table.adopt(7);
        assert_eq!(table.get(0), None);
        assert_eq!(asked.get(), 0);
        assert_eq!(table.get(2).map(|link| link.name.as_str()), Some("eth1"));
        assert_eq!(table.get(3), None);
        assert_eq!(asked.get(), 1);
    }

    #[test]
    fn the_source_is_asked_again_for_another_version_only() {
        let (mut table, asked) = counted();
        for (version, times) in [(1, 1), (1, 1), (2, 2), (1, 3)] {
            table.adopt(version);
            assert!(table.get(2).is_some());
            assert_eq!(asked.get(), times);
        }
    }
}
