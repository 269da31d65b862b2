//! BY and GET patterns: where a weight or a value is found for an element.
//!
//! ```text
//!   weight_*        the string of the key with the element in the star's place
//!   object_*->name  the field of the hash with such a key
//!   #               the element itself
//!   anything else   nothing: there is no star
//! ```

use crate::command::batch;
use crate::command::hash::field_time;
use crate::resp::OwnedArgs;
use crate::server::Server;
use crate::value::ValueRef;
use crate::value::set::with_text;
use crate::value::string::Digits;

/// Elements whose keys are made and looked up together.
const ELEMENTS_AHEAD: usize = 128;

/// What a pattern says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pattern<'a> {
    Element,
    Nothing,
    Key { before: &'a [u8], after: &'a [u8], field: Option<&'a [u8]> },
}

impl<'a> Pattern<'a> {
    /// Reads a pattern. An arrow counts only behind the star and in front of a field's name.
    pub fn parse(text: &'a [u8]) -> Self {
        if text == b"#" {
            return Pattern::Element;
        }
        let Some(star) = text.iter().position(|byte| *byte == b'*') else {
            return Pattern::Nothing;
        };
        let (before, rest) = (&text[..star], &text[star + 1..]);
        let arrow = rest.windows(2).position(|window| window == b"->");
        match arrow.filter(|at| at + 2 < rest.len()) {
            Some(at) => Pattern::Key { before, after: &rest[..at], field: Some(&rest[at + 2..]) },
            None => Pattern::Key { before, after: rest, field: None },
        }
    }

    /// The key for an element; empty for a pattern without one.
    fn key_for(&self, element: &[u8], key: &mut Vec<u8>) {
        key.clear();
        if let Pattern::Key { before, after, .. } = self {
            key.extend_from_slice(before);
            key.extend_from_slice(element);
            key.extend_from_slice(after);
        }
    }
}

/// Calls `visit` with what each pattern gives for each element, all patterns of the first element
/// first. A missing key, a missing field and a value of another type give `None`.
pub(super) fn resolve<'e>(
    server: &mut Server,
    db: usize,
    patterns: &[Pattern<'_>],
    elements: impl Iterator<Item = &'e [u8]>,
    mut visit: impl FnMut(Option<&[u8]>),
) {
    let mut elements = elements.peekable();
    let mut key = Vec::new();
    while elements.peek().is_some() {
        let group: Vec<&[u8]> = elements.by_ref().take(ELEMENTS_AHEAD).collect();
        let mut keys = OwnedArgs::default();
        for element in &group {
            for pattern in patterns {
                pattern.key_for(element, &mut key);
                keys.push(&key);
            }
        }
        batch::each_key(server, db, keys.as_args(), 1, |server, index, key| {
            match patterns[index % patterns.len()] {
                Pattern::Element => visit(Some(group[index / patterns.len()])),
                Pattern::Nothing => visit(None),
                Pattern::Key { field, .. } => read(server, db, key, field, &mut visit),
            }
        });
    }
}

fn read(
    server: &mut Server,
    db: usize,
    key: &[u8],
    field: Option<&[u8]>,
    visit: &mut impl FnMut(Option<&[u8]>),
) {
    let now_ms = field_time(server);
    match (server.read(db, key).map(|view| view.value()), field) {
        (Some(ValueRef::String(string)), None) => visit(Some(string.bytes(&mut Digits::new()))),
        (Some(ValueRef::Hash(hash)), Some(field)) => match hash.get(field, now_ms) {
            Some(value) => with_text(value, |text| visit(Some(text))),
            None => visit(None),
        },
        _ => visit(None),
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    #[test]
    fn patterns_as_redis_reads_them() {
        let key = |before, after, field| Pattern::Key { before, after, field };
        assert_eq!(Pattern::parse(b"#"), Pattern::Element);
        assert_eq!(Pattern::parse(b"##"), Pattern::Nothing);
        assert_eq!(Pattern::parse(b"nosort"), Pattern::Nothing);
        assert_eq!(Pattern::parse(b"h->f"), Pattern::Nothing);
        assert_eq!(Pattern::parse(b"w_*"), key(b"w_", b"", None));
        assert_eq!(Pattern::parse(b"w_*_*"), key(b"w_", b"_*", None));
        assert_eq!(Pattern::parse(b"h_*->f"), key(b"h_", b"", Some(b"f")));
        assert_eq!(Pattern::parse(b"h_*x->f->g"), key(b"h_", b"x", Some(b"f->g")));
        assert_eq!(Pattern::parse(b"x:*->"), key(b"x:", b"->", None));
        assert_eq!(Pattern::parse(b"a->*"), key(b"a->", b"", None));
    }
}
