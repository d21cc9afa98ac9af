//! Where the database is: the environment variables that users of PolarDB know.
//!
//! | variable | meaning |
//! |---|---|
//! | `POLARDB_ENDPOINT` | `host` or `host:port` (3306 without) |
//! | `POLARDB_USER`, `POLARDB_PASSWORD` | who asks |
//! | `POLARDB_DATABASE` | the database; `central` without |
//! | `POLARDB_POOL` | most connections; 10 without |
//! | `POLARDB_TLS` | `off` (default), `on`, or a PEM file of the authority to trust |

use std::path::PathBuf;

use mysql_async::{Opts, OptsBuilder, PoolConstraints, PoolOpts, SslOpts};

const PORT: u16 = 3306;
const DATABASE: &str = "central";
const POOL: usize = 10;
/// One session of every statement; see [`crate::database`].
const SESSION: &str = "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,\
                       ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION', \
                       SESSION innodb_lock_wait_timeout = 10, SESSION time_zone = '+00:00'";
const ISOLATION: &str = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED";
/// A batch has up to this many lengths, and each is a statement of its own.
const STATEMENTS: usize = 256;

/// See the module. Its `Debug` shows no password.
#[derive(Clone)]
pub struct Settings {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// User.
    pub user: String,
    /// Password.
    pub password: String,
    /// Database.
    pub database: String,
    /// Most connections.
    pub pool: usize,
    /// Encryption of the connections.
    pub tls: Tls,
}

/// Encryption of the connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tls {
    /// None.
    Off,
    /// Trusting the authorities that browsers trust.
    On,
    /// Trusting only the authority in this PEM file.
    Authority(PathBuf),
}

/// A setting is missing or has no meaning.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Missing.
    #[error("{0} is not set; it names {1}")]
    Missing(&'static str, &'static str),
    /// Not what it should be.
    #[error("{name} is {value:?}; it has to be {expected}")]
    Invalid {
        /// The variable.
        name: &'static str,
        /// What it says.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}:{}/{}", self.user, self.host, self.port, self.database)
    }
}

impl Settings {
    /// Reads the variables; `variable` answers one of them.
    ///
    /// # Errors
    /// The first that is missing or wrong.
    pub fn read(variable: impl Fn(&'static str) -> Option<String>) -> Result<Self, SettingsError> {
        let set = |name| variable(name).filter(|value| !value.is_empty());
        let missing = SettingsError::Missing;
        let endpoint = set("POLARDB_ENDPOINT")
            .ok_or(missing("POLARDB_ENDPOINT", "the database server, as host or host:port"))?;
        let (host, port) = endpoint_parts(&endpoint)?;
        Ok(Self {
            host,
            port,
            user: set("POLARDB_USER").ok_or(missing("POLARDB_USER", "the database user"))?,
            password: set("POLARDB_PASSWORD").unwrap_or_default(),
            database: set("POLARDB_DATABASE").unwrap_or_else(|| DATABASE.to_owned()),
            pool: set("POLARDB_POOL").map_or(Ok(POOL), |text| pool(&text))?,
            tls: match set("POLARDB_TLS").as_deref() {
                None | Some("off") => Tls::Off,
                Some("on") => Tls::On,
                Some(file) => Tls::Authority(file.into()),
            },
        })
    }

    /// From this process's environment.
    ///
    /// # Errors
    /// As [`Settings::read`].
    pub fn from_env() -> Result<Self, SettingsError> {
        Self::read(|name| std::env::var(name).ok())
    }

    /// As the driver takes them.
    pub(crate) fn options(&self) -> Opts {
        let tls = match &self.tls {
            Tls::Off => None,
            Tls::On => Some(SslOpts::default()),
            Tls::Authority(file) => Some(
                SslOpts::default()
                    .with_root_certs(vec![file.clone().into()])
                    .with_disable_built_in_roots(true),
            ),
        };
        let bounds = PoolConstraints::new(0, self.pool).unwrap_or_default();
        let builder = OptsBuilder::default()
            .ip_or_hostname(&self.host)
            .tcp_port(self.port)
            .user(Some(&self.user))
            .pass(Some(&self.password))
            .db_name(Some(&self.database))
            .prefer_socket(false)
            .stmt_cache_size(STATEMENTS)
            // A duplicate of an identity that changes nothing counts as no row.
            .client_found_rows(false)
            .ssl_opts(tls)
            .setup(vec![SESSION, ISOLATION])
            .pool_opts(PoolOpts::default().with_constraints(bounds));
        builder.into()
    }
}

fn endpoint_parts(endpoint: &str) -> Result<(String, u16), SettingsError> {
    let invalid = || SettingsError::Invalid {
        name: "POLARDB_ENDPOINT",
        value: endpoint.to_owned(),
        expected: "host or host:port",
    };
    let (host, port) = match endpoint.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().map_err(|_| invalid())?),
        None => (endpoint, PORT),
    };
    if host.is_empty() || host.contains('/') {
        return Err(invalid());
    }
    Ok((host.to_owned(), port))
}

fn pool(text: &str) -> Result<usize, SettingsError> {
    let number = text.parse().ok().filter(|number| (1..=1000).contains(number));
    number.ok_or_else(|| SettingsError::Invalid {
        name: "POLARDB_POOL",
        value: text.to_owned(),
        expected: "a number of connections from 1 to 1000",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&'static str, &str)]) -> Result<Settings, SettingsError> {
        let find = |name| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        Settings::read(find)
    }

    #[test]
    fn an_endpoint_and_a_user_are_enough() {
        let settings = read(&[("POLARDB_ENDPOINT", "db"), ("POLARDB_USER", "his")]).unwrap();
        assert_eq!(format!("{settings:?}"), "his@db:3306/central");
        assert_eq!((settings.pool, settings.tls), (10, Tls::Off));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let none = read(&[]).unwrap_err().to_string();
        assert!(none.contains("POLARDB_ENDPOINT"), "{none}");
        for endpoint in ["db:high", ":3306", "mysql://db:3306"] {
            let pairs = [("POLARDB_ENDPOINT", endpoint), ("POLARDB_USER", "his")];
            assert!(read(&pairs).unwrap_err().to_string().contains(endpoint));
        }
        let pairs = [("POLARDB_ENDPOINT", "db"), ("POLARDB_USER", "u"), ("POLARDB_POOL", "0")];
        assert!(read(&pairs).unwrap_err().to_string().contains("POLARDB_POOL"));
    }

    #[test]
    fn the_password_is_never_shown() {
        let pairs =
            [("POLARDB_ENDPOINT", "db"), ("POLARDB_USER", "u"), ("POLARDB_PASSWORD", "hush")];
        assert!(!format!("{:?}", read(&pairs).unwrap()).contains("hush"));
    }
}
