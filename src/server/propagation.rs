//! The stream of effects: what goes to the AOF and to replicas.
//!
//! A *unit* is everything one client command causes (a transaction, or a command with the keys
//! that expired under it). A unit of several commands is wrapped in MULTI and EXEC, so that it is
//! replayed whole. Commands are encoded straight into one buffer; nothing else is allocated.

use crate::resp::Args;
use std::ops::Range;

/// Collects encoded commands until the end of the turn.
#[derive(Debug, Default)]
pub struct Propagation {
    /// Encoded commands of this turn; [`crate::server::Server::flush_stream`] hands them on.
    pub stream: Vec<u8>,
    /// Somebody wants the stream: the AOF is on, or a replica is attached.
    pub wanted: bool,
    /// Database selected in the stream; `None`: the next command must begin with SELECT.
    selected_db: Option<usize>,
    /// Where in `stream` commands stand that the AOF does not get, in order.
    only_replicas: Vec<Range<usize>>,
    /// Their bytes.
    only_replicas_bytes: usize,
    unit: Unit,
}

#[derive(Debug, Default)]
struct Unit {
    depth: u32,
    /// Where in `stream` the unit's first command begins, its SELECT included.
    start: usize,
    commands: u32,
    /// Not to be wrapped, however many commands it has.
    plain: bool,
    /// The part of `only_replicas` that was taken out with it, counted from its beginning.
    taken_out: Vec<Range<usize>>,
}

impl Propagation {
    /// The next command in the stream is preceded by SELECT (a new file or replica begins here).
    pub fn forget_selected_db(&mut self) {
        self.selected_db = None;
    }

    /// The database selected in the stream; `None`: the next command selects one.
    pub fn selected_db(&self) -> Option<usize> {
        self.selected_db
    }

    /// Begins a unit; units nest (EXEC runs commands), the outermost one counts.
    pub fn begin_unit(&mut self) {
        if self.unit.depth == 0 {
            self.unit.commands = 0;
            self.unit.plain = false;
        }
        self.unit.depth += 1;
    }

    /// The commands of this unit need not be replayed together: a walk over keys (SCAN) found
    /// expired ones, which have nothing to do with each other. Without effect inside a transaction.
    pub fn stay_plain(&mut self) {
        self.unit.plain = self.unit.depth == 1;
    }

    /// Ends a unit and wraps it when it has more than one command.
    pub fn end_unit(&mut self) {
        debug_assert!(self.unit.depth > 0);
        self.unit.depth -= 1;
        if self.unit.depth > 0 || self.unit.commands < 2 || self.unit.plain {
            return;
        }
        const MULTI: &[u8] = b"*1\r\n$5\r\nMULTI\r\n";
        let start = self.unit.start;
        self.stream.splice(start..start, MULTI.iter().copied());
        for range in self.only_replicas.iter_mut().rev().take_while(|range| range.start >= start) {
            *range = range.start + MULTI.len()..range.end + MULTI.len();
        }
        self.stream.extend_from_slice(b"*1\r\n$4\r\nEXEC\r\n");
    }

    /// Takes out the commands of a unit that has not ended.
    pub fn take_open_unit(&mut self) -> Vec<u8> {
        if self.unit.depth == 0 || self.unit.commands == 0 {
            return Vec::new();
        }
        let start = std::mem::take(&mut self.unit.start);
        let first = self.only_replicas.partition_point(|range| range.start < start);
        let taken = self.only_replicas.drain(first..);
        self.unit.taken_out = taken.map(|range| range.start - start..range.end - start).collect();
        self.only_replicas_bytes = self.only_replicas.iter().map(Range::len).sum();
        self.stream.split_off(start)
    }

    /// Puts them back; the stream before them has been handed on.
    pub fn put_open_unit(&mut self, open: &[u8]) {
        debug_assert!(self.stream.is_empty(), "the unit begins where it was taken out");
        self.stream.extend_from_slice(open);
        self.only_replicas.append(&mut self.unit.taken_out);
        self.only_replicas_bytes = self.only_replicas.iter().map(Range::len).sum();
    }

    /// Whether the running command is part of a larger one (EXEC, a script).
    pub fn in_transaction(&self) -> bool {
        self.unit.depth > 1
    }

    /// Whether a unit is open (a command is running).
    pub fn in_unit(&self) -> bool {
        self.unit.depth > 0
    }

    /// Adds a command that changed `db`: as it was received where that is possible.
    pub fn add(&mut self, db: usize, args: Args<'_>) {
        self.begin_command(db);
        self.push_args(args);
    }

    /// Adds a command that replicas get and the AOF does not: it changes no data (PUBLISH).
    pub fn add_for_replicas(&mut self, db: usize, args: Args<'_>) {
        self.begin_command(db);
        let start = self.stream.len();
        self.push_args(args);
        self.only_replicas.push(start..self.stream.len());
        self.only_replicas_bytes += self.stream.len() - start;
    }

    /// Bytes of the stream that are for the AOF.
    #[inline]
    pub fn log_bytes(&self) -> usize {
        self.stream.len() - self.only_replicas_bytes
    }

    /// Takes out what the AOF does not get: replicas have got it.
    pub fn keep_for_log(&mut self) {
        if self.only_replicas.is_empty() {
            return;
        }
        let mut kept = Vec::with_capacity(self.log_bytes());
        let mut from = 0;
        for range in self.only_replicas.drain(..) {
            kept.extend_from_slice(&self.stream[from..range.start]);
            from = range.end;
        }
        kept.extend_from_slice(&self.stream[from..]);
        self.stream = kept;
        self.only_replicas_bytes = 0;
    }

    /// Forgets everything: nobody is left who wants it.
    pub fn clear(&mut self) {
        self.stream.clear();
        self.only_replicas.clear();
        self.only_replicas_bytes = 0;
    }

    fn push_args(&mut self, args: Args<'_>) {
        if let Some(request) = args.canonical_request() {
            self.stream.extend_from_slice(request);
            return;
        }
        push_header(&mut self.stream, b'*', args.len());
        for argument in args.iter() {
            push_bulk(&mut self.stream, argument);
        }
    }

    /// Adds a command given as slices.
    pub fn add_slices(&mut self, db: usize, args: &[&[u8]]) {
        self.begin_command(db);
        push_command(&mut self.stream, args);
    }

    fn begin_command(&mut self, db: usize) {
        if self.unit.commands == 0 {
            self.unit.start = self.stream.len();
        }
        self.unit.commands += 1;
        if self.selected_db != Some(db) {
            self.selected_db = Some(db);
            self.stream.extend_from_slice(b"*2\r\n$6\r\nSELECT\r\n");
            push_bulk(&mut self.stream, itoa::Buffer::new().format(db).as_bytes());
        }
    }
}

/// Appends a whole command.
pub fn push_command(out: &mut Vec<u8>, args: &[&[u8]]) {
    push_header(out, b'*', args.len());
    for argument in args {
        push_bulk(out, argument);
    }
}

/// Appends `$<len>\r\n<bytes>\r\n`.
pub fn push_bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    push_header(out, b'$', bytes.len());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

fn push_header(out: &mut Vec<u8>, kind: u8, count: usize) {
    out.push(kind);
    out.extend_from_slice(itoa::Buffer::new().format(count).as_bytes());
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::Propagation;
    use crate::resp::OwnedArgs;

    fn text(propagation: &Propagation) -> String {
        String::from_utf8_lossy(&propagation.stream).replace("\r\n", " ")
    }

    #[test]
    fn one_command_stands_alone_and_selects_once() {
        let mut propagation = Propagation::default();
        for key in [b"a", b"b"] {
            propagation.begin_unit();
            propagation.add_slices(3, &[b"DEL", key]);
            propagation.end_unit();
        }
        assert_eq!(text(&propagation), "*2 $6 SELECT $1 3 *2 $3 DEL $1 a *2 $3 DEL $1 b ");
    }

    #[test]
    fn a_plain_unit_is_not_wrapped_unless_it_is_part_of_a_transaction() {
        let mut propagation = Propagation::default();
        for depth in [1, 2] {
            (0..depth).for_each(|_| propagation.begin_unit());
            propagation.stay_plain();
            propagation.add_slices(0, &[b"DEL", b"a"]);
            propagation.add_slices(0, &[b"DEL", b"b"]);
            (0..depth).for_each(|_| propagation.end_unit());
            assert_eq!(text(&propagation).contains("MULTI"), depth == 2);
        }
    }

    /// Whatever else is in the stream, its transactions and their beginnings: the AOF gets all but these.
    #[test]
    fn what_only_replicas_get_is_taken_out_for_the_log() {
        let message = |text: &'static [u8]| OwnedArgs::from_slices([b"PUBLISH", text].into_iter());
        let mut propagation = Propagation::default();
        let unit = |propagation: &mut Propagation, commands: &[&'static [u8]]| {
            propagation.begin_unit();
            for command in commands {
                match command.first() {
                    Some(b'm') => propagation.add_for_replicas(0, message(command).as_args()),
                    _ => propagation.add_slices(0, &[b"DEL", command]),
                }
            }
            propagation.end_unit();
        };
        unit(&mut propagation, &[b"m1"]);
        unit(&mut propagation, &[b"m2", b"a", b"m3"]);
        unit(&mut propagation, &[b"m4"]);
        propagation.begin_unit();
        propagation.add_for_replicas(0, message(b"m5").as_args());
        let open = propagation.take_open_unit();
        assert_eq!(
            text(&propagation),
            "*2 $6 SELECT $1 0 *2 $7 PUBLISH $2 m1 *1 $5 MULTI *2 $7 PUBLISH $2 m2 *2 $3 DEL $1 a *2 $7 PUBLISH $2 m3 \
             *1 $4 EXEC *2 $7 PUBLISH $2 m4 "
        );
        let log_bytes = propagation.log_bytes();
        propagation.keep_for_log();
        assert_eq!(text(&propagation), "*2 $6 SELECT $1 0 *1 $5 MULTI *2 $3 DEL $1 a *1 $4 EXEC ");
        assert_eq!(propagation.stream.len(), log_bytes);
        propagation.clear();
        propagation.put_open_unit(&open);
        propagation.end_unit();
        unit(&mut propagation, &[b"b"]);
        propagation.keep_for_log();
        assert_eq!(text(&propagation), "*2 $3 DEL $1 b ");
    }

    #[test]
    fn several_commands_become_a_transaction() {
        let mut propagation = Propagation::default();
        propagation.begin_unit();
        propagation.add_slices(0, &[b"DEL", b"a"]);
        propagation.begin_unit();
        propagation.add_slices(1, &[b"INCR", b"b"]);
        propagation.end_unit();
        propagation.end_unit();
        assert_eq!(
            text(&propagation),
            "*1 $5 MULTI *2 $6 SELECT $1 0 *2 $3 DEL $1 a *2 $6 SELECT $1 1 *2 $4 INCR $1 b *1 $4 EXEC "
        );
    }
}
