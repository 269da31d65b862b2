//! The rules, each a function from a source to its findings. A rule knows nothing of the file system.

use crate::lists::{Entry, Lists};
use crate::scan::{Source, after_attributes, closing, item_end};

/// Lines of a function, signature and closing brace included.
pub const FUNCTION_LINES_MAX: usize = 70;
/// Lines of a file, without its tests and tables.
pub const FILE_LINES_MAX: usize = 800;
/// How far above an unsafe block its proof may begin.
const PROOF_LINES_ABOVE_MAX: usize = 3;

/// One violation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub path: String,
    /// Zero-based.
    pub line: usize,
    pub problem: String,
}

impl Finding {
    pub fn new(path: &str, line: usize, problem: impl Into<String>) -> Finding {
        Finding { path: path.to_owned(), line, problem: problem.into() }
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line + 1, self.problem)
    }
}

/// A function with its place and counted length.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    pub name: String,
    pub line: usize,
    pub lines: usize,
}

/// Every function outside of test code with its length; lines of marked tables do not count.
pub fn functions(source: &Source) -> Vec<Function> {
    let mut found = Vec::new();
    for index in 0..source.tokens.len() {
        let line = source.tokens[index].line;
        let name = source.text(index + 1);
        let named = name.starts_with(|c: char| c.is_alphabetic() || c == '_');
        if source.text(index) != "fn" || !named || source.is_test(line) {
            continue;
        }
        let end = item_end(&source.tokens, index);
        if source.text(end) == "}" {
            let last = source.tokens[end].line;
            let lines = (line..=last).filter(|&l| !source.table_line[l]).count();
            found.push(Function { name: name.to_owned(), line, lines });
        }
    }
    found
}

/// Functions and files over their limits, and exceptions that are too wide or no longer needed.
pub fn check_lengths(source: &Source, exceptions: &[Entry]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let here: Vec<&Entry> = exceptions.iter().filter(|e| e.words[1] == source.path).collect();
    let functions = functions(source);
    for function in &functions {
        let excused = here.iter().any(|e| e.words[0] == "function" && e.words[2] == function.name);
        if function.lines > FUNCTION_LINES_MAX && !excused {
            let problem =
                format!("fn {} has {} lines (> {FUNCTION_LINES_MAX})", function.name, function.lines);
            findings.push(Finding::new(&source.path, function.line, problem));
        }
    }
    let file_lines = file_lines(source);
    if file_lines > FILE_LINES_MAX && !here.iter().any(|e| e.words[0] == "file") {
        let problem = format!("{file_lines} lines without tests and tables (> {FILE_LINES_MAX})");
        findings.push(Finding::new(&source.path, 0, problem));
    }
    for exception in here {
        let (actual, general) = match exception.words[0].as_str() {
            "file" => (file_lines, FILE_LINES_MAX),
            // A kind that does not exist matches no function either, so it is reported as not needed.
            _ => {
                let same_name = functions.iter().filter(|f| f.name == exception.words[2]);
                (same_name.map(|f| f.lines).max().unwrap_or(0), FUNCTION_LINES_MAX)
            }
        };
        findings.extend(check_exception(exception, actual, general));
    }
    findings
}

fn file_lines(source: &Source) -> usize {
    (0..source.raw.len()).filter(|&line| !source.test_line[line] && !source.table_line[line]).count()
}

fn check_exception(exception: &Entry, actual: usize, general: usize) -> Option<Finding> {
    let limit: usize = exception.words[3].parse().unwrap_or(0);
    let problem = if actual <= general {
        format!("exception no longer needed: {}", exception.words.join(" "))
    } else if actual > limit {
        format!("{actual} lines, over its exception of {limit}: {}", exception.words.join(" "))
    } else if actual < limit {
        format!("lower the exception from {limit} to {actual}: {}", exception.words.join(" "))
    } else {
        return None;
    };
    Some(Finding::new(&exception.list, exception.line, problem))
}

/// Bans that hold everywhere, tests and benches too: macros of unfinished work and glob imports.
pub fn check_everywhere(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, token) in source.tokens.iter().enumerate() {
        let text = token.text.as_str();
        if matches!(text, "todo" | "unimplemented" | "dbg") && source.text(index + 1) == "!" {
            findings.push(Finding::new(&source.path, token.line, format!("`{text}!` is banned")));
        }
        if text == "lazy_static" {
            findings.push(Finding::new(&source.path, token.line, "`lazy_static` is banned"));
        }
        if text == "use" && source.text(index + 1) != "<" {
            let end = item_end_of_use(source, index);
            if (index..end).any(|i| source.text(i) == "*") {
                findings.push(Finding::new(&source.path, token.line, "glob import: name what you use"));
            }
        }
    }
    findings
}

fn item_end_of_use(source: &Source, start: usize) -> usize {
    (start..source.tokens.len()).find(|&i| source.text(i) == ";").unwrap_or(source.tokens.len())
}

/// Bans that hold in src/ outside of tests: `.unwrap()` and `Rc<RefCell<..>>`.
pub fn check_source_bans(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, token) in source.tokens.iter().enumerate() {
        let next = |n: usize| source.text(index + n);
        if source.is_test(token.line) {
            continue;
        }
        if token.text == "." && next(1) == "unwrap" && next(2) == "(" {
            let problem = "`.unwrap()`: use `expect` and say why it cannot fail";
            findings.push(Finding::new(&source.path, token.line, problem));
        }
        if token.text == "Rc" && next(1) == "<" && (2..8).any(|n| next(n) == "RefCell") {
            let problem = "`Rc<RefCell>`: one owner, ids instead of references";
            findings.push(Finding::new(&source.path, token.line, problem));
        }
    }
    findings
}

/// Every file under src/ opens with its header; crate roots deny unsafe code.
pub fn check_header(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !source.raw.first().is_some_and(|line| line.starts_with("//! ")) {
        findings.push(Finding::new(&source.path, 0, "does not open with a `//!` header"));
    }
    let root = source.path == "src/lib.rs" || source.path.starts_with("src/bin/");
    if root && !source.raw.iter().any(|line| line.trim() == "#![deny(unsafe_code)]") {
        findings.push(Finding::new(&source.path, 0, "a crate root without `#![deny(unsafe_code)]`"));
    }
    findings
}

/// `static` outside of tests: only atomics, constant tables, and what the list names.
pub fn check_statics(source: &Source, lists: &Lists) -> Vec<Finding> {
    const SHARED_STATE: &[&str] = &[
        "mut",
        "Mutex",
        "RwLock",
        "Once",
        "OnceLock",
        "OnceCell",
        "LazyLock",
        "LazyCell",
        "Cell",
        "RefCell",
        "UnsafeCell",
    ];
    let mut findings = Vec::new();
    for (index, token) in source.tokens.iter().enumerate() {
        if token.text != "static" || source.is_test(token.line) {
            continue;
        }
        let name_at = if source.text(index + 1) == "mut" { index + 2 } else { index + 1 };
        // A `static` without a type behind its name is a static closure, not an item.
        if source.text(name_at + 1) != ":" {
            continue;
        }
        let name = source.text(name_at);
        let end = static_type_end(source, name_at);
        // Without a value it stands in an `extern` block: foreign state, fenced by the rules for unsafe.
        if source.text(end) != "=" {
            continue;
        }
        let kind: Vec<&str> = (index + 1..end).filter(|&i| i != name_at).map(|i| source.text(i)).collect();
        let atomic = kind.iter().any(|word| word.starts_with("Atomic"));
        let table = matches!(kind.get(1), Some(&"&" | &"["));
        let shared = kind.iter().any(|word| SHARED_STATE.contains(word));
        if (shared || !(atomic || table)) && !lists.allows(&lists.statics, &source.path, name) {
            let problem = format!("`static {name}` is neither an atomic nor a constant table");
            findings.push(Finding::new(&source.path, token.line, problem));
        }
    }
    findings
}

/// Index of the `=` or `;` behind the type of a static; a `;` inside of an array type does not count.
fn static_type_end(source: &Source, start: usize) -> usize {
    let mut index = start;
    while index < source.tokens.len() && !matches!(source.text(index), "=" | ";") {
        if matches!(source.text(index), "(" | "[") {
            index = closing(&source.tokens, index);
        }
        index += 1;
    }
    index
}

/// Fields under ds, value and keyspace that hold plain heap types instead of memory from `sys::data_alloc`.
pub fn check_heap(source: &Source, lists: &Lists) -> Vec<Finding> {
    const HEAP_TYPES: &[&str] = &[
        "Box",
        "Vec",
        "String",
        "CString",
        "VecDeque",
        "HashMap",
        "HashSet",
        "BTreeMap",
        "BTreeSet",
        "BinaryHeap",
        "Rc",
        "Arc",
    ];
    const DATA_ROOMS: &[&str] = &["ds", "value", "keyspace"];
    let mut findings = Vec::new();
    if !DATA_ROOMS.contains(&crate::layers::room(&source.path).as_str()) {
        return findings;
    }
    for (index, token) in source.tokens.iter().enumerate() {
        if !matches!(token.text.as_str(), "struct" | "enum" | "union") || source.is_test(token.line) {
            continue;
        }
        let name = source.text(index + 1);
        // `union` is also a method name.
        if !name.starts_with(char::is_alphabetic) {
            continue;
        }
        let end = fields_end(source, index);
        let plain = (index + 2..end).find(|&i| HEAP_TYPES.contains(&source.text(i)));
        if let Some(at) = plain.filter(|_| !lists.allows(&lists.heap, &source.path, name)) {
            let problem = format!("`{name}` holds a plain `{}`: data lives in data_alloc", source.text(at));
            findings.push(Finding::new(&source.path, source.tokens[at].line, problem));
        }
    }
    findings
}

/// End of a type definition; a tuple struct ends at its `;`, the others at their closing brace.
fn fields_end(source: &Source, start: usize) -> usize {
    item_end(&source.tokens, after_attributes(&source.tokens, start))
}

/// True if the file says `unsafe` anywhere in its code.
pub fn has_unsafe(source: &Source) -> bool {
    source.tokens.iter().any(|token| token.text == "unsafe")
}

/// Unsafe only where the list allows it, and never without its contract or proof.
pub fn check_unsafe(source: &Source, lists: &Lists) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !has_unsafe(source) {
        return findings;
    }
    if !lists.allows_unsafe(&source.path) {
        let at = source.tokens.iter().position(|token| token.text == "unsafe").unwrap_or(0);
        let problem = "unsafe code in a file that tests/tidy_unsafe.txt does not list";
        findings.push(Finding::new(&source.path, source.tokens[at].line, problem));
    }
    let trait_impls = trait_impl_lines(source);
    for (index, token) in source.tokens.iter().enumerate() {
        if token.text != "unsafe" {
            continue;
        }
        let in_trait_impl = trait_impls.iter().any(|(from, to)| (*from..=*to).contains(&token.line));
        let problem = match unsafe_kind(source, index) {
            UnsafeKind::Contract
                if !in_trait_impl && !docs_above(source, token.line).contains("# Safety") =>
            {
                "unsafe fn or trait without a `# Safety` section"
            }
            UnsafeKind::Proof if !proof_above(source, token.line) => "unsafe without a `SAFETY` proof above",
            _ => continue,
        };
        findings.push(Finding::new(&source.path, token.line, problem));
    }
    findings
}

enum UnsafeKind {
    /// Its caller must keep a promise: `unsafe fn`, `unsafe trait`.
    Contract,
    /// It relies on a promise: a block, an `unsafe impl`, an `unsafe extern` block, `#[unsafe(..)]`.
    Proof,
    /// A type: `unsafe fn(..)`.
    Neither,
}

fn unsafe_kind(source: &Source, index: usize) -> UnsafeKind {
    let mut at = index + 1;
    if source.text(at) == "extern" {
        at += 1;
        // The name of the ABI, of which only a quote is left.
        at += usize::from(source.text(at) == "\"");
    }
    match source.text(at) {
        "fn" if source.text(at + 1) == "(" => UnsafeKind::Neither,
        "fn" | "trait" => UnsafeKind::Contract,
        _ => UnsafeKind::Proof,
    }
}

/// The doc comments and attributes right above a line.
fn docs_above(source: &Source, line: usize) -> String {
    let above = source.raw[..line].iter().rev();
    let docs = above.take_while(|text| {
        let text = text.trim_start();
        text.starts_with("//") || text.starts_with("#[")
    });
    docs.cloned().collect::<Vec<_>>().join("\n")
}

/// A comment with the proof begins within reach above the line, or is a longer one that ends there.
fn proof_above(source: &Source, line: usize) -> bool {
    let is_proof = |text: &String| text.contains("// SAFETY") || text.contains("/// SAFETY");
    let is_comment = |text: &String| text.trim_start().starts_with("//");
    let lowest = line.saturating_sub(PROOF_LINES_ABOVE_MAX);
    if source.raw[lowest..=line].iter().any(is_proof) {
        return true;
    }
    let Some(last) = (lowest..line).rev().find(|&l| is_comment(&source.raw[l])) else {
        return false;
    };
    source.raw[..=last].iter().rev().take_while(|text| is_comment(text)).any(is_proof)
}

/// The line ranges of `impl Trait for Type` blocks: their methods inherit the trait's contract.
fn trait_impl_lines(source: &Source) -> Vec<(usize, usize)> {
    let mut ranges = Vec::new();
    for index in 0..source.tokens.len() {
        if source.text(index) != "impl" {
            continue;
        }
        let end = (index..source.tokens.len()).find(|&i| matches!(source.text(i), "{" | ";" | "("));
        let Some(open) = end.filter(|&i| source.text(i) == "{") else {
            continue;
        };
        let for_type = (index..open).any(|i| source.text(i) == "for" && source.text(i + 1) != "<");
        if for_type {
            let close = closing(&source.tokens, open);
            ranges.push((source.tokens[open].line, source.tokens[close].line));
        }
    }
    ranges
}
