//! The table, CONFIG GET and CONFIG SET.

use super::super::{
    AppendFsync, Config, ConfigSetError, Kind, Marks, MemoryLimit, NotifyFlags, Origin, OutputBufferLimit,
    ProtectedAction, ROWS, RefuseReason, SavePoint, SetContext, command_words, find_row, is_sensitive,
};
use super::config_of;

/// Name and value: CONFIG GET * of a server without a file.
const REDIS_7_0: &str = include_str!("config_get_redis_7_0_15.tsv");
/// Name, value, reason of the refusal or nothing, value shown afterwards: one CONFIG SET each.
const REDIS_7_0_SET: &str = include_str!("config_set_redis_7_0_15.tsv");
/// Where this server differs on purpose: it takes no empty word for 0, no hexadecimal percentile,
/// and a number of bytes too large is not called a percentage.
const STRICTER: [(&str, &str); 3] = [
    ("save", "1 "),
    ("latency-tracking-info-percentiles", "0x10"),
    ("maxmemory-clients", "9223372036854775808"),
];

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn get(config: &Config, name: &str) -> String {
    let found = config.get_matching(&[name]);
    assert_eq!(found.len(), 1, "{name}");
    text(&found[0].1)
}

fn set(config: &mut Config, pairs: &[(&str, &str)]) -> Result<Vec<&'static str>, String> {
    let rows = config.set_many(pairs, SetContext::default()).map_err(|error| error.to_string())?;
    Ok(rows.iter().map(|row| row.name).collect())
}

fn refusal(config: &mut Config, name: &str, value: &str) -> String {
    let before = config.clone();
    let error = set(config, &[(name, value)]).expect_err("the value is wrong");
    assert_eq!(*config, before, "{name} {value} changed something");
    let lead = format!("CONFIG SET failed (possibly related to argument '{name}') - ");
    error.strip_prefix(&lead).unwrap_or_else(|| panic!("{error}")).to_owned()
}

#[test]
fn names_are_unique_and_lower_case() {
    let mut names: Vec<&str> = ROWS.iter().flat_map(|row| [Some(row.name), row.alias]).flatten().collect();
    assert!(names.iter().all(|name| !name.bytes().any(|byte| byte.is_ascii_uppercase() || byte == b' ')));
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn each_value_can_be_set_to_itself() {
    for row in ROWS.iter().filter(|row| row.name != "replicaof") {
        let mut config = Config::default();
        let words = command_words(row, &row.get(&config));
        row.set(&mut config, &words, Origin::Command).unwrap_or_else(|error| panic!("{}: {error}", row.name));
        assert_eq!(config, Config::default(), "{}", row.name);
    }
}

#[test]
fn bounds_are_kept() {
    for row in ROWS {
        let (min, max, octal) = match row.kind {
            Kind::Integer { min, max } | Kind::Memory { min, max } => (min, max, false),
            Kind::Octal { min, max } => (min, max, true),
            _ => continue,
        };
        let mut config = Config::default();
        let write = |value: i128| if octal { format!("{value:o}") } else { value.to_string() }.into_bytes();
        for inside in [min, max] {
            let written = write(inside);
            row.set(&mut config, std::slice::from_ref(&written), Origin::Command)
                .unwrap_or_else(|error| panic!("{} {inside}: {error}", row.name));
            assert_eq!(row.get(&config), written, "{}", row.name);
        }
        for outside in [min - 1, max + 1] {
            let result = row.set(&mut config, &[write(outside)], Origin::Command);
            assert!(result.is_err(), "{} {outside}", row.name);
        }
    }
}

#[test]
fn the_server_knows_what_redis_knows_and_has_its_defaults() {
    let config = Config::default();
    for line in REDIS_7_0.lines() {
        let (name, value) = line.split_once('\t').expect("the recording has two columns");
        assert_eq!(get(&config, name), value, "{name}");
    }
    for since_7_2 in ["set-max-listpack-entries", "locale-collate", "cluster-announce-human-nodename"] {
        assert!(find_row(since_7_2.as_bytes()).is_some());
    }
    let built_in = [("save", "3600 1 300 100 60 10000"), ("bind", "* -::*"), ("port", "6379"), ("dir", "./")];
    for (name, value) in built_in {
        assert_eq!(get(&Config::default(), name), value);
    }
}

#[test]
fn values_are_taken_and_refused_as_redis_does() {
    let mut compared = 0;
    for line in REDIS_7_0_SET.lines() {
        let [name, value, reason, shown] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("the recording has four columns: {line}");
        };
        let mut config = Config::default();
        let result = set(&mut config, &[(name, value)]);
        if STRICTER.contains(&(name, value)) {
            let lead = format!("CONFIG SET failed (possibly related to argument '{name}') - ");
            assert!(result.is_err_and(|error| error != format!("{lead}{reason}")), "{line}");
            continue;
        }
        match result {
            Ok(_) => assert_eq!((reason, shown), ("", get(&config, name).as_str()), "{line}"),
            Err(error) => {
                assert!(!reason.is_empty() && error.ends_with(&format!(") - {reason}")), "{line}\n{error}")
            }
        }
        compared += 1;
    }
    assert!(compared > 1000, "{compared}");
}

#[test]
fn our_own_defaults() {
    let own = [
        ("rdb-version", "10"),
        ("rdb-verify", "no"),
        ("aof-load-corrupt-tail-max-size", "0"),
        ("aof-checksum", "no"),
        ("fork-huge-pages", "auto"),
        ("replica-refuse-empty-sync", "no"),
        ("commandlog-request-larger-than", "1048576"),
        ("commandlog-large-request-max-len", "128"),
        ("commandlog-reply-larger-than", "1048576"),
        ("commandlog-large-reply-max-len", "128"),
    ];
    for (name, value) in own {
        assert_eq!(get(&Config::default(), name), value);
    }
    assert_eq!(
        refusal(&mut Config::default(), "rdb-version", "13"),
        "argument must be between 9 and 12 inclusive"
    );
}

#[test]
fn get_takes_patterns_names_and_aliases() {
    let config = Config::default();
    let names = |patterns: &[&str]| -> Vec<String> {
        config.get_matching(patterns).iter().map(|(name, _)| text(name)).collect()
    };
    assert_eq!(names(&["*OF"]), ["replicaof", "slaveof"]);
    assert_eq!(names(&["MaxMemory", "maxmemory"]), ["MaxMemory"]);
    assert_eq!(names(&["maxmemory", "maxmemory-s*", "bind"]), ["maxmemory", "maxmemory-samples", "bind"]);
    assert_eq!(names(&["lua-time-limit"]), ["lua-time-limit"]);
    assert_eq!(names(&["key-load-delay"]), ["key-load-delay"]);
    assert!(!names(&["*"]).contains(&"key-load-delay".to_owned()));
    assert!(names(&["no-such-thing", "x*x"]).is_empty());
}

#[test]
fn set_changes_fields_and_names_what_changed() {
    let mut config = Config::default();
    let changed = set(
        &mut config,
        &[
            ("MAXMEMORY", "10mb"),
            ("hz", "10"),
            ("slave-priority", "7"),
            ("appendfsync", "ALWAYS"),
            ("tls-cert-file", ""),
        ],
    );
    assert_eq!(changed.expect("good"), ["maxmemory", "replica-priority", "appendfsync", "tls-cert-file"]);
    assert_eq!(config.maxmemory.bytes, 10 << 20);
    assert_eq!(config.replica_priority, 7);
    assert_eq!(config.appendfsync, AppendFsync::Always);
    assert_eq!(get(&config, "maxmemory"), "10485760");

    set(&mut config, &[("hz", "100000")]).expect("moved into its range");
    assert_eq!(config.hz, 500);
    set(&mut config, &[("hz", "0")]).expect("moved into its range");
    assert_eq!(config.hz, 1);
}

#[test]
fn set_is_all_or_nothing() {
    let mut config = Config::default();
    let error = set(
        &mut config,
        &[("maxmemory", "10000001"), ("maxmemory-clients", "200%"), ("client-query-buffer-limit", "invalid")],
    );
    assert_eq!(
        error.expect_err("200 %"),
        "CONFIG SET failed (possibly related to argument 'maxmemory-clients') - \
         percentage argument must be less or equal to 100"
    );
    assert_eq!(config, Config::default());
}

#[test]
fn reasons_for_values() {
    let mut config = Config::default();
    let cases = [
        ("appendonly", "maybe", "argument must be 'yes' or 'no'"),
        ("port", "65536", "argument must be between 0 and 65535 inclusive"),
        ("port", "abc", "argument couldn't be parsed into an integer"),
        ("port", "1mb", "argument couldn't be parsed into an integer"),
        ("repl-backlog-size", "x", "argument must be a memory value"),
        ("maxmemory-clients", "x", "argument must be a memory or percent value"),
        ("maxmemory-clients", "-1%", "argument must be a memory or percent value"),
        ("maxclients", "-1", "argument must be between 1 and 4294967295 inclusive"),
        (
            "loglevel",
            "loud",
            "argument(s) must be one of the following: debug, verbose, notice, warning, nothing",
        ),
        ("oom-score-adj", "x", "argument(s) must be one of the following: no, yes, relative, absolute"),
        ("save", "1 2 3", "Invalid save parameters"),
        ("save", "0 1", "Invalid save parameters"),
        ("save", "1 -1", "Invalid save parameters"),
        ("save", "1  1", "Invalid save parameters"),
        ("notify-keyspace-events", "KQ", "Invalid event class character. Use 'Ag$lshzxeKEtmdn'."),
        (
            "client-output-buffer-limit",
            "normal 0 0",
            "Wrong number of arguments in buffer limit configuration.",
        ),
        (
            "client-output-buffer-limit",
            "master 0 0 0",
            "Invalid client class specified in buffer limit configuration.",
        ),
        (
            "client-output-buffer-limit",
            "normal 1mb 1mb x",
            "Error in hard, soft or soft_seconds setting in buffer limit configuration.",
        ),
        ("oom-score-adj-values", "1 2", "wrong number of arguments"),
        (
            "oom-score-adj-values",
            "1 2 9999",
            "Invalid oom-score-adj-values, elements must be between -2000 and 2000.",
        ),
        ("latency-tracking-info-percentiles", "50 x", "Invalid latency-tracking-info-percentiles parameters"),
        ("latency-tracking-info-percentiles", "nan", "Invalid latency-tracking-info-percentiles parameters"),
        (
            "latency-tracking-info-percentiles",
            "101",
            "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]",
        ),
        (
            "shutdown-on-sigterm",
            "save nosave",
            "shutdown options SAVE and NOSAVE can't be used simultaneously",
        ),
        (
            "shutdown-on-sigint",
            "",
            "argument(s) must be one of the following: default, save, nosave, now, force",
        ),
        ("proc-title-template", "{nothing}", "template format is invalid or contains unknown variables"),
        ("daemonize", "yes", "can't set immutable config"),
        ("dir", "/", "can't set protected config"),
        ("lua-time-limit", "x", "argument couldn't be parsed into an integer"),
    ];
    for (name, value, reason) in cases {
        assert_eq!(refusal(&mut config, name, value), reason, "{name} {value}");
    }
}

#[test]
fn reasons_for_names() {
    let mut config = Config::default();
    let error = set(&mut config, &[("maxmemory", "1"), ("nope", "1"), ("daemonize", "yes")]);
    assert_eq!(error.expect_err("unknown"), "Unknown option or number of arguments for CONFIG SET - 'nope'");
    let error = set(&mut config, &[("maxmemory", "1"), ("maxmemory", "2")]);
    assert_eq!(
        error.expect_err("twice"),
        "CONFIG SET failed (possibly related to argument 'maxmemory') - duplicate parameter"
    );
    let loading = SetContext { loading: true, client_is_local: true };
    assert_eq!(config.set_many(&[("appendonly", "yes")], loading).err(), Some(ConfigSetError::Loading));
    assert!(config.set_many(&[("loglevel", "debug")], loading).is_ok());
}

#[test]
fn guarded_directives_open_for_local_clients() {
    let mut config = Config { enable_protected_configs: ProtectedAction::Local, ..Config::default() };
    let pairs = [("dbfilename", "other.rdb")];
    let refused = config.set_many(&pairs, SetContext { loading: false, client_is_local: false });
    let reason = RefuseReason::Protected;
    assert_eq!(refused.err(), Some(ConfigSetError::Refused { name: b"dbfilename".to_vec(), reason }));
    assert!(config.set_many(&pairs, SetContext { loading: false, client_is_local: true }).is_ok());
    assert_eq!(config.dbfilename.as_bytes(), b"other.rdb");
}

#[test]
fn structured_values() {
    let mut config = Config::default();
    let pairs = [
        ("save", "900 1 60 5"),
        ("client-output-buffer-limit", "slave 1mb 512kb 30 PUBSUB 0 0 0"),
        ("notify-keyspace-events", "gxKEA"),
        ("oom-score-adj-values", "1 -2 +3"),
        ("latency-tracking-info-percentiles", "0 12.5 100"),
        ("shutdown-on-sigterm", "force NOSAVE now"),
        ("bind", "127.0.0.1 -::1"),
        ("maxmemory", "70%"),
    ];
    set(&mut config, &pairs).expect("good");
    assert_eq!(
        config.save.0,
        [SavePoint { seconds: 900, changes: 1 }, SavePoint { seconds: 60, changes: 5 }]
    );
    let replica = OutputBufferLimit { hard_bytes: 1 << 20, soft_bytes: 512 << 10, soft_seconds: 30 };
    assert_eq!(config.client_output_buffer_limit.replica, replica);
    let shown = "normal 0 0 0 slave 1048576 524288 30 pubsub 0 0 0";
    assert_eq!(get(&config, "client-output-buffer-limit"), shown);
    assert_eq!(get(&config, "notify-keyspace-events"), "AKE");
    assert!(config.notify_keyspace_events.contains(NotifyFlags::EXPIRED));
    assert!(!config.notify_keyspace_events.contains(NotifyFlags::NEW));
    assert_eq!(get(&config, "oom-score-adj-values"), "1 -2 3");
    assert_eq!(get(&config, "latency-tracking-info-percentiles"), "0 12.5 100");
    assert_eq!(get(&config, "shutdown-on-sigterm"), "nosave now force");
    let hosts: Vec<(String, bool)> = config.bind.iter().map(|at| (text(at.host), at.optional)).collect();
    assert_eq!(hosts, [("127.0.0.1".to_owned(), false), ("::1".to_owned(), true)]);
    assert_eq!(get(&config, "maxmemory"), "70%");
    config.maxmemory.resolve(1000);
    assert_eq!(config.maxmemory.bytes, 700);
    assert_eq!(config.maxmemory, MemoryLimit { bytes: 0, percent: 70 });

    let emptied = set(&mut config, &[("save", ""), ("bind", ""), ("latency-tracking-info-percentiles", "")]);
    emptied.expect("good");
    for name in ["save", "bind", "latency-tracking-info-percentiles"] {
        assert_eq!(get(&config, name), "");
    }
}

#[test]
fn all_letters_of_events_round_trip() {
    for bits in 0..1u16 << 15 {
        let flags = NotifyFlags(bits & !(1 << 12));
        assert_eq!(NotifyFlags::parse(flags.show().as_bytes()), Ok(flags), "{bits:b}");
    }
}

#[test]
fn file_modes_are_octal() {
    let config = config_of(b"unixsocketperm 0770");
    assert_eq!(config.unixsocketperm, 0o770);
    assert_eq!(get(&config, "unixsocketperm"), "770");
    let row = find_row(b"unixsocketperm").expect("it is a row").row;
    let error = row.set(&mut Config::default(), &[b"1000".to_vec()], Origin::Command).expect_err("too high");
    assert_eq!(error.to_string(), "argument must be between 0 and 777 inclusive");
    let error = row.set(&mut Config::default(), &[b"9".to_vec()], Origin::Command).expect_err("no digit");
    assert_eq!(error.to_string(), "argument couldn't be parsed as an octal number");
}

#[test]
fn secrets_are_marked() {
    for name in ["requirepass", "MASTERAUTH", "masteruser", "tls-key-file-pass"] {
        assert!(is_sensitive(name.as_bytes()), "{name}");
    }
    assert!(!is_sensitive(b"port") && !is_sensitive(b"nope"));
    let passwords_take_any_byte = find_row(b"requirepass").expect("it is a row").row;
    let mut config = Config::default();
    passwords_take_any_byte.set(&mut config, &[vec![0, 255]], Origin::Command).expect("binary");
    assert_eq!(config.requirepass.as_bytes(), [0, 255]);
    assert!(
        find_row(b"logfile").expect("it is a row").row.set(&mut config, &[vec![0]], Origin::Command).is_err()
    );
    assert!(ROWS.iter().any(|row| row.has(Marks::ACTIVE | Marks::DENY_LOADING)));
}
