//! Sets of options with a name: what the load meets beside itself in the project's latency figures.

use crate::tools::load::options::{Options, set};

/// A name and its options, as on the command line but without the dashes.
type Scenario = (&'static str, &'static [(&'static str, &'static str)]);

/// All send 50,000 GET a second for 10 s over keys that are there.
const SCENARIOS: &[Scenario] = &[
    // Written in some 2 s, so they expire over as long a time, from about 4 s after the warm-up on.
    ("expire", &[("keys", "1000000"), ("prepare", "1000000=SET expiring:{index} {value} PX 7000"), GETS]),
    (
        "delete",
        &[("keys", "1000000"), ("prepare", "5000000=SADD doomed m:{index}"), ("at", "3s:DEL doomed"), GETS],
    ),
    // Redis doubles its table at 2^23 = 8,388,608 keys, here after 4 s.
    ("grow", &[("keys", "8340000"), ("value-size", "8"), ("rate", "60000"), GETS_OF_SIX, NEW_OF_SIX]),
    (
        "evict",
        &[
            ("keys", "3000000"),
            ("setup", "CONFIG SET maxmemory-policy allkeys-lru"),
            ("setup", "CONFIG SET maxmemory 150mb"),
            ("rate", "60000"),
            GETS_OF_SIX,
            NEW_OF_SIX,
        ],
    ),
];

const GETS: (&str, &str) = ("template", "1=GET {key}");
const GETS_OF_SIX: (&str, &str) = ("template", "5=GET {key}");
const NEW_OF_SIX: (&str, &str) = ("template", "1=SET {new} {value}");

/// Sets the options of the scenario with this name.
pub fn apply(options: &mut Options, name: &str) -> Result<(), String> {
    let names = || SCENARIOS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let found = SCENARIOS.iter().find(|(known, _)| *known == name);
    let (_, rows) = found.ok_or_else(|| format!("--scenario {name:?}: one of {}", names()))?;
    set(options, "rate", "50000")?;
    options.fill = true;
    rows.iter().try_for_each(|(option, value)| set(options, option, value))
}
