//! COMMAND INFO and COMMAND DOCS against what Redis 7.2.4 answers.

use crate::common::{Client, InProcess, Reply};
use sha1::{Digest, Sha1};
use std::collections::BTreeMap;

const RECORDED: &str = include_str!("facts.txt");

/// A port with a Redis 7.2 to compare the recorded facts with.
const PORT_VARIABLE: &str = "TINE_REDIS_7_2_PORT";

/// Columns that may differ, and why.
const EXCEPTIONS: &[(&str, &str)] = &[];

/// A command's line by its name.
type Facts = BTreeMap<String, String>;

fn recorded() -> Facts {
    let lines = RECORDED.lines().filter(|line| !line.starts_with('#'));
    let facts: Facts =
        lines.filter_map(|line| Some((line.split_once(' ')?.0.to_owned(), line.to_owned()))).collect();
    assert!(facts.len() > 350, "the facts are there");
    facts
}

/// The facts that a server answers with, in RESP2.
fn asked(mut call: impl FnMut(&[&str]) -> Reply) -> Facts {
    let mut docs = BTreeMap::new();
    add_docs(&call(&["COMMAND", "DOCS"]), &mut docs);
    let mut facts = Facts::new();
    add_rows(&call(&["COMMAND"]), &docs, &mut facts);
    facts
}

fn add_docs(docs: &Reply, found: &mut BTreeMap<String, Reply>) {
    for pair in docs.items().chunks(2) {
        found.insert(pair[0].text(), pair[1].clone());
        if let Some(parts) = field(&pair[1], "subcommands") {
            add_docs(parts, found);
        }
    }
}

fn field<'r>(map: &'r Reply, name: &str) -> Option<&'r Reply> {
    map.items().chunks(2).find(|pair| pair[0].text() == name).map(|pair| &pair[1])
}

fn add_rows(rows: &Reply, docs: &BTreeMap<String, Reply>, facts: &mut Facts) {
    for row in rows.items() {
        let parts = row.items();
        let name = parts[0].text();
        facts.insert(name.clone(), line(parts, &docs[&name]));
        add_rows(&parts[9], docs, facts);
    }
}

fn line(parts: &[Reply], docs: &Reply) -> String {
    let text = |name: &str| field(docs, name).map_or("-".to_owned(), Reply::text);
    let key_specs: Vec<String> = parts[8].items().iter().map(key_spec).collect();
    let columns = [
        parts[0].text(),
        shown(&parts[1]),
        names(&parts[2]),
        shown(&parts[3]),
        shown(&parts[4]),
        shown(&parts[5]),
        names(&parts[6]),
        names(&parts[7]),
        if key_specs.is_empty() { "-".to_owned() } else { key_specs.join("|") },
        text("since"),
        text("group"),
        field(docs, "doc_flags").map_or("-".to_owned(), names),
        text("deprecated_since"),
        field(docs, "arguments").map_or("-".to_owned(), |arguments| digest(&shown(arguments))),
    ];
    columns.join(" ")
}

fn names(set: &Reply) -> String {
    let mut names: Vec<String> = set.items().iter().map(Reply::text).collect();
    names.sort();
    if names.is_empty() { "-".to_owned() } else { names.join(",") }
}

fn key_spec(spec: &Reply) -> String {
    let part = |name: &str| field(spec, name).unwrap_or_else(|| panic!("a key spec has {name}"));
    let mut text =
        format!("{};{};{}", names(part("flags")), step(part("begin_search")), step(part("find_keys")));
    if field(spec, "notes").is_some() {
        text += ";notes";
    }
    text
}

fn step(step: &Reply) -> String {
    let mut text = field(step, "type").expect("a step has a type").text();
    let numbers = field(step, "spec").expect("a step has a spec");
    for pair in numbers.items().chunks(2) {
        text += &format!(",{}", shown(&pair[1]));
    }
    text
}

/// A reply as one text: lists in brackets.
fn shown(reply: &Reply) -> String {
    match reply {
        Reply::Array(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(" ")),
        Reply::Int(number) => number.to_string(),
        other => other.text(),
    }
}

fn digest(text: &str) -> String {
    let mut digits: String = Sha1::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    digits.truncate(10);
    digits
}

#[test]
fn every_command_of_redis_is_described_as_there() {
    let mut test = InProcess::new();
    let ours = asked(|args| test.run(&args.iter().map(|arg| arg.as_bytes()).collect::<Vec<_>>()));
    let theirs = recorded();
    let common: Vec<&String> = ours.keys().filter(|name| theirs.contains_key(*name)).collect();
    assert!(common.len() >= 314, "only {} commands of Redis", common.len());
    let excepted = |name: &str| EXCEPTIONS.iter().any(|(known, _)| *known == name);
    let different: Vec<String> = common
        .into_iter()
        .filter(|name| ours[*name] != theirs[*name] && !excepted(name))
        .map(|name| format!("ours   {}\nRedis's {}", ours[name], theirs[name]))
        .collect();
    assert!(different.is_empty(), "{}", different.join("\n"));
}

#[test]
fn every_command_of_ours_has_its_arguments_listed() {
    let test = InProcess::new();
    for found in test.server.commands.all() {
        let name = found.full_name();
        let is_listed = tine::server::command_docs::is_known(name.as_bytes());
        assert!(is_listed, "{name} needs a line in src/server/command_docs/arguments.txt");
    }
}

#[test]
fn the_recorded_facts_are_those_of_redis() {
    let Some(port) = std::env::var(PORT_VARIABLE).ok().and_then(|port| port.parse().ok()) else {
        return eprintln!("{PORT_VARIABLE} is not set: the recorded facts are taken as they are");
    };
    let mut client = Client::connect(port);
    assert_eq!(asked(|args| client.call(args)), recorded());
}
