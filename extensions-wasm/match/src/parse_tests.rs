use proptest::prelude::*;

use super::rules;
use crate::Action;

fn refusal(text: &str) -> String {
    match rules(text) {
        Ok(rules) => panic!("{text:?} was understood as {rules:?}"),
        Err(error) => error,
    }
}

fn action(text: &str) -> Action {
    rules(text).unwrap_or_else(|error| panic!("{text:?}: {error}"))[0].action
}

#[test]
fn rules_stand_on_lines_or_between_semicolons() {
    let text = "\
# Rules of the house
drop udp dport 53 payload \"a;b#c\"  # one

  ;; accept icmp ; pass ttl<5
";
    let rules = rules(text).expect("they are right");
    let texts: Vec<&str> = rules.iter().map(|rule| rule.text.as_str()).collect();
    assert_eq!(
        texts,
        [
            "drop udp dport 53 payload \"a;b#c\"",
            "accept icmp",
            "pass ttl<5"
        ]
    );
    let conditions: Vec<usize> = rules.iter().map(|rule| rule.terms.len()).collect();
    assert_eq!(conditions, [3, 1, 1]);
}

#[test]
fn actions() {
    assert_eq!(action("pass"), Action::Pass);
    assert_eq!(action("accept tcp"), Action::Accept);
    assert_eq!(action("accept-flow tcp"), Action::AcceptFlow);
    assert_eq!(action("drop"), Action::Drop);
    assert_eq!(action("drop-flow"), Action::DropFlow);
    let mark = |value, mask| Action::Mark { value, mask };
    assert_eq!(action("mark 1"), mark(1, u32::MAX));
    assert_eq!(action("mark 0x10/0xf0 tcp"), mark(0x10, 0xf0));
    assert_eq!(action("mark 0/1"), mark(0, 1));
}

#[test]
fn every_condition_is_understood() {
    for condition in [
        "tcp",
        "udp",
        "icmp",
        "icmpv6",
        "protocol 50",
        "ipv4",
        "ipv6",
        "from 10.0.0.0/8",
        "to ::1",
        "host 192.0.2.1",
        "sport 80-90",
        "dport 53",
        "port 0-65535",
        "in eth0",
        "out wlan0.1",
        "hook postrouting",
        "ttl < 5",
        "ttl<=5",
        "ttl =5",
        "ttl!= 5",
        "ttl>=5",
        "ttl > 0",
        r#"payload "\x00""#,
        r#"regex "a\"b""#,
        "not tcp",
        r#"not regex "x""#,
    ] {
        for text in [
            format!("drop {condition}"),
            format!("pass {condition} ipv4"),
        ] {
            assert!(rules(&text).is_ok(), "{text}: {:?}", rules(&text));
        }
    }
}

#[test]
fn a_refusal_has_the_rule_the_place_the_wish_and_the_mistake() {
    assert_eq!(
        refusal("pass\n# no rule\n\n drop udp\n   drop tcp dport htp"),
        "rule 3 (line 5, column 19): wanted a port from 0 to 65535, or two with a `-` between, \
         the lower one first, as 53 or 80-90; found `htp`"
    );
    assert_eq!(
        refusal("accept icmp; dorp udp"),
        "rule 2 (line 1, column 14): wanted an action: `pass`, `accept`, \
         `accept-flow`, `drop`, `drop-flow` or \
         `mark VALUE/MASK`; found `dorp`"
    );
    assert_eq!(
        refusal("drop udp from"),
        "rule 1 (line 1, column 14): wanted an IP address or a network, as 10.0.0.1, 10.0.0.0/8 \
         or 2001:db8::/32; the rule ends here"
    );
    assert_eq!(
        refusal("pass;pass;drop payload evil"),
        "rule 3 (line 1, column 24): wanted a text in double quotes, as \"evil\"; found `evil`"
    );
    assert_eq!(
        refusal("drop \"é\""),
        "rule 1 (line 1, column 6): wanted a condition: `not`, `tcp`, `udp`, `icmp`, `icmpv6`, \
         `protocol`, `ipv4`, `ipv6`, `from`, `to`, `host`, `sport`, `dport`, `port`, `in`, `out`, \
         `hook`, `ttl`, `payload` or `regex`; found the text \"é\""
    );
}

#[test]
fn a_column_counts_characters() {
    let error = refusal("pass\npass; drop in é nein");
    assert!(error.starts_with("rule 3 (line 2, column 17): "), "{error}");
}

#[test]
fn quotes_and_escapes_are_refused_at_their_place() {
    assert_eq!(
        refusal("pass; drop payload \"a\ndrop payload \"b\""),
        "rule 2 (line 1, column 20): the quote is not closed on its line; write \\n for a line \
         end and \\\" for a quote in it"
    );
    assert_eq!(
        refusal("pass;\ndrop payload \"é\\n\\q\""),
        "rule 2 (line 2, column 18): no such escape; there are \\xNN for any byte, as \\x0d, and \
         \\n \\r \\t \\0 \\\" \\\\"
    );
    assert!(refusal("drop payload \"\"").contains("column 14): the text is empty"));
}

#[test]
fn a_regular_expression_that_is_none_is_refused_with_its_reason() {
    let error = refusal(r#"drop regex "a(b""#);
    assert!(
        error.starts_with("rule 1 (line 1, column 12): no regular expression: "),
        "{error}"
    );
    assert!(error.contains("unclosed group"), "{error}");
    assert_eq!(
        refusal(r#"drop regex "(a{1000}){1000}""#),
        "rule 1 (line 1, column 12): the regular expression takes more than 262144 bytes; repeat \
         less in it"
    );
}

#[test]
fn what_can_never_be_is_refused() {
    for text in ["drop tcp udp", "drop icmp not ipv6 protocol 6"] {
        let error = refusal(text);
        assert!(error.contains("a packet has one protocol"), "{error}");
    }
    assert!(rules("drop not tcp not udp").is_ok());
    let error = refusal("mark 0x11/0xf");
    assert!(error.contains("a mark within its mask"), "{error}");
}

#[test]
fn wrong_values_are_refused() {
    for wrong in [
        "mark",
        "mark x",
        "mark 1/",
        "mark 0x100000000",
        "drop protocol 256",
        "drop protocol tcp",
        "drop from 10.0.0.0/33",
        "drop host localhost",
        "drop port 90-80",
        "drop port 1-",
        "drop port 65536",
        "drop sport -1",
        "drop hook other",
        "drop ttl 5",
        "drop ttl == 5",
        "drop ttl < 256",
        "drop not",
        "drop not not tcp",
        "drop in",
        "drop in \"eth0\"",
        "drop < 5",
        "\"drop\"",
    ] {
        let error = refusal(wrong);
        assert!(error.starts_with("rule 1 (line 1, column "), "{error}");
        assert!(error.contains("): wanted "), "{error}");
    }
}

#[test]
fn without_a_rule_it_says_how_to_give_one() {
    for empty in ["", " \n;;\n", "# drop icmp"] {
        let error = refusal(empty);
        assert!(error.starts_with("there is no rule; give some as parameters, as `drop udp"));
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC*|[a-z0-9 \"\\\\;#\n<=!>/.:-]{0,60}") {
        let _ = rules(&text);
    }

    #[test]
    fn no_rule_of_its_words_makes_it_panic(words in proptest::collection::vec(
        "drop|mark|0x1/0xf|not|tcp|from|::/0|port|80-90|hook|input|ttl|<|5|payload|regex|\"a\\(\"|\"\\\\\"|;|\n",
        0..8,
    )) {
        let _ = rules(&words.join(" "));
    }
}
