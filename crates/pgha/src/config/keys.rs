//! The one table of keys. File keys, flags, variables, help and the reference in
//! `docs/configuration.md` all come from it.

/// What a key holds, and how one text is split into its items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One value.
    Text,
    /// On or off; as a flag its mere presence means on.
    Switch,
    /// `name=host:port` items, separated by commas.
    Peers,
    /// `key=value` items; as a flag given once for each.
    Pairs,
    /// Lines, in the file only.
    Lines,
    /// One value that is never printed.
    Secret,
}

/// How a key can be given beside the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Given {
    /// By a flag, and by the variable that is named after it.
    Flag(&'static str),
    /// By a variable alone: what stands on a command line is seen by everybody on the host.
    Variable(&'static str),
    /// In the file alone.
    File,
}

/// One key of a sidecar's configuration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    /// Its place in the file, sections separated by dots.
    pub(crate) name: &'static str,
    /// Flag and variable.
    pub(crate) given: Given,
    /// What it holds.
    pub(crate) kind: Kind,
    /// Name of the value in help texts.
    pub(crate) value: &'static str,
    /// The default in words.
    pub(crate) default: &'static str,
    /// What it is for.
    pub(crate) help: &'static str,
}

/// The default of `data_dir`.
pub(crate) const DATA_DIR: &str = "/var/lib/pgha";

/// Prefix of every variable.
pub(crate) const VARIABLE_PREFIX: &str = "PGHA_";

impl Key {
    /// The flag without its dashes.
    pub(crate) const fn flag(&self) -> Option<&'static str> {
        match self.given {
            Given::Flag(flag) => Some(flag),
            Given::Variable(_) | Given::File => None,
        }
    }

    /// The variable: the flag in capitals, `-` turned into `_`, with the prefix.
    pub(crate) fn variable(&self) -> Option<String> {
        match self.given {
            Given::Flag(flag) => {
                let name = flag.to_ascii_uppercase().replace('-', "_");
                Some(format!("{VARIABLE_PREFIX}{name}"))
            }
            Given::Variable(variable) => Some(variable.to_owned()),
            Given::File => None,
        }
    }

    /// The items of a flag's or variable's text.
    pub(crate) fn split(&self, text: &str) -> Vec<String> {
        let separators: &[char] = match self.kind {
            Kind::Text | Kind::Switch | Kind::Secret => return vec![text.to_owned()],
            Kind::Peers => &[','],
            // A PostgreSQL parameter may hold commas.
            Kind::Pairs => &[';', '\n'],
            Kind::Lines => &['\n'],
        };
        text.split(separators)
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .map(str::to_owned)
            .collect()
    }
}

/// The key of that name.
pub(crate) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// What somebody who wrote `wrong` probably meant.
pub(crate) fn closest<'a>(wrong: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    const SIMILARITY_MIN: f64 = 0.8;
    known
        .map(|name| (strsim::jaro_winkler(wrong, name), name))
        .filter(|(similarity, _)| *similarity >= SIMILARITY_MIN)
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .map(|(_, name)| name)
}

macro_rules! keys {
    ($($name:literal, $given:expr, $kind:ident, $value:literal, $default:literal, $help:literal;)+) => {
        /// Every key, in the order of the reference.
        pub(crate) const KEYS: &[Key] = &[$(Key {
            name: $name,
            given: $given,
            kind: Kind::$kind,
            value: $value,
            default: $default,
            help: $help,
        }),+];
    };
}

keys! {
    "cluster", Given::Flag("cluster"), Text, "NAME", "main",
        "Name of the cluster: letters, digits, `.`, `_` and `-`, at most 63";
    "name", Given::Flag("name"), Text, "NAME", "host name",
        "Name of this member, unique in the cluster: letters, digits, `.`, `_` and `-`, at most 40";
    "data_dir", Given::Flag("data-dir"), Text, "DIR", "/var/lib/pgha",
        "Directory of the sidecar: Raft store, run files and, unless set otherwise, PostgreSQL";
    "listen", Given::Flag("listen"), Text, "IP:PORT", "0.0.0.0:7400",
        "Where peers and `pgha-ctl` reach this sidecar (gRPC)";
    "advertise", Given::Flag("advertise"), Text, "HOST:PORT", "own entry in `peers`, else `listen`",
        "The same as seen by others; its host also serves the other ports, unless these have their own";
    "peers", Given::Flag("peers"), Peers, "NAME=HOST:PORT,...", "none: a cluster of one",
        "All members of a new cluster, this one included, in any order; the same set everywhere";
    "join", Given::Flag("join"), Text, "HOST:PORT", "none",
        "A member of the running cluster to join; not available in this version";
    "witness", Given::Flag("witness"), Switch, "BOOL", "false",
        "Vote without a PostgreSQL";
    "http.listen", Given::Flag("http-listen"), Text, "IP:PORT", "0.0.0.0:8008",
        "Health checks for load balancers, and metrics";
    "proxy.read_write", Given::Flag("proxy-rw"), Text, "IP:PORT", "0.0.0.0:5432",
        "The port for applications that always is the primary";
    "proxy.read_only", Given::Flag("proxy-ro"), Text, "IP:PORT", "port of `proxy.read_write` + 2000",
        "The port for applications that spreads reads over the replicas";
    "postgres.listen", Given::Flag("pg-listen"), Text, "IP:PORT", "0.0.0.0:5433",
        "Where PostgreSQL itself listens: replication, and the sidecar's proxy";
    "postgres.advertise", Given::Flag("pg-advertise"), Text, "HOST:PORT", "host of `advertise`, port of `postgres.listen`",
        "Where the other members reach this PostgreSQL";
    "postgres.direct", Given::Flag("pg-direct"), Switch, "BOOL", "false",
        "Admit logins from other hosts straight to PostgreSQL, past the gate";
    "postgres.data_dir", Given::Flag("pg-data-dir"), Text, "DIR", "`data_dir`/postgres",
        "PostgreSQL's data directory";
    "postgres.socket_dir", Given::Flag("pg-socket-dir"), Text, "DIR", "`data_dir`/run",
        "Directory of PostgreSQL's unix socket, where the sidecar's user is the superuser";
    "postgres.bin_dir", Given::Flag("pg-bin-dir"), Text, "DIR", "found",
        "Directory of the PostgreSQL programs";
    "postgres.superuser", Given::Flag("pg-superuser"), Text, "ROLE", "postgres",
        "The superuser that is made at the first initialisation";
    "postgres.superuser_password", Given::Variable("PGHA_PG_SUPERUSER_PASSWORD"), Secret, "PASSWORD", "drawn, written under `data_dir`",
        "Its password, set at the first initialisation";
    "postgres.superuser_password_file", Given::Flag("pg-superuser-password-file"), Text, "FILE", "none",
        "File that holds this password in its only line";
    "postgres.replication_user", Given::Flag("pg-replication-user"), Text, "ROLE", "pgha_replication",
        "The role that replicas stream as";
    "postgres.hba", Given::File, Lines, "LINES", "none",
        "Lines of your own for `pg_hba.conf`, after the generated ones that replication needs";
    "initial", Given::Flag("initial"), Pairs, "KEY=VALUE", "none",
        "A cluster-wide setting of a new cluster; ignored once the cluster exists";
    "agent_stall_ms", Given::Flag("agent-stall-ms"), Text, "MS", "3000",
        "The lease is not renewed once the sidecar's loop stood still for so long (500 to 60000)";
    "primary_hang_ms", Given::Flag("primary-hang-ms"), Text, "MS", "10000",
        "PostgreSQL counts as hung once its probe failed, or no new client was let in (which takes seven seconds to be seen), for so long (1000 to 600000)";
    "log_format", Given::Flag("log-format"), Text, "FORMAT", "human",
        "Log lines for people or for programs: human, json";
    "log_level", Given::Flag("log-level"), Text, "LEVEL", "info",
        "error, warn, info, debug or trace, or directives such as `info,pgha_raft=debug`";
}
