//! The elements and their order.

use super::options::Options;
use crate::base::numbers::parse_f64;
use std::cmp::Ordering;
use std::ops::Range;

/// Elements of one SORT: their bytes one behind the other, and the order they come in.
#[derive(Debug, Default)]
pub(super) struct Elements {
    bytes: Vec<u8>,
    places: Vec<Range<usize>>,
    /// Numbers of elements in their order; empty while that is the order they were read in.
    order: Vec<usize>,
    /// The part of the order that is wanted.
    pub range: Range<usize>,
}

impl Elements {
    pub fn push(&mut self, text: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(text);
        self.places.push(start..self.bytes.len());
    }

    pub fn len(&self) -> usize {
        self.places.len()
    }

    fn text(&self, number: usize) -> &[u8] {
        &self.bytes[self.places[number].clone()]
    }

    /// The elements as they were read.
    pub fn texts(&self) -> impl Iterator<Item = &[u8]> {
        self.places.iter().map(|place| &self.bytes[place.clone()])
    }

    /// A part of the elements in their order.
    pub fn in_order(&self, range: Range<usize>) -> impl ExactSizeIterator<Item = &[u8]> {
        range.map(|at| self.text(self.order.get(at).copied().unwrap_or(at)))
    }

    /// Takes the elements as if they had been read in the order of their bytes.
    pub fn sort_by_bytes(&mut self) {
        let mut places = std::mem::take(&mut self.places);
        places.sort_unstable_by(|left, right| self.bytes[left.clone()].cmp(&self.bytes[right.clone()]));
        self.places = places;
    }

    /// By their numbers; those with the same one by their bytes.
    pub fn sort_by_numbers(&mut self, numbers: &[f64], descending: bool) {
        let compare = |left: &usize, right: &usize| {
            let order = numbers[*left].partial_cmp(&numbers[*right]).unwrap_or(Ordering::Equal);
            order.then_with(|| self.text(*left).cmp(self.text(*right)))
        };
        self.order = self.ordered(descending, compare);
    }

    /// By these texts (those without one come first), or by their own.
    pub fn sort_by_texts(&mut self, weights: Option<&[Option<Vec<u8>>]>, options: &Options<'_>) {
        // Redis compares by bytes where the result is stored, else as C strings.
        let cut = |text: &[u8]| match options.store {
            Some(_) => text.len(),
            None => text.iter().position(|byte| *byte == 0).unwrap_or(text.len()),
        };
        let shown = |number: usize| match weights {
            Some(weights) => weights[number].as_deref().map(|text| &text[..cut(text)]),
            None => Some(self.text(number)).map(|text| &text[..cut(text)]),
        };
        let compare = |left: &usize, right: &usize| shown(*left).cmp(&shown(*right));
        self.order = self.ordered(options.descending, compare);
    }

    /// The numbers of the elements in order, as far as the range reaches. Elements that compare
    /// as equal stay as they were read.
    fn ordered(&self, descending: bool, compare: impl Fn(&usize, &usize) -> Ordering) -> Vec<usize> {
        let directed = |left: &usize, right: &usize| {
            let order = if descending { compare(right, left) } else { compare(left, right) };
            order.then(left.cmp(right))
        };
        let mut order: Vec<usize> = (0..self.len()).collect();
        if self.range.end < order.len() {
            if self.range.end > 0 {
                order.select_nth_unstable_by(self.range.end - 1, directed);
            }
            order.truncate(self.range.end);
        }
        order.sort_unstable_by(directed);
        order
    }
}

/// The numbers that texts stand for; a missing one is 0. `None` if one is no number.
pub(super) fn numbers_of<'t>(texts: impl Iterator<Item = Option<&'t [u8]>>) -> Option<Vec<f64>> {
    texts.map(|text| text.map_or(Some(0.0), number)).collect()
}

/// A number as C's `strtod` takes a whole string: blanks may stand in front, and nothing is 0.
fn number(text: &[u8]) -> Option<f64> {
    let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
    if end == 0 {
        return Some(0.0);
    }
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r');
    let start = text[..end].iter().position(|byte| !blank(byte))?;
    parse_f64(&text[start..end])
}

#[cfg(test)]
mod tests {
    use super::{Elements, number};

    fn elements(texts: &[&str]) -> Elements {
        let mut elements = Elements::default();
        texts.iter().for_each(|text| elements.push(text.as_bytes()));
        elements.range = 0..texts.len();
        elements
    }

    fn shown(elements: &Elements) -> Vec<String> {
        let range = elements.range.clone();
        elements.in_order(range).map(|text| String::from_utf8_lossy(text).into_owned()).collect()
    }

    #[test]
    fn equal_numbers_fall_back_to_bytes() {
        let mut four = elements(&["b", "a", "d", "c"]);
        assert_eq!(shown(&four), ["b", "a", "d", "c"]);
        four.sort_by_numbers(&[1.0, 1.0, 0.0, 2.0], false);
        assert_eq!(shown(&four), ["d", "a", "b", "c"]);
        four.sort_by_numbers(&[1.0, 1.0, 0.0, 2.0], true);
        assert_eq!(shown(&four), ["c", "b", "a", "d"]);
        four.range = 1..3;
        four.sort_by_numbers(&[1.0, 1.0, 0.0, 2.0], false);
        assert_eq!(shown(&four), ["a", "b"]);
        four.range = 0..0;
        four.sort_by_numbers(&[1.0, 1.0, 0.0, 2.0], false);
        assert!(shown(&four).is_empty());
    }

    #[test]
    fn numbers_as_strtod_reads_them() {
        assert_eq!(number(b"3.5e1"), Some(35.0));
        assert_eq!(number(b""), Some(0.0));
        assert_eq!(number(b" \t1"), Some(1.0));
        assert_eq!(number(b"1\0x"), Some(1.0));
        assert_eq!(number(b"-inf"), Some(f64::NEG_INFINITY));
        for text in [&b"x"[..], b"1x", b"1 ", b" ", b"nan"] {
            assert_eq!(number(text), None, "{text:?}");
        }
    }
}
