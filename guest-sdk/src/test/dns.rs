//! Messages of DNS (RFC 1035).

use std::net::IpAddr;

const HEADER: usize = 12;
/// The time to live of answers, in seconds.
const TTL: u32 = 300;

/// A query for the addresses of a name, in the family of `family`.
pub(super) fn query(name: &str, family: IpAddr) -> Vec<u8> {
    // Recursion is wanted; one question.
    let header = [0, 1, 0x01, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    [&header[..], &question(name, family)].concat()
}

/// The reply to it, with one address.
pub(super) fn reply(name: &str, address: IpAddr) -> Vec<u8> {
    let octets = match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    // A response, with recursion available; one question, one answer.
    let header = [0, 1, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0];
    let [high, low] = kind(address);
    // The name is that of the question.
    let answer = [0xc0, HEADER as u8, high, low, 0, 1];
    let ttl = TTL.to_be_bytes();
    let length = [0, octets.len() as u8];
    [
        &header[..],
        &question(name, address),
        &answer,
        &ttl,
        &length,
        &octets,
    ]
    .concat()
}

fn question(name: &str, family: IpAddr) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        assert!(
            label.len() < 64,
            "a label of DNS has 63 bytes at most: {label}"
        );
        bytes.push(label.len() as u8);
        bytes.extend_from_slice(label.as_bytes());
    }
    let [high, low] = kind(family);
    bytes.extend_from_slice(&[0, high, low, 0, 1]);
    bytes
}

/// A or AAAA.
fn kind(family: IpAddr) -> [u8; 2] {
    match family {
        IpAddr::V4(_) => [0, 1],
        IpAddr::V6(_) => [0, 28],
    }
}
