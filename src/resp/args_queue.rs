//! Requests kept to be run together later (between MULTI and EXEC), one behind the other.
//!
//! ```text
//!  bytes:    |*3 $3 SET $1 k $1 v|*2 $4 INCR $1 n|
//!  spans:    | SET  k  v | INCR  n |               relative to their request's bytes
//!  requests: | tag | tag |                         where its bytes and spans begin
//! ```
//! Three blocks for the whole queue, where an [`crate::resp::OwnedArgs`] a request would be two for
//! each, grown step by step: queueing ten SETs took a third of the instructions of a transaction. A
//! request stays as it was received, so that its way to the log is a copy ([`Args::canonical_request`]).

use crate::resp::args::{Args, Span};

/// See the module. `T` is what the queue's owner knows of each request.
#[derive(Clone, Debug)]
pub struct ArgsQueue<T> {
    bytes: Vec<u8>,
    spans: Vec<Span>,
    requests: Vec<Place<T>>,
}

#[derive(Clone, Debug)]
struct Place<T> {
    bytes_start: usize,
    spans_start: usize,
    tag: T,
}

impl<T> Default for ArgsQueue<T> {
    fn default() -> Self {
        ArgsQueue { bytes: Vec::new(), spans: Vec::new(), requests: Vec::new() }
    }
}

impl<T: Copy> ArgsQueue<T> {
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Appends a request. O(its bytes).
    pub fn push(&mut self, args: Args<'_>, tag: T) {
        let (bytes_start, spans_start) = (self.bytes.len(), self.spans.len());
        self.requests.push(Place { bytes_start, spans_start, tag });
        if let Some((start, received)) = args.received() {
            self.bytes.extend_from_slice(received);
            let shifted = |span: &Span| Span { start: span.start - start, end: span.end - start };
            self.spans.extend(args.spans().iter().map(shifted));
            return;
        }
        for argument in args.iter() {
            let start = self.bytes.len() - bytes_start;
            let end = start + argument.len();
            assert!(end <= u32::MAX as usize, "a request is bounded far below 4 GiB");
            self.bytes.extend_from_slice(argument);
            self.spans.push(Span { start: start as u32, end: end as u32 });
        }
    }

    /// The request at `index` and its tag.
    pub fn get(&self, index: usize) -> Option<(Args<'_>, T)> {
        let place = self.requests.get(index)?;
        let (bytes_end, spans_end) = match self.requests.get(index + 1) {
            Some(next) => (next.bytes_start, next.spans_start),
            None => (self.bytes.len(), self.spans.len()),
        };
        let bytes = &self.bytes[place.bytes_start..bytes_end];
        Some((Args::new(bytes, &self.spans[place.spans_start..spans_end]), place.tag))
    }

    pub fn iter(&self) -> impl Iterator<Item = (Args<'_>, T)> {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    /// Forgets the requests and keeps the blocks for others.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.spans.clear();
        self.requests.clear();
    }

    /// Heap bytes held, for client memory accounting. O(1).
    pub fn memory_bytes(&self) -> usize {
        self.bytes.capacity()
            + self.spans.capacity() * size_of::<Span>()
            + self.requests.capacity() * size_of::<Place<T>>()
    }
}

#[cfg(test)]
mod tests {
    use super::ArgsQueue;
    use crate::resp::args::{Args, OwnedArgs, Span};

    const TWO: &[u8] = b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*1\r\n$4\r\nPING\r\n";
    const SPANS: [Span; 3] =
        [Span { start: 8, end: 11 }, Span { start: 17, end: 18 }, Span { start: 28, end: 32 }];

    #[test]
    fn other_spellings_are_kept_and_are_not_canonical() {
        let (bytes, short) = (b"*02\r\n$3\r\nGET\r\n$1\r\nk\r\n", b"GET key");
        let mut queue = ArgsQueue::default();
        queue.push(Args::new(bytes, &[Span { start: 9, end: 12 }, Span { start: 18, end: 19 }]), ());
        queue.push(Args::new(short, &[Span { start: 0, end: 3 }, Span { start: 4, end: 7 }]), ());
        let kept: Vec<Vec<&[u8]>> = queue.iter().map(|(args, ())| args.iter().collect()).collect();
        assert_eq!(kept, [[&b"GET"[..], b"k"], [b"GET", b"key"]]);
        assert!(queue.iter().all(|(args, ())| args.canonical_request().is_none()));
    }

    #[test]
    fn requests_come_back_as_they_were_received() {
        let owned: OwnedArgs = [&b"SELECT"[..], b"", b"x"].into_iter().collect();
        let mut queue = ArgsQueue::default();
        for round in 0..2 {
            queue.push(Args::new(TWO, &SPANS[..2]), 'a');
            queue.push(owned.as_args(), 'b');
            queue.push(Args::new(TWO, &SPANS[2..]), 'c');
            queue.push(Args::new(TWO, &[]), 'd');
            let kept: Vec<(Vec<&[u8]>, char)> =
                queue.iter().map(|(args, tag)| (args.iter().collect(), tag)).collect();
            let wanted: [(Vec<&[u8]>, char); 4] = [
                (vec![b"GET", b"k"], 'a'),
                (vec![b"SELECT", b"", b"x"], 'b'),
                (vec![b"PING"], 'c'),
                (vec![], 'd'),
            ];
            assert_eq!(kept, wanted, "round {round}");
            let canonical: Vec<Option<&[u8]>> =
                queue.iter().map(|(args, _)| args.canonical_request()).collect();
            assert_eq!(canonical, [Some(&TWO[..20]), None, Some(&TWO[20..]), None]);
            assert!(queue.memory_bytes() >= TWO.len());
            queue.clear();
            assert!(queue.is_empty() && queue.get(0).is_none());
        }
    }
}
