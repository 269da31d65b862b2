//! Explained differences that a reply may show, each with its reason: 7.0 against 7.2, and what Redis itself
//! gets wrong. See also `same_encoding` in `compare.rs`, the scores in `dataset.rs`, and in `generator.rs`
//! what is not generated (an index of LSET beyond 32 bits, a COUNT of XAUTOCLAIM that Redis cannot allocate)
//! and the consumers made beforehand.

use crate::common::Reply;

/// One explained difference between two replies of which at least one is an error.
struct Explained {
    /// What stands in the reference's reply, as [`Reply`] prints it.
    reference: &'static str,
    /// What stands in ours.
    ours: &'static str,
    reason: &'static str,
    /// True if 7.2 does the same as the reference.
    always: bool,
}

const TABLE: &[Explained] = &[
    Explained {
        reference: "ERR Unbalanced XREAD list of streams",
        ours: "ERR Unbalanced 'xread",
        reason: "7.2 names the command",
        always: false,
    },
    Explained {
        reference: "ERR wrong number of arguments for 'zr",
        ours: "ERR syntax error",
        reason: "ZRANK and ZREVRANK take WITHSCORE in 7.2",
        always: false,
    },
    Explained {
        reference: "ERR One or more scores can't be converted into double",
        ours: "",
        reason: "SORT looks at an errno that any earlier number out of range has left behind",
        always: true,
    },
    Explained {
        reference: "",
        ours: "ERR value is out of range, value must between -9223372036854775807 and",
        reason: "7.2 refuses the least RANK of LPOS",
        always: false,
    },
    Explained {
        reference: "ERR The ID specified in XSETID is smaller than the target stream top item",
        ours: "ERR The ID specified in XSETID is smaller than current max_deleted_entry_id",
        reason: "7.2 compares with the deleted entries first",
        always: false,
    },
    Explained {
        reference: "ERR timeout is negative",
        ours: "ERR timeout is out of range",
        reason: "7.2 looks at the range of an infinite time-out before its sign",
        always: false,
    },
];

/// The reason in the table for this pair of replies. `old`: the reference is older than 7.2.
pub fn reason(reference: &Reply, ours: &Reply, old: bool) -> Option<&'static str> {
    let (reference, ours) = (format!("{reference:?}"), format!("{ours:?}"));
    let row = TABLE
        .iter()
        .find(|row| (old || row.always) && reference.contains(row.reference) && ours.contains(row.ours));
    row.map(|row| row.reason)
}
