//! From words to a condition.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipqext_wire::{Network, protocol};

use crate::FilterError;
use crate::eval::{Comparison, Direction, Expr, Layer, Net, Number, Operator};
use crate::lexer::{Placed, Token, split};
use crate::names::{CONSTANTS, PROTOCOLS};

/// How deep an expression may nest.
const DEPTH_MAX: usize = 50;

/// The protocols that have ports, in tcpdump's sense.
const WITH_PORTS: &[u8] = &[protocol::TCP, protocol::UDP, protocol::SCTP];

pub(crate) fn parse(text: &str) -> Result<Option<Expr>, FilterError> {
    let tokens = split(text)?;
    if tokens.is_empty() {
        return Ok(None);
    }
    let mut parser = Parser {
        tokens: &tokens,
        next: 0,
        end: text.chars().count() + 1,
        depth: 0,
        last: None,
    };
    let expr = parser.expression()?;
    match parser.peek() {
        None => Ok(Some(expr)),
        Some(_) => parser.fail("wanted and, or, or the end"),
    }
}

/// What a value without keywords is taken for: what the one before it was.
#[derive(Clone, Copy)]
struct Qualifiers {
    protocol: Option<Qualifier>,
    direction: Direction,
    kind: Kind,
}

/// A protocol before `host`, `port` and the like.
#[derive(Clone, Copy)]
enum Qualifier {
    Version(Network),
    Above(u8),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Host,
    Net,
    Port,
    PortRange,
    Proto,
}

struct Parser<'a> {
    tokens: &'a [Placed],
    next: usize,
    /// The column behind the text.
    end: usize,
    depth: usize,
    last: Option<Qualifiers>,
}

type Parsed<T> = Result<T, FilterError>;

impl<'a> Parser<'a> {
    /// `and` and `or` bind alike, from left to right.
    fn expression(&mut self) -> Parsed<Expr> {
        let mut expr = self.factor()?;
        loop {
            let and = self.take_word("and") || self.take_sign("&&");
            if !and && !self.take_word("or") && !self.take_sign("||") {
                return Ok(expr);
            }
            let (one, other) = (Box::new(expr), Box::new(self.factor()?));
            expr = if and {
                Expr::And(one, other)
            } else {
                Expr::Or(one, other)
            };
        }
    }

    fn factor(&mut self) -> Parsed<Expr> {
        self.deeper(|parser| {
            if parser.take_word("not") || parser.take_sign("!") {
                return Ok(Expr::Not(Box::new(parser.factor()?)));
            }
            // A parenthesis may begin a condition or a number.
            let start = parser.next;
            let number = match parser.comparison() {
                Ok(expr) => return Ok(expr),
                Err(error) => (parser.next, error),
            };
            parser.next = start;
            if !parser.take_sign("(") {
                return parser.primitive(number);
            }
            let inner = parser.expression().and_then(|expr| {
                parser.want_sign(")", "wanted and, or, or )")?;
                Ok(expr)
            });
            // Of two readings the one that came further tells what is wrong.
            inner.map_err(|error| {
                if error.column >= number.1.column {
                    error
                } else {
                    number.1
                }
            })
        })
    }

    /// `not` and parentheses call this for what they hold: it bounds the stack.
    fn deeper<T>(&mut self, inner: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth >= DEPTH_MAX {
            return self.fail("it nests too deeply");
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    /// A condition without brackets. `number` tells how far it is one on numbers, and
    /// why no further.
    fn primitive(&mut self, number: (usize, FilterError)) -> Parsed<Expr> {
        let start = self.next;
        let protocol = self.protocol();
        if let Some(Qualifier::Version(version)) = protocol
            && self.take_word("multicast")
        {
            return Ok(Expr::Multicast(version));
        }
        for (word, comparison) in [
            ("less", Comparison::LessOrEqual),
            ("greater", Comparison::GreaterOrEqual),
        ] {
            if protocol.is_none() && self.take_word(word) {
                let length = self.word("a number of bytes")?;
                let length = self.number(length)?;
                return Ok(Expr::Compare(
                    Number::Length,
                    comparison,
                    Number::Constant(length),
                ));
            }
        }
        let direction = self.direction();
        let kind = self.kind();
        if let Some(qualifier) = protocol
            && direction.is_none()
            && kind.is_none()
        {
            // A number of the protocol's bytes, with a mistake further on.
            if number.0 > self.next {
                return Err(number.1);
            }
            if !self.at_value() {
                self.last = None;
                return Ok(alone(qualifier));
            }
        }
        let given = protocol.is_some() || direction.is_some() || kind.is_some();
        let qualifiers = if given {
            Qualifiers {
                protocol,
                direction: direction.unwrap_or(Direction::Either),
                kind: kind.unwrap_or(Kind::Host),
            }
        } else if number.0 > start + 1 {
            return Err(number.1);
        } else {
            self.last.unwrap_or(Qualifiers {
                protocol: None,
                direction: Direction::Either,
                kind: Kind::Host,
            })
        };
        self.last = Some(qualifiers);
        self.value(qualifiers)
    }

    fn protocol(&mut self) -> Option<Qualifier> {
        let word = self.peek_word()?;
        let qualifier = match word {
            "ip" => Qualifier::Version(Network::Ipv4),
            "ip6" => Qualifier::Version(Network::Ipv6),
            "tcp" => Qualifier::Above(protocol::TCP),
            "udp" => Qualifier::Above(protocol::UDP),
            "sctp" => Qualifier::Above(protocol::SCTP),
            "icmp" => Qualifier::Above(protocol::ICMP),
            "icmp6" => Qualifier::Above(protocol::ICMPV6),
            _ => return None,
        };
        self.next += 1;
        Some(qualifier)
    }

    fn direction(&mut self) -> Option<Direction> {
        let (one, other) = match self.peek_word()? {
            "src" => (Direction::Source, "dst"),
            "dst" => (Direction::Destination, "src"),
            _ => return None,
        };
        self.next += 1;
        let joined = |parser: &Self, word: &str| {
            let words = parser.tokens.get(parser.next..parser.next + 2);
            let is = |placed: &Placed, word: &str| placed.token == Token::Word(word.to_owned());
            words.is_some_and(|words| is(&words[0], word) && is(&words[1], other))
        };
        for (word, both) in [("or", Direction::Either), ("and", Direction::Both)] {
            if joined(self, word) {
                self.next += 2;
                return Some(both);
            }
        }
        Some(one)
    }

    fn kind(&mut self) -> Option<Kind> {
        let kind = match self.peek_word()? {
            "host" => Kind::Host,
            "net" => Kind::Net,
            "port" => Kind::Port,
            "portrange" => Kind::PortRange,
            "proto" => Kind::Proto,
            _ => return None,
        };
        self.next += 1;
        Some(kind)
    }

    /// Whether a value follows, and not the end of the condition.
    fn at_value(&self) -> bool {
        self.peek_word()
            .is_some_and(|word| !matches!(word, "and" | "or" | "not"))
    }

    fn value(&mut self, qualifiers: Qualifiers) -> Parsed<Expr> {
        let Qualifiers {
            protocol,
            direction,
            kind,
        } = qualifiers;
        let version = match protocol {
            Some(Qualifier::Version(version)) => Some(version),
            Some(Qualifier::Above(_)) | None => None,
        };
        let above = matches!(protocol, Some(Qualifier::Above(_)));
        match kind {
            Kind::Host | Kind::Net | Kind::Proto if above => {
                self.fail("tcp, udp and the like go with port and portrange only; join by and")
            }
            Kind::Host => {
                let word = self.word("a condition as tcp, host ADDRESS, port N or len > N")?;
                let net = self.address(word)?;
                self.of_version(version, net)?;
                Ok(Expr::Address(version, direction, net))
            }
            Kind::Net => {
                let word = self.word("a network as 10.0.0.0/8")?;
                let net = self.net(word)?;
                self.of_version(version, net)?;
                Ok(Expr::Address(version, direction, net))
            }
            Kind::Port | Kind::PortRange => {
                let protocols = match protocol {
                    None => WITH_PORTS,
                    Some(Qualifier::Above(protocol::TCP)) => &[protocol::TCP],
                    Some(Qualifier::Above(protocol::UDP)) => &[protocol::UDP],
                    Some(Qualifier::Above(protocol::SCTP)) => &[protocol::SCTP],
                    Some(_) => return self.fail("only tcp, udp and sctp have ports"),
                };
                let (first, last) = self.ports(kind == Kind::PortRange)?;
                Ok(Expr::Port(protocols, direction, first, last))
            }
            Kind::Proto => {
                let word = self.word("a protocol's number or name")?;
                let known = PROTOCOLS.iter().find(|(name, _)| *name == word);
                let number = match known {
                    Some((_, number)) => *number,
                    None => match word.parse() {
                        Ok(number) => number,
                        Err(_) => {
                            return self
                                .fail_before("that is no protocol; give its number, 0 to 255");
                        }
                    },
                };
                Ok(Expr::Protocol(version, number))
            }
        }
    }

    fn of_version(&self, version: Option<Network>, net: Net) -> Parsed<()> {
        let is = match net {
            Net::V4 { .. } => Network::Ipv4,
            Net::V6 { .. } => Network::Ipv6,
        };
        if version.is_some_and(|version| version != is) {
            return self.fail_before("the address is of the other version of IP");
        }
        Ok(())
    }

    fn address(&self, word: &str) -> Parsed<Net> {
        match word.parse() {
            Ok(IpAddr::V4(address)) => Ok(net4(address, 32)),
            Ok(IpAddr::V6(address)) => Ok(net6(address, 128)),
            Err(_) => self
                .fail_before("that is no keyword and no address; names of hosts are not looked up"),
        }
    }

    fn net(&mut self, word: &str) -> Parsed<Net> {
        let (address, bits) = match word.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (word, None),
        };
        let wrong = "that is no network: give one as 10.0.0.0/8 or fe80::/10";
        if let Ok(address) = address.parse::<Ipv6Addr>() {
            return match bits.map_or(Ok(128), str::parse) {
                Ok(bits) if bits <= 128 => self.whole(net6(address, bits), address.into()),
                _ => self.fail_before(wrong),
            };
        }
        let octets: Result<Vec<u8>, _> = address.split('.').map(str::parse).collect();
        let Ok(octets) = octets else {
            return self.fail_before(wrong);
        };
        if octets.len() > 4 {
            return self.fail_before(wrong);
        }
        let mut whole = [0; 4];
        whole[..octets.len()].copy_from_slice(&octets);
        let address = Ipv4Addr::from(whole);
        if bits.is_none() && self.take_word("mask") {
            let mask = self.word("a mask as 255.255.0.0")?;
            return match mask.parse::<Ipv4Addr>() {
                Ok(mask) => {
                    let mask = mask.to_bits();
                    let bits = address.to_bits() & mask;
                    self.whole(Net::V4 { bits, mask }, address.into())
                }
                Err(_) => self.fail_before("that is no mask: give one as 255.255.0.0"),
            };
        }
        match bits.map_or(Ok(octets.len() as u32 * 8), str::parse) {
            Ok(bits) if bits <= 32 => self.whole(net4(address, bits), address.into()),
            _ => self.fail_before(wrong),
        }
    }

    /// A network whose address has no bits beyond its mask.
    fn whole(&self, net: Net, address: IpAddr) -> Parsed<Net> {
        let is_whole = match (net, address) {
            (Net::V4 { bits, .. }, IpAddr::V4(address)) => bits == address.to_bits(),
            (Net::V6 { bits, .. }, IpAddr::V6(address)) => bits == address.to_bits(),
            _ => false,
        };
        if is_whole {
            Ok(net)
        } else {
            self.fail_before("the address of the network has bits beyond its length")
        }
    }

    fn ports(&mut self, is_range: bool) -> Parsed<(u16, u16)> {
        let word = self.word("a port")?;
        let (first, last) = match word.split_once('-') {
            Some(range) if is_range => range,
            None if !is_range => (word, word),
            _ if is_range => return self.fail_before("that is no range: give one as 8000-8080"),
            _ => return self.fail_before("that is no port; ranges go with portrange"),
        };
        match (first.parse(), last.parse()) {
            (Ok(first), Ok(last)) if first <= last => Ok((first, last)),
            _ => self.fail_before("that is no port: give numbers from 0 to 65535"),
        }
    }

    fn comparison(&mut self) -> Parsed<Expr> {
        let one = self.sum(0)?;
        let signs = [
            ("=", Comparison::Equal),
            ("==", Comparison::Equal),
            ("!=", Comparison::Unequal),
            ("<", Comparison::Less),
            ("<=", Comparison::LessOrEqual),
            (">", Comparison::Greater),
            (">=", Comparison::GreaterOrEqual),
        ];
        let mut signs = signs.into_iter();
        let found = signs.find(|(sign, _)| self.take_sign(sign));
        let Some((_, comparison)) = found else {
            return self.fail("wanted a comparison: = != < <= > >=");
        };
        Ok(Expr::Compare(one, comparison, self.sum(0)?))
    }

    /// Numbers joined by operators that bind at least as much as `level`.
    fn sum(&mut self, level: usize) -> Parsed<Number> {
        // As in the grammar of libpcap, whose `^` and `%` are of no level; these are of
        // C's.
        const LEVELS: [&[(&str, Operator)]; 6] = [
            &[("|", Operator::Or)],
            &[("^", Operator::ExclusiveOr)],
            &[("&", Operator::And)],
            &[("<<", Operator::ShiftLeft), (">>", Operator::ShiftRight)],
            &[("+", Operator::Add), ("-", Operator::Subtract)],
            &[
                ("*", Operator::Multiply),
                ("/", Operator::Divide),
                ("%", Operator::Remainder),
            ],
        ];
        let Some(operators) = LEVELS.get(level) else {
            return self.term();
        };
        let mut number = self.sum(level + 1)?;
        loop {
            let mut operators = operators.iter();
            let found = operators.find(|(sign, _)| self.take_sign(sign));
            let Some((_, operator)) = found else {
                return Ok(number);
            };
            let other = Box::new(self.sum(level + 1)?);
            number = Number::Calculated(Box::new(number), *operator, other);
        }
    }

    fn term(&mut self) -> Parsed<Number> {
        if self.take_sign("(") {
            let number = self.deeper(|parser| parser.sum(0))?;
            self.want_sign(")", "wanted an operator or )")?;
            return Ok(number);
        }
        if self.take_word("len") {
            return Ok(Number::Length);
        }
        let layer = match self.peek_word() {
            Some("ip") => Some(Layer::Ip(Network::Ipv4)),
            Some("ip6") => Some(Layer::Ip(Network::Ipv6)),
            Some(word) => {
                let known = PROTOCOLS.iter().find(|(name, _)| *name == word);
                known.map(|(_, number)| Layer::Above(*number))
            }
            None => None,
        };
        if let Some(layer) = layer {
            self.next += 1;
            self.want_sign("[", "wanted [")?;
            let offset = self.deeper(|parser| parser.sum(0))?;
            let count = if self.take_sign(":") {
                match self.word("how many bytes: 1, 2 or 4")? {
                    "1" => 1,
                    "2" => 2,
                    "4" => 4,
                    _ => return self.fail_before("a number has 1, 2 or 4 bytes"),
                }
            } else {
                1
            };
            self.want_sign("]", "wanted ]")?;
            return Ok(Number::Bytes(layer, Box::new(offset), count));
        }
        let word = self.word("a number")?;
        let known = CONSTANTS.iter().find(|(name, _)| *name == word);
        match known {
            Some((_, number)) => Ok(Number::Constant(*number)),
            None => self.number(word).map(Number::Constant),
        }
    }

    /// Decimal, `0x..`, or with a leading 0 octal.
    fn number(&self, word: &str) -> Parsed<u32> {
        let number = match (word.strip_prefix("0x"), word.strip_prefix('0')) {
            (Some(digits), _) => u32::from_str_radix(digits, 16),
            (None, Some(digits)) if !digits.is_empty() => u32::from_str_radix(digits, 8),
            _ => word.parse(),
        };
        number.or_else(|_| self.fail_before("that is no number from 0 to 4294967295"))
    }

    fn peek(&self) -> Option<&'a Token> {
        self.tokens.get(self.next).map(|placed| &placed.token)
    }

    fn peek_word(&self) -> Option<&'a str> {
        match self.peek() {
            Some(Token::Word(word)) => Some(word),
            _ => None,
        }
    }

    fn take_word(&mut self, wanted: &str) -> bool {
        let found = self.peek_word() == Some(wanted);
        self.next += usize::from(found);
        found
    }

    fn take_sign(&mut self, wanted: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Sign(sign)) if *sign == wanted);
        self.next += usize::from(found);
        found
    }

    fn want_sign(&mut self, wanted: &str, problem: &str) -> Parsed<()> {
        if self.take_sign(wanted) {
            Ok(())
        } else {
            self.fail(problem)
        }
    }

    /// Any word; `what` says what it should be.
    fn word(&mut self, what: &str) -> Parsed<&'a str> {
        match self.peek_word() {
            Some(word) => {
                self.next += 1;
                Ok(word)
            }
            None => self.fail(&format!("wanted {what}")),
        }
    }

    /// A mistake at the next token.
    fn fail<T>(&self, problem: &str) -> Parsed<T> {
        let column = self.tokens.get(self.next);
        Err(FilterError {
            column: column.map_or(self.end, |placed| placed.column),
            problem: problem.to_owned(),
        })
    }

    /// A mistake in the token that was just taken.
    fn fail_before<T>(&self, problem: &str) -> Parsed<T> {
        let before = self.next.saturating_sub(1);
        let column = self.tokens.get(before);
        Err(FilterError {
            column: column.map_or(self.end, |placed| placed.column),
            problem: problem.to_owned(),
        })
    }
}

/// A protocol on its own. ICMP belongs to one version of IP each.
fn alone(qualifier: Qualifier) -> Expr {
    match qualifier {
        Qualifier::Version(version) => Expr::Version(version),
        Qualifier::Above(number) => {
            let version = match number {
                protocol::ICMP => Some(Network::Ipv4),
                protocol::ICMPV6 => Some(Network::Ipv6),
                _ => None,
            };
            Expr::Protocol(version, number)
        }
    }
}

fn net4(address: Ipv4Addr, length: u32) -> Net {
    let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
    Net::V4 {
        bits: address.to_bits() & mask,
        mask,
    }
}

fn net6(address: Ipv6Addr, length: u32) -> Net {
    let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
    Net::V6 {
        bits: address.to_bits() & mask,
        mask,
    }
}
