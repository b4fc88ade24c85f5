use std::fs;
use std::time::{Duration, Instant};

use super::*;
use crate::chain::{LimitsChange, PolicyChange, QuarantineChange, Share};
use crate::event::GrantChange;
use crate::packet::{Fallback, FlowBits, Group, Verdicts};
use crate::source::{Gso, Parting};
use crate::telemetry::LogFormat;

fn parse(text: &str) -> Result<Config, Wrong> {
    Config::parse(text.as_bytes(), Path::new("ipqext.toml"))
}

/// What is wrong with a text: the text itself, and what is said of it.
fn wrong(text: &str) -> String {
    match parse(text) {
        Ok(config) => panic!("{text} was taken: {config:?}"),
        Err(wrong) => wrong.to_string(),
    }
}

const WHOLE: &str = r##"
[daemon]
ext-dir = "ext"
watch = false
queue = "0:3"
cpu-affinity = "0"
socket = "/run/x.sock"
cache-dir = "/var/cache/x"
coredump-dir = "/var/crash/x"
rules = ["--hook input -p icmp", '--hook output -p udp --match "-m owner --uid-owner 0"']
fail-open = true
source = "nfq"
gso = "off"
coalesce-us = 0
spin-us = 7
mark-mask = 0xff
bypass-bits = "0x40000000,0x80000000"
queue-max-len = 1024
on-exit = "drop"
log = "json"

[[extension]]
name = "icmp_drop"
params = """
every=2
# "quoted"
"""
group = 0x06
grant = { verdicts = ["drop", "accept-flow"], mark-mask = "0x3" }
log = "debug"
start = false
required = false

[extension.policy]
on-fault = "drop"
on-quarantine = "accept"
on-overload = "drop"
quarantine = "3/1m"
retry = "2s..30s"
rollback = "0/10s"

[extension.limits]
deadline = "1ms"
worker-call-deadline = "20ms"
call-deadline = "1s"
memory = "16MiB"
table-elements = 1000
parts = 10
host-call = "1MiB"
state = 0
log-lines = 5
cpu = "12.5%"

[[extension]]
name = "count"
policy.quarantine = "off"
limits = { cpu = "off", memory = 1048576 }

[[extension]]
name = "ttl"
group = "all"
policy = { retry = "5s" }
"##;

#[test]
fn all_that_can_be_said_is_read() {
    let config = parse(WHOLE).unwrap();
    let expected = Settings {
        ext_dir: Some("ext".into()),
        watch: Some(false),
        queue: Some(0..=3),
        cpu_affinity: Some(vec![0]),
        socket: Some("/run/x.sock".into()),
        cache: Some(Cache::At("/var/cache/x".into())),
        coredump_dir: Some("/var/crash/x".into()),
        rules: Some(vec![
            "--hook input -p icmp".to_owned(),
            "--hook output -p udp --match \"-m owner --uid-owner 0\"".to_owned(),
        ]),
        fail_open: Some(true),
        source: Some(SourceKind::Nfq),
        gso: Some(Gso::Off),
        coalesce_us: Some(0),
        spin_us: Some(7),
        mark_mask: Some(0xff),
        bypass_bits: Some(FlowBits {
            accept: 1 << 30,
            drop: 1 << 31,
        }),
        queue_max_len: Some(1024),
        on_exit: Some(Parting::Drop),
        log: Some(LogFormat::Json),
    };
    assert_eq!(config.settings, expected);
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    let millis = |millis| Some(Duration::from_millis(millis));
    let wanted = |place: &str, name: &str| {
        let origin = format!("ipqext.toml:{place}: {name}");
        Wanted {
            start: true,
            ..Wanted::new(origin, name.to_owned(), String::new())
        }
    };
    let icmp_drop = Wanted {
        params: "every=2\n# \"quoted\"\n".to_owned(),
        group: Group::try_from(6).unwrap(),
        grant: GrantChange {
            verdicts: Some(Verdicts::DROP | Verdicts::ACCEPT_FLOW),
            mark_mask: Some(3),
        },
        policy: PolicyChange {
            rollback: Some(Some(crate::chain::Rollback {
                faults: 0,
                window: Duration::from_secs(10),
            })),
            on_fault: Some(Fallback::Drop),
            on_quarantine: Some(Fallback::Accept),
            on_overload: Some(Fallback::Drop),
            quarantine: Some(QuarantineChange::On {
                faults: Some(3),
                window: seconds(60),
                retry: seconds(2),
                retry_max: seconds(30),
            }),
        },
        limits: LimitsChange {
            batch_deadline: millis(1),
            worker_call_deadline: millis(20),
            call_deadline: seconds(1),
            memory_bytes: Some(16 << 20),
            table_elements: Some(1000),
            parts: Some(10),
            host_call_bytes: Some(1 << 20),
            state_bytes: Some(0),
            log_lines: Some(5),
            cpu: Some(Some(Share::from_percent(12.5).unwrap())),
        },
        log: "debug".parse().unwrap(),
        start: false,
        required: false,
        ..wanted("22:1", "icmp-drop")
    };
    let count = Wanted {
        policy: PolicyChange {
            rollback: None,
            quarantine: Some(QuarantineChange::Off),
            ..PolicyChange::default()
        },
        limits: LimitsChange {
            memory_bytes: Some(1 << 20),
            cpu: Some(None),
            ..LimitsChange::default()
        },
        ..wanted("54:1", "count")
    };
    let ttl = Wanted {
        policy: PolicyChange {
            rollback: None,
            quarantine: Some(QuarantineChange::On {
                faults: None,
                window: None,
                retry: seconds(5),
                retry_max: seconds(5),
            }),
            ..PolicyChange::default()
        },
        ..wanted("59:1", "ttl")
    };
    assert_eq!(config.extensions, [icmp_drop, count, ttl]);
}

#[test]
fn what_is_written_is_read_the_same() {
    let config = parse(WHOLE).unwrap();
    let running = Running::new(None, Settings::default(), config.settings);
    // Of a state, not of a file: what is said of a policy is whole.
    let mut extensions = config.extensions;
    extensions[2].policy.quarantine = Some(QuarantineChange::On {
        faults: Some(10),
        window: Some(Duration::from_secs(10)),
        retry: Some(Duration::from_secs(5)),
        retry_max: Some(Duration::from_secs(5)),
    });
    let text = running.text(&extensions);
    let again = parse(&text).unwrap_or_else(|wrong| panic!("{text}\n{wrong}"));
    let holds = again.settings.effective();
    assert_eq!(
        Effective {
            ext_dir: running.effective().ext_dir.clone(),
            ..holds.clone()
        },
        *running.effective()
    );
    assert!(holds.ext_dir.unwrap().is_absolute());
    let origins = again.extensions.iter().map(|wanted| wanted.origin.clone());
    for (wanted, origin) in extensions.iter_mut().zip(origins) {
        wanted.origin = origin;
    }
    assert_eq!(again.extensions, extensions);
    let text = text.lines().filter(|line| !line.starts_with("ext-dir"));
    insta::assert_snapshot!(text.collect::<Vec<_>>().join("\n"));
}

#[test]
fn a_state_without_anything_is_an_empty_table() {
    let running = Running::new(None, Settings::default(), Settings::default());
    assert_eq!(running.text(&[]), "[daemon]\n");
    assert_eq!(parse("").unwrap(), Config::default());
}

#[test]
fn a_string_that_has_everything_is_read_the_same() {
    let running = Running::new(None, Settings::default(), Settings::default());
    let hard = [
        "\"\"\"'''\\ \u{7f}\u{1b}[31m\r\n\ttab\u{0}\n'''",
        "\n",
        "\"",
        "'",
        "line\nline",
        "\\",
        " = [[extension]]\n[daemon]",
        "…",
    ];
    for params in hard {
        let wanted = Wanted::new(String::new(), "x".to_owned(), params.to_owned());
        let text = running.text(&[wanted]);
        let again = parse(&text).unwrap_or_else(|wrong| panic!("{text}\n{wrong}"));
        assert_eq!(again.extensions[0].params, params, "{text}");
        let steers = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
        assert!(!text.contains(steers), "{text:?}");
    }
}

#[test]
fn all_mistakes_are_told_with_their_places() {
    let texts = [
        // The text.
        "[daemon\nqueue = 1\n",
        "queue = 1 1\nx = \"abc\n",
        "[daemon]\nqueue = 1\nqueue = 2\n",
        "a = [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
        // Keys and kinds.
        "queue = 1\n[deamon]\n",
        "daemon = 1\nextension = 2\n",
        "[extension]\nname = \"count\"\n",
        "extension = [1]\n",
        "[daemon]\n  que = 1\n",
        // The daemon.
        "[daemon]\nqueue = -1\n",
        "[daemon]\nqueue = 70000\n",
        "[daemon]\nqueue = \"3:1\"\n",
        "[daemon]\nqueue = \"0:999\"\n",
        "[daemon]\nqueue = [0]\n",
        "[daemon]\next-dir = 3\nsocket = \"\"\n",
        "[daemon]\ncache-dir = \"x\"\nno-cache = true\n",
        "[daemon]\nfail-open = \"yes\"\nsource = \"pcap\"\ngso = \"maybe\"\nlog = 1\n",
        "[daemon]\ncoalesce-us = 10001\nspin-us = 1.5\nqueue-max-len = 0\n",
        "[daemon]\nmark-mask = \"0xg\"\nbypass-bits = \"1,1\"\n",
        "[daemon]\nmark-mask = 0x1_0000_0000\n",
        "[daemon]\nrules = \"--hook input\"\n",
        "[daemon]\nrules = [\"--hook input -p icmp\", \"--hoook input\", 1]\n",
        "[daemon]\ncpu-affinity = \"0-\"\n",
        // An extension.
        "[[extension]]\n",
        "[[extension]]\nname = \"\"\n",
        "[[extension]]\nname = 1\n",
        "[[extension]]\nname = \"a\"\ngroop = 1\n",
        "[[extension]]\nname = \"icmp-drop\"\n\n[[extension]]\nname = \"icmp_drop\"\n",
        "[[extension]]\nname = \"a\"\ngroup = 0\n[[extension]]\nname = \"b\"\ngroup = \"red\"\n",
        "[[extension]]\nname = \"a\"\nparams = 1\n",
        "[[extension]]\nname = \"a\"\nparams = \"x\"\nparams-file = \"missing\"\n",
        "[[extension]]\nname = \"a\"\nlog = \"loud\"\nstart = 1\nrequired = \"no\"\n",
        "[[extension]]\nname = \"a\"\ngrant = [\"drop\"]\n",
        "[[extension]]\nname = \"a\"\ngrant = { verdicts = [\"drop\", \"dropp\", 1], mark-mask = -1 }\n",
        "[[extension]]\nname = \"a\"\n[extension.grant]\nverdicts = \"drop\"\nverdict = 1\n",
        "[[extension]]\nname = \"a\"\n[extension.policy]\non-fault = \"ignore\"\non-foult = \"drop\"\n",
        "[[extension]]\nname = \"a\"\npolicy = { quarantine = \"10\", retry = \"1\" }\n",
        "[[extension]]\nname = \"a\"\npolicy = { quarantine = \"0/10s\", retry = \"9s..1s\" }\n",
        "[[extension]]\nname = \"a\"\npolicy = { quarantine = \"off\", retry = \"1s..9s\" }\n",
        "[[extension]]\nname = \"a\"\n[extension.limits]\ndeadline = \"2\"\nmemory = \"many\"\ncpu = 20\n",
        "[[extension]]\nname = \"a\"\n[extension.limits]\ndeadline = 2\nmemory = 1\ncpu = \"0%\"\n",
        "[[extension]]\nname = \"a\"\n[extension.limits]\nparts = 0\nlog-lines = 99999999999\nstate = -1\n",
        // Columns are of characters.
        "# größer\n[[extension]]\nname = \"größer\"\npolicy = { on-fault = \"größer\", y = 2 }\n",
        // No more than can be read.
        "a=1\nb=1\nc=1\nd=1\ne=1\nf=1\ng=1\nh=1\ni=1\nj=1\nk=1\nl=1\nm=1\nn=1\no=1\np=1\nq=1\nr=1\ns=1\nt=1\nu=1\nv=1\n",
        // All at once, in the order of the text.
        "[[extension]]\nname = \"a\"\ngroup = 0\n\n[daemon]\nqueue = \"x\"\n\n[[extension]]\nstart = 3\n",
    ];
    let told = texts.map(|text| format!("{text}\n--> {}", wrong(text).replace('\n', "\n--> ")));
    insta::assert_snapshot!(told.join("\n\n=====\n\n"));
}

#[test]
fn what_is_no_text_is_told_where() {
    let error = Config::parse(b"# a\n\xffb = 1\n", Path::new("f")).unwrap_err();
    let expected = "f:2:1: this is no UTF-8; save the file as UTF-8";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn files_are_found_beside_the_file_that_names_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ipqext.toml");
    fs::write(dir.path().join("rules.txt"), "drop udp\n").unwrap();
    let text = "[daemon]\next-dir = \"ext\"\n\
                [[extension]]\nname = \"match\"\nparams-file = \"rules.txt\"\n";
    fs::write(&path, text).unwrap();
    let config = Config::read(&path).unwrap();
    assert_eq!(config.settings.ext_dir, Some(dir.path().join("ext")));
    assert_eq!(config.extensions[0].params, "drop udp\n");

    for (file, told) in [
        ("missing", "missing: No such file"),
        (".", "it is not a regular file"),
        ("/dev/zero", "it is not a regular file"),
    ] {
        fs::write(&path, text.replace("rules.txt", file)).unwrap();
        let error = Config::read(&path).unwrap_err().to_string();
        let place = format!("{}:5:15: params-file: cannot read ", path.display());
        assert!(error.starts_with(&place), "{error}");
        assert!(error.contains(told), "{error}");
    }
    let error = Config::read(dir.path()).unwrap_err().to_string();
    assert!(error.ends_with("it is not a regular file"), "{error}");
    let error = Config::read(&dir.path().join("none")).unwrap_err();
    assert!(error.to_string().contains("none: No such file"), "{error}");
}

#[test]
fn a_setting_that_cannot_change_is_told_with_both_values() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ipqext.toml");
    let said = Settings {
        socket: Some("/said".into()),
        ..Settings::default()
    };
    let read = || Config::read(&path).unwrap();
    fs::write(&path, "[daemon]\nqueue = 1\nsocket = '/a'\nspin-us = 3\n").unwrap();
    let running = Running::new(Some(&path), said, read().settings);
    fs::write(
        &path,
        "[daemon]\nspin-us = 3\nqueue = 1\nsocket = '/b'\n[[extension]]\nname = 'x'\n",
    )
    .unwrap();
    let wanted = running.read_again().unwrap();
    assert_eq!(
        wanted[0].name, "x",
        "what the command line says is not asked for"
    );

    fs::write(&path, "[daemon]\nqueue = \"1:2\"\ngso = \"auto\"\n").unwrap();
    let error = running.read_again().unwrap_err();
    assert!(matches!(error, CommandError::NeedsRestart(_)), "{error:?}");
    let text = error.to_string();
    let path = path.display();
    let expected = format!(
        "{path}:2:9: queue is \"1:2\", and the daemon runs with 1\n\
         {path}: spin-us is 0, and the daemon runs with 3\n\
         This cannot change"
    );
    assert!(text.starts_with(&expected), "{text}");
}

#[test]
fn a_relative_path_is_the_same_path_when_it_is_read_again() {
    // Relative to where tests run, which is the package.
    let dir = tempfile::tempdir_in(".").unwrap();
    let name = dir.path().file_name().unwrap();
    for base in [
        PathBuf::from(name),
        Path::new(".").join(name),
        Path::new("../host").join(name),
    ] {
        let path = base.join("ipqext.toml");
        let text = "[daemon]\next-dir = 'ext'\nsocket = '../x.sock'\ncache-dir = './c'\n";
        fs::write(&path, text).unwrap();
        let file = Config::read(&path).unwrap();
        let running = Running::new(Some(&path), Settings::default(), file.settings);
        let again = running.read_again();
        assert_eq!(again.unwrap(), [], "{}", path.display());
    }
}

#[test]
fn no_text_makes_it_panic() {
    let mut random = fastrand::Rng::with_seed(5);
    let whole = WHOLE.as_bytes();
    for _ in 0..3000 {
        let mut bytes = whole.to_vec();
        for _ in 0..random.usize(1..8) {
            let at = random.usize(..bytes.len());
            match random.u8(..4) {
                0 => bytes[at] = random.u8(..),
                1 => bytes.truncate(at + 1),
                2 => bytes.insert(at, whole[random.usize(..whole.len())]),
                _ => drop(bytes.remove(at)),
            }
            if bytes.is_empty() {
                break;
            }
        }
        // Whatever it says of them.
        let _ = Config::parse(&bytes, Path::new("/nowhere/ipqext.toml"));
    }
}

#[test]
fn the_example_of_the_document_can_be_used() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
    let page = fs::read_to_string(page).unwrap();
    let examples: Vec<&str> = page.split("```toml\n").skip(1).collect();
    assert_eq!(examples.len(), 1);
    let config = parse(examples[0].split("```").next().unwrap()).unwrap();
    let names = config.extensions.iter().map(|wanted| wanted.name.as_str());
    assert_eq!(names.collect::<Vec<_>>(), ["match", "count", "icmp-drop"]);
    assert_eq!(config.settings.queue, Some(0..=1));
    assert!(!config.extensions[1].required);
    // Every key stands in a table of its own.
    for key in settings::KEYS.iter().chain(extension::KEYS.iter()) {
        assert!(
            page.contains(&format!("`{key}`")),
            "{key} is not documented"
        );
    }
    let more = extension::POLICY_KEYS.iter().chain(&extension::LIMIT_KEYS);
    for key in more.chain(&extension::GRANT_KEYS) {
        assert!(
            page.contains(&format!("`{key}`")),
            "{key} is not documented"
        );
    }
}

#[test]
fn no_text_makes_it_hang() {
    let many = |text: &str, count: usize| text.repeat(count);
    for (what, text) in [
        ("dots", many("a.", 1_000_000) + "a = 1"),
        ("headers", format!("[{}a]", many("a.", 1_000_000))),
        ("arrays", format!("[[{}a]]", many("a.", 1_000_000))),
        ("brackets", many("[", 2_000_000)),
        ("braces", format!("x = {}", many("{a=", 1_000_000))),
        ("tables", many("[[extension]]\nname='a'\n", 100_000)),
        ("fewer tables", many("[[extension]]\nname='a'\n", 1000)),
        (
            "row",
            format!("extension = [{}]", many("{name='a',params='äää'},", 1000)),
        ),
        (
            "keys in a row",
            format!(
                "daemon = {{{}z=1}}",
                (0..200_000).map(|n| format!("k{n}=1,")).collect::<String>()
            ),
        ),
        ("keys", (0..200_000).map(|n| format!("k{n}=1\n")).collect()),
        ("same", many("a=1\n", 500_000)),
        ("quotes", many("\"", 3_000_000)),
        ("lines", many("\n", 3_000_000) + "x"),
        ("nulls", many("\0", 3_000_000)),
        ("strings", many("x='''\n", 500_000)),
    ] {
        let began = Instant::now();
        assert!(parse(&text).is_err(), "{what}");
        // Some are read in a quarter of a second, in a build for tests.
        assert!(began.elapsed() < Duration::from_secs(20), "{what}");
    }
}
