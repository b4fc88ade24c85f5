//! Chooses packets by expressions in tcpdump's syntax (pcap-filter(7)), of IPv4 and
//! IPv6, from the IP header on, without a library of the system.
//!
//! It is a subset:
//!
//! | primitive | matches |
//! | --- | --- |
//! | `ip`, `ip6` | the version of IP |
//! | `tcp`, `udp`, `icmp`, `icmp6`, `sctp` | the protocol above IP, behind extension headers |
//! | `[ip\|ip6] proto N` | the protocol by number or name |
//! | `[ip\|ip6] [src\|dst] host ADDRESS` | an address; `host` may be left out |
//! | `[ip\|ip6] [src\|dst] net NET` | `10.0.0.0/8`, `10.0`, `10.0.0.0 mask 255.0.0.0`, `fe80::/10` |
//! | `[tcp\|udp\|sctp] [src\|dst] port N` | a port |
//! | `[tcp\|udp\|sctp] [src\|dst] portrange N-M` | ports from N to M |
//! | `ip multicast`, `ip6 multicast` | a multicast destination |
//! | `less N`, `greater N` | packets of at most, at least, N bytes |
//! | `A OP B` | numbers: `len`, `ip[8]`, `tcp[tcpflags] & tcp-syn != 0`, `udp[4:2] > 100` |
//!
//! Besides `src` and `dst` there are `src or dst`, which is meant where neither is
//! given, and `src and dst`. Primitives are joined by `and` (`&&`), `or` (`||`) and
//! `not` (`!`), with parentheses; `and` and `or` are of one precedence and go from left
//! to right, as in tcpdump. A value without keywords takes those of the one before it:
//! `port 80 or 443`.
//!
//! Other than in tcpdump, `tcp[..]` and the like look at IPv6 too, and `tcp` and `port`
//! behind any extension header. There are no names of hosts and services, nothing of
//! the link layer, and no `inbound`: the packets of a queue have neither.
//!
//! As in tcpdump, a packet too short for a number that is asked for is not matched,
//! whatever the rest says.

#![forbid(unsafe_code)]

mod eval;
mod lexer;
mod names;
mod parser;

use eval::Expr;

/// An expression that packets match, or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PacketFilter {
    /// None matches all.
    expr: Option<Expr>,
}

/// A text that is no expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("filter, column {column}: {problem}")]
pub struct FilterError {
    /// Where, in characters from 1.
    pub column: usize,
    /// What is wrong, and what was expected.
    pub problem: String,
}

impl PacketFilter {
    /// Reads an expression; an empty one matches all packets.
    ///
    /// # Errors
    /// It is none, or not of the subset that there is.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        parser::parse(text).map(|expr| Self { expr })
    }

    /// Whether it matches a packet, of which there are these bytes from the IP header
    /// on, and which is so many bytes long.
    pub fn matches(&self, bytes: &[u8], length: usize) -> bool {
        match &self.expr {
            None => true,
            Some(expr) => expr.matches(bytes, length),
        }
    }
}

#[cfg(test)]
mod tests;
