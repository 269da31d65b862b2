//! Differences between Redis 7.0 and 7.2 that a reply may show, each with its reason. They count only while
//! the reference is older than 7.2; see also `same_encoding` in `compare.rs`, the scores in `dataset.rs`
//! and the consumers in `generator.rs`.

use crate::common::Reply;

/// One explained difference between two replies of which at least one is an error.
struct Explained {
    /// What stands in the reference's reply, as [`Reply`] prints it.
    reference: &'static str,
    /// What stands in ours.
    ours: &'static str,
    reason: &'static str,
}

const TABLE: &[Explained] = &[
    Explained {
        reference: "ERR Unbalanced XREAD list of streams",
        ours: "ERR Unbalanced 'xread",
        reason: "7.2 names the command",
    },
    Explained {
        reference: "ERR wrong number of arguments for 'zr",
        ours: "ERR syntax error",
        reason: "ZRANK and ZREVRANK take WITHSCORE in 7.2",
    },
    Explained {
        reference: "ERR timeout is negative",
        ours: "ERR timeout is out of range",
        reason: "7.2 looks at the range of an infinite time-out before its sign",
    },
];

/// The reason in the table for this pair of replies.
pub fn reason(reference: &Reply, ours: &Reply) -> Option<&'static str> {
    let (reference, ours) = (format!("{reference:?}"), format!("{ours:?}"));
    let row = TABLE.iter().find(|row| reference.contains(row.reference) && ours.contains(row.ours));
    row.map(|row| row.reason)
}
