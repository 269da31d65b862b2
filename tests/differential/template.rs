//! Templates of commands: a line of text that stands for many commands.
//!
//! ```text
//!  line  = item item ...
//!  item  = WORD | $name | ( line | line ... ) | [ line ] | #( line ) | @( line )   and a suffix
//!  suffix: none once, + 1 to 4 times, * 0 to 3 times, ^ 60 to 70, 125 to 135 or 508 to 518 times
//! ```
//! `[ ]` is there in half of the cases. `#( )` writes the number of the words that its content gives
//! and then the content; `@( )` only remembers the number, for a later `$weights` or `$readids`.

/// One parsed part of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    Word(&'static str),
    /// A name without its `$`.
    Value(&'static str),
    Choice(Vec<Vec<Node>>),
    Maybe(Vec<Node>),
    Counted {
        content: Vec<Node>,
        written: bool,
    },
    Repeat(Box<Node>, Times),
}

/// How often a part is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// `+`
    Some,
    /// `*`
    Any,
    /// `^`
    Many,
}

/// Parses a template; panics on a line that is none, which is a mistake in a table.
pub fn parse(text: &'static str) -> Vec<Node> {
    let mut parser = Parser { text, at: 0 };
    let nodes = parser.line();
    assert!(parser.at == text.len(), "template {text:?} breaks at {}", parser.at);
    nodes
}

struct Parser {
    text: &'static str,
    at: usize,
}

impl Parser {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8) {
        assert!(self.take(byte), "template {:?} wants {:?} at {}", self.text, char::from(byte), self.at);
    }

    fn line(&mut self) -> Vec<Node> {
        let mut nodes = Vec::new();
        loop {
            while self.take(b' ') {}
            match self.peek() {
                None | Some(b')' | b']' | b'|') => return nodes,
                Some(_) => nodes.push(self.item()),
            }
        }
    }

    fn item(&mut self) -> Node {
        let node = match self.peek() {
            Some(b'(') => self.choice(),
            Some(b'[') => self.maybe(),
            Some(sign @ (b'#' | b'@')) if self.text.as_bytes().get(self.at + 1) == Some(&b'(') => {
                self.counted(sign == b'#')
            }
            _ => self.word(),
        };
        let times = match self.peek() {
            Some(b'+') => Times::Some,
            Some(b'*') => Times::Any,
            Some(b'^') => Times::Many,
            _ => return node,
        };
        self.at += 1;
        Node::Repeat(Box::new(node), times)
    }

    fn choice(&mut self) -> Node {
        self.expect(b'(');
        let mut lines = vec![self.line()];
        while self.take(b'|') {
            lines.push(self.line());
        }
        self.expect(b')');
        Node::Choice(lines)
    }

    fn maybe(&mut self) -> Node {
        self.expect(b'[');
        let content = self.line();
        self.expect(b']');
        Node::Maybe(content)
    }

    fn counted(&mut self, written: bool) -> Node {
        self.at += 1;
        self.expect(b'(');
        let content = self.line();
        self.expect(b')');
        Node::Counted { content, written }
    }

    fn word(&mut self) -> Node {
        let rest = &self.text[self.at..];
        let is_end = |c: char| " ()[]|^".contains(c);
        let value = rest.starts_with('$');
        // A word may be `+` or `*`; only names take these as suffixes.
        let end = rest.find(|c| is_end(c) || (value && "+*".contains(c))).unwrap_or(rest.len());
        assert!(end > 0, "template {:?} is empty at {}", self.text, self.at);
        self.at += end;
        if value { Node::Value(&rest[1..end]) } else { Node::Word(&rest[..end]) }
    }
}
