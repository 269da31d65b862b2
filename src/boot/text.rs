//! What `--version` and `--help` print.

use crate::server::run::{REDIS_VERSION, TINE_VERSION};
use crate::sys::general_alloc;

/// `--version`; the exit status.
pub fn show_version() -> i32 {
    println!(
        "Tine server v={TINE_VERSION} redis_version={REDIS_VERSION} malloc={} bits=64",
        general_alloc::name()
    );
    0
}

/// `--help`; Redis exits with 1 here, and scripts may count on it.
pub fn show_help() -> i32 {
    eprintln!(
        "Usage: tine-server [FILE | -] [--directive value ...] [-]

  FILE                 configuration file (redis.conf format)
  -                    read configuration from the standard input
  --directive value    any directive of the file, read after it
  -v, --version        print the version
  -h, --help           print this text
  --check-system [FILE] [--directive value ...]
                       look at the machine: overcommit, huge pages, limits; the status is 1
                       when something should be set otherwise

Examples:
  tine-server
  tine-server /etc/tine/redis.conf
  tine-server --port 7777 --loglevel verbose
  echo 'maxmemory 128mb' | tine-server -"
    );
    1
}
