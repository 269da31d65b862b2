//! Reading files: syntax, includes, errors with their place, the shipped file, mutated files.

use super::super::{
    CommandLine, Config, ConfigFiles, DiskFiles, LoadedConfig, Marks, ROWS, RewriteOptions, SavePoint,
    find_row, load, parse_command_line, rewrite,
};
use super::{MemoryFiles, config_of, load_text};
use std::collections::BTreeSet;
use std::path::Path;

const SHIPPED: &str = include_str!("../../../../redis.conf");
/// Names that only a file can have; the shipped file shows them as examples in its prose.
const FILE_ONLY: [&str; 4] = ["include", "user", "rename-command", "loadmodule"];

fn reason(text: &str) -> String {
    load_text(text.as_bytes(), &MemoryFiles::default()).expect_err("the text is wrong").reason
}

fn start(files: &MemoryFiles, words: &[&str], stdin: &str) -> LoadedConfig {
    let words: Vec<Vec<u8>> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
    load(&parse_command_line(&words), files, &mut stdin.as_bytes()).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn lines_and_words() {
    let config = config_of(
        b"# comment\r\n\r\n  PORT  7000 \r\n\trequirepass \"a b\\x41\"\nmaxmemory '1gb'\nsave \"60 5 30 6\"\nbind a b\n",
    );
    assert_eq!(config.port, 7000);
    assert_eq!(config.requirepass.as_bytes(), b"a bA");
    assert_eq!(config.maxmemory.bytes, 1 << 30);
    assert_eq!(config.save.0.len(), 2);
    assert_eq!(config.bind.0.len(), 2);
    assert_eq!(config_of(b""), Config::default());
}

#[test]
fn save_lines_add_up() {
    let point = |seconds, changes| SavePoint { seconds, changes };
    assert_eq!(config_of(b"save 900 1\nsave 60 5").save.0, [point(900, 1), point(60, 5)]);
    assert_eq!(config_of(b"save 900 1\nsave \"\"").save.0, []);
    assert_eq!(config_of(b"save ''\nsave 60 5").save.0, [point(60, 5)]);
    assert_eq!(config_of(b"port 1").save.0.len(), 3);
}

#[test]
fn older_names_and_retired_ones() {
    let text =
        b"hash-max-listpack-entries 20\nhash-max-ziplist-entries 21\nslaveof h 1\nlist-max-ziplist-value 64";
    let config = config_of(text);
    assert_eq!(config.hash_max_listpack_entries, 21);
    assert_eq!(config.replicaof.map(|primary| primary.port), Some(1));
    assert_eq!(reason("list-max-ziplist-value 1 2"), "Bad directive or wrong number of arguments");
}

#[test]
fn what_only_a_file_has() {
    let text =
        "user alice on >pw ~*\nrename-command FLUSHALL \"\"\nloadmodule m.so a b\nm.option 1 2\nio-threads 4";
    let loaded = load_text(text.as_bytes(), &MemoryFiles::default()).expect("good");
    assert_eq!(loaded.directives.users[0].words[0], b"alice");
    assert_eq!(loaded.directives.renamed_commands, [(b"FLUSHALL".to_vec(), Vec::new())]);
    assert_eq!(loaded.directives.modules[0].len(), 3);
    assert_eq!(loaded.directives.module_options, [(b"m.option".to_vec(), b"1 2".to_vec())]);
    let inactive: Vec<&str> = loaded.inactive.iter().map(|row| row.name).collect();
    assert_eq!(inactive, ["io-threads"]);
}

#[test]
fn reasons_of_lines() {
    let cases = [
        ("port", "wrong number of arguments"),
        ("port 1 2", "wrong number of arguments"),
        ("invalid", "Bad directive or wrong number of arguments"),
        ("include", "Bad directive or wrong number of arguments"),
        ("rename-command a", "Bad directive or wrong number of arguments"),
        ("port \"1", "Unbalanced quotes in configuration line"),
        ("bind \"a 'b\"", "Unbalanced quotes in configuration line"),
        ("loglevel x", "argument(s) must be one of the following: debug, verbose, notice, warning, nothing"),
        ("m.option", "Module config specified without value"),
        ("sentinel monitor x", "sentinel directive while not in sentinel mode"),
        ("replicaof 127.0.0.1 abc", "Invalid master port"),
        ("replicaof h", "wrong number of arguments"),
        ("cluster-enabled yes", ">>> 'cluster-enabled yes'\nTine has no Cluster mode"),
    ];
    for (text, wanted) in cases {
        assert_eq!(reason(text), wanted, "{text}");
    }
}

#[test]
fn an_error_says_where() {
    let files = MemoryFiles::with(&[
        ("/etc/a.conf", "port 1\n\ninclude /etc/b.conf\n"),
        ("/etc/b.conf", "#\nport x\n"),
    ]);
    let error = load(&parse_command_line(&[b"/etc/a.conf".to_vec()]), &files, &mut std::io::empty());
    let wanted = "\n*** FATAL CONFIG FILE ERROR (Redis 7.2.4) ***\n\
                  Reading the configuration file, at line 2 of /etc/b.conf\n\
                  >>> 'port x'\n\
                  argument couldn't be parsed into an integer\n";
    assert_eq!(error.expect_err("bad port").to_string(), wanted);
    let error = load_text(b"include /no/such/file", &files).expect_err("no file");
    assert!(error.to_string().contains("can't open config file '/no/such/file'"), "{error}");
    let error = load_text(b"--port", &files).expect_err("not a directive");
    assert!(error.to_string().contains("at line 1 of the command line's options"), "{error}");
}

#[test]
fn includes() {
    let files = MemoryFiles::with(&[
        ("/etc/main.conf", "port 1\ninclude /etc/conf.d/*.conf\ninclude /etc/none/*\nhz 50\n"),
        ("/etc/conf.d/10.conf", "port 2\nsave 1 1"),
        ("/etc/conf.d/20.conf", "hz 20\nport 3\nsave 2 2"),
        ("/etc/loop.conf", "include /etc/loop.conf"),
    ]);
    let config = start(&files, &["/etc/main.conf"], "").config;
    assert_eq!((config.port, config.hz, config.save.0.len()), (3, 50, 2));
    let error = load_text(b"include /etc/loop.conf", &files).expect_err("endless");
    assert_eq!(error.reason, "include is nested more than 16 deep");
}

#[test]
fn file_then_stdin_then_options() {
    let files = MemoryFiles::with(&[("/a.conf", "port 1\nhz 1\ndatabases 1")]);
    let loaded = start(&files, &["/a.conf", "--hz", "3", "-"], "hz 2\ndatabases 2");
    assert_eq!((loaded.config.port, loaded.config.hz, loaded.config.databases), (1, 3, 2));
    assert_eq!(loaded.config_file.as_deref(), Some(Path::new("/a.conf")));
    assert_eq!(start(&files, &[], "").config, Config::default());
    let title = start(&files, &["--proc-title-template", "--my--title"], "").config.proc_title_template;
    assert_eq!(title.as_bytes(), b"--my--title");
}

#[test]
fn cluster_mode_may_be_switched_off_again() {
    let loaded = load_text(b"cluster-enabled yes\ncluster-enabled no", &MemoryFiles::default());
    assert!(!loaded.expect("the last line wins").config.cluster_enabled);
}

#[test]
fn files_of_the_disk() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, text) in
        [("b.conf", "port 2"), ("a.conf", "port 1"), (".hidden.conf", "port 9"), ("c.txt", "x")]
    {
        std::fs::write(folder.path().join(name), text).expect("written");
    }
    let found = DiskFiles.expand(&folder.path().join("*.conf")).expect("readable");
    let names: Vec<_> = found.iter().filter_map(|path| path.file_name()?.to_str()).collect();
    assert_eq!(names, ["a.conf", "b.conf"]);
    let main = folder.path().join("main");
    std::fs::write(&main, format!("include {}/[ab].conf", folder.path().display())).expect("written");
    let command_line = CommandLine { config_file: Some(main), ..parse_command_line(&[]) };
    assert_eq!(load(&command_line, &DiskFiles, &mut std::io::empty()).expect("good").config.port, 2);
    assert!(DiskFiles.read(folder.path()).is_err());
}

/// The directives of the shipped file with their lines: `#name value` and `name value`.
fn shipped_directives() -> Vec<(String, String)> {
    let is_directive = |line: &&str| line.starts_with(|first: char| first.is_ascii_lowercase());
    let lines = SHIPPED.lines().map(|line| line.strip_prefix('#').unwrap_or(line)).filter(is_directive);
    let name = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
    lines.map(|line| (name(line), line.to_owned())).collect()
}

#[test]
fn the_shipped_file_and_the_table_are_in_step() {
    let shipped: BTreeSet<String> = shipped_directives().into_iter().map(|(name, _)| name).collect();
    let rows: BTreeSet<String> = ROWS.iter().map(|row| row.name.to_owned()).collect();
    assert_eq!(shipped.difference(&rows).collect::<Vec<_>>(), Vec::<&String>::new(), "not rows");
    assert_eq!(rows.difference(&shipped).collect::<Vec<_>>(), Vec::<&String>::new(), "not documented");
    for alias in ROWS.iter().filter_map(|row| row.alias) {
        assert!(SHIPPED.contains(alias), "{alias} is not documented");
    }
    // CONFIG GET * shows all of them but those that are for tests.
    let shown = Config::default().get_matching(&["*"]);
    let shown: BTreeSet<String> =
        shown.into_iter().map(|(name, _)| String::from_utf8_lossy(&name).into_owned()).collect();
    let visible = ROWS.iter().filter(|row| !row.has(Marks::HIDDEN));
    let names = visible.flat_map(|row| std::iter::once(row.name).chain(row.alias)).map(str::to_owned);
    assert_eq!(shown, names.collect::<BTreeSet<String>>());
    for name in FILE_ONLY {
        assert!(SHIPPED.contains(&format!("\n# {name} ")), "{name} has no example");
        assert!(find_row(name.as_bytes()).is_none(), "{name}");
    }
}

#[test]
fn the_shipped_values_are_the_built_in_ones() {
    let shipped = config_of(SHIPPED.as_bytes());
    let point = |seconds, changes| SavePoint { seconds, changes };
    assert_eq!(shipped.save.0, [point(900, 1), point(300, 10), point(60, 10000)]);
    // The built-in one is that of Redis; the file protects replicas from a primary that lost its data.
    assert!(shipped.replica_refuse_empty_sync);
    let (save, replica_refuse_empty_sync) = (Config::default().save, false);
    assert_eq!(Config { save, replica_refuse_empty_sync, ..shipped }, Config::default());

    let mut by_name = std::collections::BTreeMap::<String, Vec<String>>::new();
    for (name, line) in shipped_directives() {
        by_name.entry(name).or_default().push(line);
    }
    let own = ["save", "replica-refuse-empty-sync"];
    for (name, lines) in by_name.iter().filter(|(name, _)| !own.contains(&name.as_str())) {
        // Read into other values than the built-in ones, so that each line is seen to work.
        let row = find_row(name.as_bytes()).expect("compared above").row;
        let config = config_of(lines.join("\n").as_bytes());
        assert_eq!(row.get(&config), row.default_value(), "{name}");
    }
}

#[test]
fn the_shipped_file_is_easy_on_the_eye() {
    for (number, line) in SHIPPED.lines().enumerate() {
        assert!(
            line.len() <= 105 && line.is_ascii() && line.trim_end() == line,
            "line {}: {line}",
            number + 1
        );
    }
}

/// Changes bytes, lines and words of a text at random.
fn mutate(text: &mut Vec<u8>, random: &mut fastrand::Rng) {
    const PIECES: [&[u8]; 14] = [
        b"\"",
        b"'",
        b"\\x",
        b"\n",
        b"\0",
        b" ",
        b"include a.conf\n",
        b"include *\n",
        b"-1",
        b"%",
        b"18446744073709551616",
        b"gb",
        b"\xff",
        b"# Generated by CONFIG REWRITE\n",
    ];
    for _ in 0..random.usize(0..4) {
        let at = random.usize(0..=text.len());
        match random.u8(0..4) {
            0 => drop(text.splice(at..at, random.choice(PIECES).into_iter().flatten().copied())),
            1 if at < text.len() => text[at] = random.u8(..),
            2 => drop(text.drain(at..text.len().min(at + random.usize(0..12)))),
            _ => {
                let from = random.usize(0..=at);
                let copy = text[from..at.min(from + 40)].to_vec();
                text.splice(at..at, copy);
            }
        }
    }
}

/// No text may panic, and whatever is understood can be written and understood again.
#[test]
fn mutated_files() {
    const ROUNDS: usize = 4000;
    let lines: Vec<String> = shipped_directives().into_iter().map(|(_, line)| line).collect();
    let mut random = fastrand::Rng::with_seed(0x7ed1_5c0f);
    let mut understood = 0;
    for _ in 0..ROUNDS {
        let picked: Vec<&str> =
            (0..random.usize(1..5)).map(|_| lines[random.usize(..lines.len())].as_str()).collect();
        let mut text = picked.join("\n").into_bytes();
        mutate(&mut text, &mut random);
        let files = MemoryFiles::with(&[("a.conf", "port 1\ninclude b.conf"), ("b.conf", "hz 1\nsave 1 1")]);
        let Ok(loaded) = load_text(&text, &files) else {
            continue;
        };
        understood += 1;
        let written = rewrite(&text, &loaded.config, &RewriteOptions::default());
        let again = load_text(&written, &files).unwrap_or_else(|error| panic!("{error}"));
        if !text.windows(7).any(|word| word.eq_ignore_ascii_case(b"include")) {
            assert_eq!(again.config, loaded.config, "{}", String::from_utf8_lossy(&text));
        }
    }
    assert!(understood > ROUNDS / 20 && understood < ROUNDS, "{understood} of {ROUNDS}");
}
