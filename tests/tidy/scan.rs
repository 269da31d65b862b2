//! Reading a Rust source as text: masks comments and literals, cuts the rest into tokens, and finds the
//! regions that the rules treat apart (test items, marked tables).
//!
//! This is not a parser. It knows just enough of the language (nested comments, raw strings, lifetimes
//! against char literals, brackets) that a rule never mistakes a comment or a string for code.

/// A line with this comment exempts the item or statement that follows from the length rules.
pub const TABLE_MARKER: &str = "// tidy: table";

/// One token of code: a word (identifier, keyword, number), `::`, or a single punctuation character.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub text: String,
    /// Zero-based line.
    pub line: usize,
}

/// A source file, ready for the rules.
#[derive(Debug, Clone)]
pub struct Source {
    /// Path from the top of the repository, with `/`.
    pub path: String,
    /// The lines as written.
    pub raw: Vec<String>,
    /// Tokens of the code, without comments and without the contents of literals.
    pub tokens: Vec<Token>,
    /// For each line: it belongs to a `#[cfg(test)]` item.
    pub test_line: Vec<bool>,
    /// For each line: it belongs to an item marked as a table.
    pub table_line: Vec<bool>,
}

impl Source {
    /// Scans `text`. With `all_test` the whole file counts as test code.
    pub fn new(path: &str, text: &str, all_test: bool) -> Source {
        let raw: Vec<String> = text.lines().map(str::to_owned).collect();
        let tokens = tokenize(&mask(text));
        let test_line = if all_test { vec![true; raw.len()] } else { test_lines(&tokens, raw.len()) };
        let table_line = table_lines(&raw, &tokens);
        Source { path: path.to_owned(), raw, tokens, test_line, table_line }
    }

    /// True if the line (zero-based) is test code.
    pub fn is_test(&self, line: usize) -> bool {
        self.test_line.get(line).copied().unwrap_or(false)
    }

    /// The text of the token at `index`, or "" past the end.
    pub fn text(&self, index: usize) -> &str {
        text_at(&self.tokens, index)
    }
}

fn text_at(tokens: &[Token], index: usize) -> &str {
    tokens.get(index).map_or("", |token| token.text.as_str())
}

/// Replaces comments and the insides of string and char literals by spaces; line breaks stay.
pub fn mask(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = literal_end(&chars, at);
        if end == at {
            out.push(chars[at]);
            at += 1;
        } else {
            // A literal leaves one quote behind, so that two words do not grow together.
            let comment = chars[at] == '/';
            for (offset, &c) in chars[at..end].iter().enumerate() {
                out.push(match c {
                    '\n' => '\n',
                    _ if offset == 0 && !comment => '"',
                    _ => ' ',
                });
            }
            at = end;
        }
    }
    out
}

/// If a comment or a literal starts at `at`, the index past its end; else `at`.
fn literal_end(chars: &[char], at: usize) -> usize {
    let peek = |i: usize| chars.get(i).copied().unwrap_or('\0');
    match chars[at] {
        '/' if peek(at + 1) == '/' => find(chars, at, '\n'),
        '/' if peek(at + 1) == '*' => block_comment_end(chars, at),
        '"' => quoted_end(chars, at, '"'),
        '\'' if peek(at + 1) == '\\' || (peek(at + 2) == '\'' && peek(at + 1) != '\'') => {
            quoted_end(chars, at, '\'')
        }
        'r' | 'b' | 'c' if !is_word(if at == 0 { ' ' } else { chars[at - 1] }) => prefixed_end(chars, at),
        _ => at,
    }
}

/// End of a literal with a prefix: `b"`, `c"`, `b'`, `r"`, `r#"`, `br#"`, `cr#"`; `at` if there is none.
fn prefixed_end(chars: &[char], at: usize) -> usize {
    let peek = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let mut i = at;
    if matches!(peek(i), 'b' | 'c') {
        i += 1;
    }
    if peek(i) == '"' {
        return quoted_end(chars, i, '"');
    }
    if peek(i) == '\'' && peek(at) == 'b' {
        return quoted_end(chars, i, '\'');
    }
    if peek(i) != 'r' {
        return at;
    }
    let hash_start = i + 1;
    let mut open = hash_start;
    while peek(open) == '#' {
        open += 1;
    }
    if peek(open) != '"' {
        return at;
    }
    let hashes = open - hash_start;
    let mut end = open + 1;
    while end < chars.len() {
        if chars[end] == '"' && (1..=hashes).all(|n| peek(end + n) == '#') {
            return end + 1 + hashes;
        }
        end += 1;
    }
    chars.len()
}

fn find(chars: &[char], from: usize, wanted: char) -> usize {
    chars[from..].iter().position(|&c| c == wanted).map_or(chars.len(), |n| from + n)
}

fn quoted_end(chars: &[char], open: usize, quote: char) -> usize {
    let mut i = open + 1;
    while i < chars.len() {
        match chars[i] {
            '\\' => i += 2,
            c if c == quote => return i + 1,
            _ => i += 1,
        }
    }
    chars.len()
}

fn block_comment_end(chars: &[char], open: usize) -> usize {
    let (mut depth, mut i) = (0usize, open);
    while i < chars.len() {
        match (chars[i], chars.get(i + 1).copied().unwrap_or('\0')) {
            ('/', '*') => (depth, i) = (depth + 1, i + 2),
            ('*', '/') => {
                (depth, i) = (depth - 1, i + 2);
                if depth == 0 {
                    return i;
                }
            }
            _ => i += 1,
        }
    }
    chars.len()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Cuts masked text into tokens. A lifetime is one token (`'a`), `::` is one token.
pub fn tokenize(masked: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    for (line, text) in masked.lines().enumerate() {
        let chars: Vec<char> = text.chars().collect();
        let mut at = 0;
        while at < chars.len() {
            let start = at;
            at += 1;
            if chars[start].is_whitespace() {
                continue;
            }
            if is_word(chars[start]) || chars[start] == '\'' {
                while at < chars.len() && is_word(chars[at]) {
                    at += 1;
                }
            } else if chars[start] == ':' && chars.get(at) == Some(&':') {
                at += 1;
            }
            tokens.push(Token { text: chars[start..at].iter().collect(), line });
        }
    }
    tokens
}

/// Index of the bracket that closes the one at `open`; the last token if it is never closed.
pub fn closing(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0usize;
    for (index, token) in tokens.iter().enumerate().skip(open) {
        match token.text.as_str() {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return index;
                }
            }
            _ => {}
        }
    }
    tokens.len().saturating_sub(1)
}

/// Index of the last token of the item or statement that starts at `start`: a `;` or a closing `}` outside
/// of all brackets, whichever comes first.
pub fn item_end(tokens: &[Token], start: usize) -> usize {
    let mut index = start;
    while index < tokens.len() {
        match tokens[index].text.as_str() {
            ";" | "}" => return index,
            "{" => return closing(tokens, index),
            "(" | "[" => index = closing(tokens, index),
            _ => {}
        }
        index += 1;
    }
    tokens.len().saturating_sub(1)
}

/// True if the attribute whose `[` is at `open` is `cfg(test)` or `cfg(all(test, ...))`.
fn is_test_attribute(tokens: &[Token], open: usize) -> bool {
    let words: Vec<&str> = (open + 1..open + 6).map(|i| text_at(tokens, i)).collect();
    matches!(words[..4], ["cfg", "(", "test", ")"]) || matches!(words[..5], ["cfg", "(", "all", "(", "test"])
}

fn test_lines(tokens: &[Token], lines: usize) -> Vec<bool> {
    let mut marked = vec![false; lines];
    let mut index = 0;
    while index + 1 < tokens.len() {
        let outer = tokens[index].text == "#" && tokens[index + 1].text == "[";
        if outer && is_test_attribute(tokens, index + 1) {
            let end = item_end(tokens, after_attributes(tokens, index));
            marked[tokens[index].line..=tokens[end].line].fill(true);
            index = end;
        }
        index += 1;
    }
    marked
}

/// Index of the first token behind the attributes that start at `start`.
pub fn after_attributes(tokens: &[Token], start: usize) -> usize {
    let mut index = start;
    while text_at(tokens, index) == "#" && text_at(tokens, index + 1) == "[" {
        index = closing(tokens, index + 1) + 1;
    }
    index
}

fn table_lines(raw: &[String], tokens: &[Token]) -> Vec<bool> {
    let mut marked = vec![false; raw.len()];
    for (line, text) in raw.iter().enumerate() {
        if text.trim() != TABLE_MARKER {
            continue;
        }
        let Some(next) = tokens.iter().position(|token| token.line > line) else {
            continue;
        };
        let end = item_end(tokens, after_attributes(tokens, next));
        marked[line..=tokens[end].line].fill(true);
    }
    marked
}

/// Names of the modules that this file declares as `#[cfg(test)] mod name;`.
pub fn test_modules(source: &Source) -> Vec<String> {
    let mut names = Vec::new();
    for index in 0..source.tokens.len() {
        if source.text(index) == "mod"
            && source.text(index + 2) == ";"
            && source.is_test(source.tokens[index].line)
        {
            names.push(source.text(index + 1).to_owned());
        }
    }
    names
}
