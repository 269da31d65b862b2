//! The directives that take one of a few names, as Rust enums.
//!
//! To add one: list it here with its names (the first name of a variant is the one shown, further
//! ones are also understood), then use it as the type of a row in `rows.rs`.

/// A type whose values have names in the configuration.
pub trait Named: Copy + PartialEq + 'static {
    /// All names in the order that error texts list them.
    const NAMES: &'static [&'static str];
    /// The value of a name, whatever its case.
    fn from_name(name: &[u8]) -> Option<Self>;
    /// The name shown by CONFIG GET.
    fn name(self) -> &'static str;
}

macro_rules! config_enums {
    ($(
        $(#[$about:meta])* $kind:ident {
            $( $(#[$each:meta])* $variant:ident = $name:literal $(| $other:literal)* ),* $(,)?
        }
    )*) => { $(
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $kind { $( $(#[$each])* #[doc = concat!("`", $name, "`")] $variant ),* }

        impl Named for $kind {
            const NAMES: &'static [&'static str] = &[$( $name $(, $other)* ),*];

            fn from_name(name: &[u8]) -> Option<Self> {
                $( if name.eq_ignore_ascii_case($name.as_bytes())
                    $(|| name.eq_ignore_ascii_case($other.as_bytes()))*
                { return Some($kind::$variant); } )*
                None
            }

            fn name(self) -> &'static str {
                match self { $( $kind::$variant => $name ),* }
            }
        }
    )* };
}

config_enums! {
    /// When the AOF is synced to the disk.
    AppendFsync { Everysec = "everysec", Always = "always", No = "no" }

    /// What goes when memory is full.
    MaxmemoryPolicy {
        VolatileLru = "volatile-lru",
        VolatileLfu = "volatile-lfu",
        VolatileRandom = "volatile-random",
        VolatileTtl = "volatile-ttl",
        AllkeysLru = "allkeys-lru",
        AllkeysLfu = "allkeys-lfu",
        AllkeysRandom = "allkeys-random",
        NoEviction = "noeviction",
    }

    /// How much goes to the log.
    LogLevel {
        Debug = "debug",
        Verbose = "verbose",
        Notice = "notice",
        Warning = "warning",
        Nothing = "nothing",
    }

    /// Facility of messages sent to syslog.
    SyslogFacility {
        User = "user",
        Local0 = "local0",
        Local1 = "local1",
        Local2 = "local2",
        Local3 = "local3",
        Local4 = "local4",
        Local5 = "local5",
        Local6 = "local6",
        Local7 = "local7",
    }

    /// The service manager that started the server.
    Supervised { Upstart = "upstart", Systemd = "systemd", Auto = "auto", No = "no" }

    /// Whether a replica may load what it receives without a file between.
    ReplDisklessLoad { Disabled = "disabled", OnEmptyDb = "on-empty-db", Swapdb = "swapdb" }

    /// Whether TLS clients show a certificate.
    TlsAuthClients { No = "no", Yes = "yes", Optional = "optional" }

    /// How `oom-score-adj-values` are put into effect.
    OomScoreAdj { No = "no", Relative = "yes" | "relative", Absolute = "absolute" }

    /// Channels a new ACL user may use.
    AclPubsubDefault { AllChannels = "allchannels", ResetChannels = "resetchannels" }

    /// Whose RESTORE payloads are checked in depth.
    SanitizeDumpPayload { No = "no", Yes = "yes", Clients = "clients" }

    /// Who may use a guarded command or directive.
    ProtectedAction { No = "no", Yes = "yes", Local = "local" }

    /// The address that CLUSTER SLOTS prefers.
    ClusterEndpointType { Ip = "ip", Hostname = "hostname", UnknownEndpoint = "unknown-endpoint" }

    /// What to do when a replayed or replicated command fails.
    PropagationErrorBehavior { Ignore = "ignore", Panic = "panic", PanicOnReplicas = "panic-on-replicas" }

    /// Whether the data region is made of huge pages.
    ForkHugePages { Auto = "auto", Yes = "yes", No = "no" }
}

impl ProtectedAction {
    /// Whether a client may act; `client_is_local` means loopback or a unix socket.
    pub fn allows(self, client_is_local: bool) -> bool {
        match self {
            ProtectedAction::Yes => true,
            ProtectedAction::Local => client_is_local,
            ProtectedAction::No => false,
        }
    }
}
