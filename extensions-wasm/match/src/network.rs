//! Ranges of IP addresses.

use std::net::IpAddr;

/// The addresses that begin with the same bits, as `10.0.0.0/8` (RFC 4632).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Network {
    address: IpAddr,
    prefix_length: u32,
}

impl Network {
    /// The network that a text names: an address, which may have the length of its
    /// prefix behind it. Bits behind the prefix mean nothing.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix_length = match length {
            // `parse` takes a sign, which no length has.
            Some(length) if !length.starts_with('+') => length.parse().ok()?,
            Some(_) => return None,
            None => longest,
        };
        (prefix_length <= longest).then_some(Network {
            address,
            prefix_length,
        })
    }

    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let (difference, bits) = match (self.address, address) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                (u128::from(ours.to_bits() ^ theirs.to_bits()), 32)
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => (ours.to_bits() ^ theirs.to_bits(), 128),
            _ => return false,
        };
        // The prefix of no bits would shift by all of them.
        difference
            .checked_shr(bits - self.prefix_length)
            .unwrap_or(0)
            == 0
    }
}

#[cfg(test)]
mod tests {
    use super::Network;

    fn contains(network: &str, address: &str) -> Option<bool> {
        Some(Network::parse(network)?.contains(address.parse().ok()?))
    }

    #[test]
    fn an_address_is_in_a_network_if_it_begins_with_its_prefix() {
        for (network, address, is_in) in [
            ("10.0.0.0/8", "10.255.255.255", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.1.2.3/8", "10.9.9.9", true),
            ("10.0.0.128/25", "10.0.0.127", false),
            ("10.0.0.128/25", "10.0.0.128", true),
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.0", false),
            ("10.0.0.1/32", "10.0.0.0", false),
            ("0.0.0.0/0", "255.1.2.3", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "ffff::1", true),
            ("::/0", "10.0.0.1", false),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("2001:db8::1", "2001:db8::2", false),
            ("2001:db8::1", "2001:db8::1", true),
        ] {
            assert_eq!(
                contains(network, address),
                Some(is_in),
                "{address} in {network}"
            );
        }
    }

    #[test]
    fn what_names_no_network_is_refused() {
        for wrong in [
            "",
            "/",
            "10.0.0",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/-1",
            "10.0.0.0/+8",
            "::/129",
            "10.0.0.0/255.0.0.0",
            "localhost",
        ] {
            assert_eq!(Network::parse(wrong), None, "{wrong:?}");
        }
    }
}
