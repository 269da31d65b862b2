//! LCS: the longest common subsequence of two strings, by the textbook table.
//!
//! ```text
//!          ""  b0  b1 ...     cell(i, j): length of the longest common subsequence
//!      ""   0   0   0         of the first i bytes of a and the first j bytes of b
//!      a0   0   .   .         (alen + 1) * (blen + 1) cells of 4 bytes, bounded by
//!      a1   0   .   .         proto-max-bulk-len
//! ```

use crate::command::arg;
use crate::command::string::read::bytes_of;
use crate::resp::{Args, Reply};
use crate::server::error::{self, CommandResult, ReplyError};
use crate::server::spec::{Group, KeySpec, category, flag, key_flag};
use crate::server::{CommandSpec, Ctx};
use crate::value::ValueType;
use crate::value::string::Digits;

pub const ROWS: &[CommandSpec] = &[CommandSpec {
    name: "lcs",
    arity: -3,
    flags: flag::READONLY,
    categories: category::STRING,
    keys: &[KeySpec::range(1, 1, 1, key_flag::RO | key_flag::ACCESS)],
    group: Group::String,
    since: "7.0.0",
    complexity: "O(N*M) where N and M are the lengths of the strings.",
    summary: "Finds the longest common subsequence of two strings.",
    handler: lcs,
    ..CommandSpec::DEFAULT
}];

#[derive(Default)]
struct Options {
    only_len: bool,
    ranges: bool,
    min_match_len: i64,
    with_match_len: bool,
}

impl Options {
    fn parse(args: Args<'_>) -> Result<Options, ReplyError> {
        let mut options = Options::default();
        let mut words = args.iter();
        while let Some(word) = words.next() {
            if arg::is(word, "idx") {
                options.ranges = true;
            } else if arg::is(word, "len") {
                options.only_len = true;
            } else if arg::is(word, "withmatchlen") {
                options.with_match_len = true;
            } else if arg::is(word, "minmatchlen") {
                options.min_match_len = arg::integer(words.next().ok_or(error::SYNTAX)?)?;
            } else {
                return Err(error::SYNTAX);
            }
        }
        if options.only_len && options.ranges {
            return Err(ReplyError::fixed(
                "ERR If you want both the length and indexes, please just use IDX.",
            ));
        }
        Ok(options)
    }
}

fn lcs(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (first, second) = (args.at(1), args.at(2));
    let mut is_string =
        |key| ctx.server.read(ctx.db, key).is_none_or(|view| view.value_type() == ValueType::String);
    // Both are looked up whatever the first one is.
    if !(is_string(first) & is_string(second)) {
        return Err(ReplyError::fixed("ERR The specified keys must contain string values"));
    }
    let options = Options::parse(args.tail(3))?;
    let (mut first_digits, mut second_digits) = (Digits::new(), Digits::new());
    let a = bytes_of(ctx, first, &mut first_digits)?.unwrap_or(b"");
    let b = bytes_of(ctx, second, &mut second_digits)?.unwrap_or(b"");
    let table = Table::fill(a, b, ctx.server.config.proto_max_bulk_len)?;
    let len = table.cell(a.len(), b.len());
    let mut out = Reply::new(ctx.out.protocol);
    if options.ranges {
        reply_ranges(&mut out, &table, a, b, &options);
        out.bulk(b"len");
        out.integer(len as i64);
    } else if options.only_len {
        out.integer(len as i64);
    } else {
        let mut common = Vec::with_capacity(len as usize);
        table.walk_back(a, b, |step| {
            if let Step::Match(i, _) = step {
                common.push(a[i]);
            }
        });
        common.reverse();
        out.bulk(&common);
    }
    ctx.out.raw(&out.buffer);
    Ok(())
}

struct Table {
    cells: Vec<u32>,
    width: usize,
}

/// One step of the way back from the table's end.
#[derive(Clone, Copy)]
enum Step {
    /// These bytes (of a and of b) are equal and part of the result.
    Match(usize, usize),
    Skip,
}

impl Table {
    fn fill(a: &[u8], b: &[u8], limit_bytes: usize) -> Result<Table, ReplyError> {
        let width = b.len() + 1;
        let count = (a.len() + 1) * width;
        if count.saturating_mul(size_of::<u32>()) > limit_bytes {
            return Err(ReplyError::fixed(
                "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len",
            ));
        }
        let mut cells = Vec::new();
        cells.try_reserve_exact(count).map_err(|_| {
            ReplyError::fixed("ERR Insufficient memory, failed allocating transient memory for LCS")
        })?;
        cells.resize(count, 0u32);
        let mut table = Table { cells, width };
        for (i, left) in a.iter().enumerate() {
            let (done, current) = table.cells[i * width..(i + 2) * width].split_at_mut(width);
            for (j, right) in b.iter().enumerate() {
                current[j + 1] = if left == right { done[j] + 1 } else { done[j + 1].max(current[j]) };
            }
        }
        Ok(table)
    }

    fn cell(&self, i: usize, j: usize) -> u32 {
        self.cells[i * self.width + j]
    }

    /// Goes from the end to a border, telling each step.
    fn walk_back(&self, a: &[u8], b: &[u8], mut tell: impl FnMut(Step)) {
        let (mut i, mut j) = (a.len(), b.len());
        while i > 0 && j > 0 {
            let step = if a[i - 1] == b[j - 1] {
                (i, j) = (i - 1, j - 1);
                Step::Match(i, j)
            } else {
                if self.cell(i - 1, j) > self.cell(i, j - 1) {
                    i -= 1
                } else {
                    j -= 1
                }
                Step::Skip
            };
            tell(step);
        }
    }
}

/// Equal runs of bytes: where they begin, and how long they are.
#[derive(Clone, Copy)]
struct Run {
    a: usize,
    b: usize,
    len: usize,
}

/// Writes `matches` with the runs, the last one first.
fn reply_ranges(out: &mut Reply, table: &Table, a: &[u8], b: &[u8], options: &Options) {
    out.map(2);
    out.bulk(b"matches");
    let mark = out.begin_deferred();
    let mut count = 0;
    let mut emit = |run: Option<Run>| {
        let Some(run) = run.filter(|run| run.len as i64 >= options.min_match_len) else { return };
        out.array(2 + options.with_match_len as usize);
        for start in [run.a, run.b] {
            out.array(2);
            out.integer(start as i64);
            out.integer((start + run.len - 1) as i64);
        }
        if options.with_match_len {
            out.integer(run.len as i64);
        }
        count += 1;
    };
    let mut open: Option<Run> = None;
    table.walk_back(a, b, |step| match (step, open) {
        (Step::Match(i, j), Some(run)) if run.a == i + 1 && run.b == j + 1 => {
            open = Some(Run { a: i, b: j, len: run.len + 1 });
        }
        (Step::Match(i, j), earlier) => {
            emit(earlier);
            open = Some(Run { a: i, b: j, len: 1 });
        }
        (Step::Skip, earlier) => {
            emit(earlier);
            open = None;
        }
    });
    emit(open);
    out.end_deferred_array(mark, count);
}
