//! Configuration: the directives of `redis.conf`, CONFIG GET, SET and REWRITE, the command line.
//!
//! ```text
//!  argv ─argv─> options ┐
//!  redis.conf, include ─┴─file──> Config ──get_matching──> CONFIG GET
//!  stdin                           ^  └───rewrite───> new text of redis.conf
//!                       CONFIG SET └─set_many (all or nothing) ──> rows that changed
//! ```
//! `rows.rs` is the table (one line a directive), `directive.rs` what a row is, `enums.rs` and
//! `values.rs` the types of fields, `checks.rs` rules of single texts, `text.rs` words and units.
//!
//! Nothing here touches the rest of the server: putting a changed row into effect (listening on
//! another port, `chdir`, ...) is done by functions that boot collects. When one fails, the caller
//! puts back the clone of [`Config`] that it took before, and applies again.

mod argv;
mod checks;
mod directive;
mod enums;
mod error;
mod file;
mod rewrite;
mod rows;
mod text;
mod values;

#[cfg(test)]
mod tests;

use crate::value::PackedLimits;

pub use argv::{CommandLine, StartAction, parse_command_line};
pub use directive::{ConfigRow, Kind, Marks, Origin};
pub use enums::{
    AclPubsubDefault, AppendFsync, ClusterEndpointType, ForkHugePages, LogLevel, MaxmemoryPolicy, Named,
    OomScoreAdj, PropagationErrorBehavior, ProtectedAction, ReplDisklessLoad, SanitizeDumpPayload,
    Supervised, SyslogFacility, TlsAuthClients,
};
pub use error::{ConfigSetError, RefuseReason, ValueError};
pub use file::{ConfigFileError, ConfigFiles, DiskFiles, FileDirectives, LoadedConfig, load};
pub use rewrite::{RewriteOptions, rewrite};
pub use rows::{Config, ROWS};
pub use text::{glob_matches, quote, quote_if_needed, split_arguments};
pub use values::{
    BindAddress, BindAddresses, ClientOutputBufferLimits, ConfigText, LatencyPercentiles, MemoryLimit,
    NotifyFlags, OomScoreAdjValues, OutputBufferLimit, PrimaryAddress, ReplicaOf, SavePoint, SavePoints,
    ShutdownOnSignal,
};

/// Fewest and most cron rounds a second; values outside are moved inside, not refused.
const HZ_RANGE: (u32, u32) = (1, 500);
/// Smallest replication backlog, in bytes; a smaller one is moved up, as in Redis.
const MIN_REPL_BACKLOG_BYTES: usize = 16 << 10;

/// A directive found by one of its names.
#[derive(Debug, Clone, Copy)]
pub struct FoundRow {
    /// The directive.
    pub row: &'static ConfigRow,
    /// The name or the alias, as it was asked for.
    pub name: &'static str,
}

/// Finds a directive by name or alias, whatever the case. O(rows).
pub fn find_row(name: &[u8]) -> Option<FoundRow> {
    all_names().find(|found| found.name.as_bytes().eq_ignore_ascii_case(name))
}

/// Whether the value of that directive must be kept out of logs, SLOWLOG and MONITOR.
pub fn is_sensitive(name: &[u8]) -> bool {
    find_row(name).is_some_and(|found| found.row.has(Marks::SENSITIVE))
}

/// Every name, each alias after its directive.
fn all_names() -> impl Iterator<Item = FoundRow> {
    ROWS.iter().flat_map(|row| {
        let names = [Some(row.name), row.alias];
        names.into_iter().flatten().map(move |name| FoundRow { row, name })
    })
}

/// Who sends a CONFIG SET, and when.
#[derive(Debug, Clone, Copy, Default)]
pub struct SetContext {
    /// The data set is being loaded.
    pub loading: bool,
    /// The client came over loopback or a unix socket (`enable-protected-configs local`).
    pub client_is_local: bool,
}

impl Config {
    /// `hash-max-listpack-entries`, `hash-max-listpack-value`.
    #[inline]
    pub fn hash_limits(&self) -> PackedLimits {
        let (entries, value_bytes) = (self.hash_max_listpack_entries, self.hash_max_listpack_value);
        PackedLimits { entries, value_bytes }
    }

    /// `set-max-listpack-entries`, `set-max-listpack-value`.
    #[inline]
    pub fn set_limits(&self) -> PackedLimits {
        let (entries, value_bytes) = (self.set_max_listpack_entries, self.set_max_listpack_value);
        PackedLimits { entries, value_bytes }
    }

    /// `zset-max-listpack-entries`, `zset-max-listpack-value`.
    #[inline]
    pub fn zset_limits(&self) -> PackedLimits {
        let (entries, value_bytes) = (self.zset_max_listpack_entries, self.zset_max_listpack_value);
        PackedLimits { entries, value_bytes }
    }

    /// What CONFIG GET answers: names (aliases too) with values, each once, in table order for a
    /// pattern. A plain name comes back as it was written and finds hidden directives too.
    pub fn get_matching<P: AsRef<[u8]>>(&self, patterns: &[P]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut matches: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        for pattern in patterns.iter().map(AsRef::as_ref) {
            let is_glob = pattern.iter().any(|byte| b"[*?".contains(byte));
            for found in all_names() {
                let name = found.name.as_bytes();
                let wanted = if is_glob {
                    !found.row.has(Marks::HIDDEN) && glob_matches(pattern, name, true)
                } else {
                    name.eq_ignore_ascii_case(pattern)
                };
                if wanted && seen.insert(found.name) {
                    let shown = if is_glob { name } else { pattern };
                    matches.push((shown.to_vec(), found.row.get(self)));
                }
            }
        }
        matches
    }

    /// Sets several directives, all or none. On success gives the rows whose effect must be
    /// applied, in the order of the arguments: those that changed, and those that are applied
    /// even when set to what they were.
    pub fn set_many<N: AsRef<[u8]>, V: AsRef<[u8]>>(
        &mut self,
        pairs: &[(N, V)],
        context: SetContext,
    ) -> Result<Vec<&'static ConfigRow>, ConfigSetError> {
        let found = self.admit(pairs.iter().map(|(name, _)| name.as_ref()), context)?;
        let mut changed = self.clone();
        for (found, (_, value)) in found.iter().zip(pairs) {
            let words = command_words(found.row, value.as_ref());
            found.row.set(&mut changed, &words, Origin::Command).map_err(|error| {
                ConfigSetError::Refused {
                    name: found.name.as_bytes().to_vec(),
                    reason: RefuseReason::Value(error),
                }
            })?;
        }
        changed.normalize();
        let needs_applying = |row: &ConfigRow| {
            row.has(Marks::VOLATILE)
                || matches!(row.kind, Kind::Special)
                || row.get(self) != row.get(&changed)
        };
        let rows = found.iter().map(|found| found.row).filter(|row| needs_applying(row)).collect();
        *self = changed;
        Ok(rows)
    }

    /// Finds all rows of a CONFIG SET and refuses what may not be set; the first offender wins.
    fn admit<'n>(
        &self,
        names: impl Iterator<Item = &'n [u8]>,
        context: SetContext,
    ) -> Result<Vec<FoundRow>, ConfigSetError> {
        let mut admitted: Vec<FoundRow> = Vec::new();
        for name in names {
            let found = find_row(name).ok_or_else(|| ConfigSetError::UnknownOption(name.to_vec()))?;
            let refuse = |reason| ConfigSetError::Refused { name: name.to_vec(), reason };
            let may_set_protected = self.enable_protected_configs.allows(context.client_is_local);
            if found.row.has(Marks::START_ONLY) {
                return Err(refuse(RefuseReason::Immutable));
            }
            if found.row.has(Marks::PROTECTED) && !may_set_protected {
                return Err(refuse(RefuseReason::Protected));
            }
            if context.loading && found.row.has(Marks::DENY_LOADING) {
                return Err(ConfigSetError::Loading);
            }
            if admitted.iter().any(|other| other.name == found.name) {
                return Err(refuse(RefuseReason::Duplicate));
            }
            admitted.push(found);
        }
        Ok(admitted)
    }

    /// Moves values that are hints inside their sensible range.
    fn normalize(&mut self) {
        self.hz = self.hz.clamp(HZ_RANGE.0, HZ_RANGE.1);
        self.repl_backlog_size = self.repl_backlog_size.max(MIN_REPL_BACKLOG_BYTES);
    }
}

/// The words of a CONFIG SET value: itself, or cut at each blank where a directive takes several.
fn command_words(row: &ConfigRow, value: &[u8]) -> Vec<Vec<u8>> {
    if !row.has(Marks::WORDS) {
        return vec![value.to_vec()];
    }
    if value.is_empty() {
        return Vec::new();
    }
    value.split(|&byte| byte == b' ').map(<[u8]>::to_vec).collect()
}
