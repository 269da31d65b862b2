//! Reads the notation of `arguments.txt`, which stands at the head of that file.

use std::borrow::Cow;

/// What an argument is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    String,
    Integer,
    Double,
    Key,
    Pattern,
    UnixTime,
    PureToken,
    OneOf,
    Block,
}

impl Kind {
    /// The word of COMMAND DOCS.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::String => "string",
            Kind::Integer => "integer",
            Kind::Double => "double",
            Kind::Key => "key",
            Kind::Pattern => "pattern",
            Kind::UnixTime => "unix-time",
            Kind::PureToken => "pure-token",
            Kind::OneOf => "oneof",
            Kind::Block => "block",
        }
    }

    fn by_notation(word: &str) -> Option<Kind> {
        Some(match word {
            "int" => Kind::Integer,
            "num" => Kind::Double,
            "key" => Kind::Key,
            "pattern" => Kind::Pattern,
            "time" => Kind::UnixTime,
            _ => return None,
        })
    }
}

/// One argument, with those that it is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument<'t> {
    pub name: Cow<'t, str>,
    pub kind: Kind,
    /// How help shows it, where that is not its name.
    pub display: Option<&'t str>,
    /// The command's key spec that finds it.
    pub key_spec: Option<u8>,
    pub token: Option<&'t str>,
    pub since: Option<&'t str>,
    pub deprecated_since: Option<&'t str>,
    pub optional: bool,
    pub multiple: bool,
    /// Each repetition has the token too.
    pub multiple_token: bool,
    pub arguments: Vec<Argument<'t>>,
}

/// Reads the arguments of one command; `None` when the text is not in the notation.
pub fn parse(text: &str) -> Option<Vec<Argument<'_>>> {
    let mut reader = Reader { rest: text };
    let arguments = reader.sequence()?;
    reader.rest.is_empty().then_some(arguments)
}

struct Reader<'t> {
    rest: &'t str,
}

impl<'t> Reader<'t> {
    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn eat(&mut self, expected: char) -> bool {
        match self.rest.strip_prefix(expected) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// The longest start of the text that has only such characters; at least one.
    fn take_while(&mut self, fits: fn(char) -> bool) -> Option<&'t str> {
        let end = self.rest.find(|letter| !fits(letter)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!word.is_empty()).then_some(word)
    }

    fn word(&mut self) -> Option<&'t str> {
        self.take_while(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_'))
    }

    /// Arguments up to the end, a bar or a closing parenthesis.
    fn sequence(&mut self) -> Option<Vec<Argument<'t>>> {
        let mut arguments = Vec::new();
        loop {
            self.skip_blanks();
            if self.rest.is_empty() || self.rest.starts_with(['|', ')']) {
                return Some(arguments);
            }
            arguments.push(self.argument()?);
        }
    }

    fn argument(&mut self) -> Option<Argument<'t>> {
        let mut argument = match self.token()? {
            (Some(token), name) if name.is_none() || self.eat('!') => {
                let name = name.map_or_else(|| Cow::Owned(token.to_ascii_lowercase()), Cow::Borrowed);
                Argument { token: Some(token), ..plain(name, Kind::PureToken) }
            }
            (token, name) => Argument { token, ..self.valued(name?)? },
        };
        self.suffixes(&mut argument)?;
        Some(argument)
    }

    /// A word in capitals or quotes if one stands here, and the name that follows it or stands alone.
    fn token(&mut self) -> Option<(Option<&'t str>, Option<&'t str>)> {
        let token = if self.eat('\'') {
            let quoted = self.take_while(|letter| letter != '\'').unwrap_or_default();
            self.eat('\'').then_some(quoted)?
        } else {
            let word = self.word()?;
            if word.contains(|letter: char| letter.is_ascii_lowercase()) {
                return Some((None, Some(word)));
            }
            word
        };
        let name = if self.eat('=') { Some(self.word()?) } else { None };
        Some((Some(token), name))
    }

    /// What stands behind the name of an argument that has a value.
    fn valued(&mut self, name: &'t str) -> Option<Argument<'t>> {
        let mut argument = plain(Cow::Borrowed(name), Kind::String);
        if self.eat('(') {
            (argument.kind, argument.arguments) = self.group()?;
            return Some(argument);
        }
        if self.eat('#') {
            argument.key_spec = Some(self.take_while(|letter| letter.is_ascii_digit())?.parse().ok()?);
            argument.kind = Kind::Key;
        }
        if self.eat(':') {
            argument.kind = Kind::by_notation(self.word()?)?;
        }
        Some(argument)
    }

    /// What stands in parentheses: alternatives of one argument each, or a block.
    fn group(&mut self) -> Option<(Kind, Vec<Argument<'t>>)> {
        let mut arguments = self.sequence()?;
        let mut kind = Kind::Block;
        while self.eat('|') {
            kind = Kind::OneOf;
            arguments.extend(self.sequence()?);
        }
        self.eat(')').then_some((kind, arguments))
    }

    fn suffixes(&mut self, argument: &mut Argument<'t>) -> Option<()> {
        const VERSION: fn(char) -> bool = |letter| letter.is_ascii_digit() || letter == '.';
        const SHOWN: fn(char) -> bool =
            |letter| letter.is_ascii_alphanumeric() || matches!(letter, '-' | ':');
        loop {
            match self.rest.chars().next() {
                Some('/') => {
                    self.eat('/');
                    argument.display = Some(self.take_while(SHOWN)?);
                    continue;
                }
                Some('@') => {
                    self.eat('@');
                    argument.since = Some(self.take_while(VERSION)?);
                    continue;
                }
                Some('~') => {
                    self.eat('~');
                    argument.deprecated_since = Some(self.take_while(VERSION)?);
                    continue;
                }
                Some('?') => argument.optional = true,
                Some('*') => argument.multiple = true,
                Some('+') => argument.multiple_token = true,
                None | Some(' ' | '\n' | ')' | '|') => return Some(()),
                Some(_) => return None,
            }
            self.rest = &self.rest[1..];
        }
    }
}

fn plain(name: Cow<'_, str>, kind: Kind) -> Argument<'_> {
    Argument {
        name,
        kind,
        display: None,
        key_spec: None,
        token: None,
        since: None,
        deprecated_since: None,
        optional: false,
        multiple: false,
        multiple_token: false,
        arguments: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, parse};

    #[test]
    fn tokens_values_and_groups() {
        let text = "key#0 by#1:pattern EX=seconds:int?@2.6.12 how(NX | '=' = X)";
        assert!(parse(text).is_none(), "no blanks around an equals sign");
        let arguments = parse("key#0 EX=seconds:int/s?@2.6.12 how(NX | '='=equal! | a(x y))*+ id~7.0.0")
            .expect("it is in the notation");
        let kinds: Vec<Kind> = arguments.iter().map(|argument| argument.kind).collect();
        assert_eq!(kinds, [Kind::Key, Kind::Integer, Kind::OneOf, Kind::String]);
        assert_eq!(arguments[0].key_spec, Some(0));
        let seconds = &arguments[1];
        assert_eq!(
            (seconds.token, seconds.name.as_ref(), seconds.display),
            (Some("EX"), "seconds", Some("s"))
        );
        assert_eq!((seconds.since, seconds.optional, seconds.multiple), (Some("2.6.12"), true, false));
        let how = &arguments[2];
        assert!(how.multiple && how.multiple_token);
        let parts: Vec<(&str, Kind)> =
            how.arguments.iter().map(|part| (part.name.as_ref(), part.kind)).collect();
        assert_eq!(parts, [("nx", Kind::PureToken), ("equal", Kind::PureToken), ("a", Kind::Block)]);
        assert_eq!(how.arguments[1].token, Some("="));
        assert_eq!((arguments[3].name.as_ref(), arguments[3].deprecated_since), ("id", Some("7.0.0")));
    }

    #[test]
    fn what_is_not_in_the_notation_is_refused() {
        for text in ["a(", "a)", "a(b | c", "a:kind", "a#", "a@", "'x", "a!b", "A=", "A=b$"] {
            assert!(parse(text).is_none(), "{text}");
        }
        assert_eq!(parse(""), Some(Vec::new()));
    }
}
