//! The address of the store: a file, or a database that many hosts share.

use std::fmt::{self, Display};
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

use super::Env;
use super::error::ConfigError;
use super::origin::{Given, Layers, Source};

/// The durable store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreAddress {
    /// A SQLite file.
    File(PathBuf),
    /// A PostgreSQL database.
    Postgres(Box<PostgresAddress>),
}

/// The address of a PostgreSQL database. Its password is never shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresAddress {
    /// User, hosts, database, password, options.
    pub connection: tokio_postgres::Config,
    /// Whether TLS is used and the server's certificate is checked.
    pub tls: Tls,
    /// A PEM file of additional certificate authorities.
    pub root_certificates: Option<PathBuf>,
    /// The address without its password, for messages.
    shown: String,
}

/// `sslmode` of a database's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// No TLS.
    Disable,
    /// TLS if the server offers it. The certificate is not checked, because a server without TLS is accepted too.
    Prefer,
    /// TLS always. The certificate must be valid for the host.
    Require,
}

impl Display for StoreAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Postgres(address) => f.write_str(&address.shown),
        }
    }
}

impl Display for PostgresAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl StoreAddress {
    /// Reads the value of `--store`, `NOVA3_STORE` or `run.store`.
    pub fn read(given: &Path, source: &Source, env: Env<'_>) -> Result<Self, ConfigError> {
        let Some(url) = given.to_str().filter(|text| is_postgres(text)) else {
            return Ok(Self::File(path_of(given)?));
        };
        PostgresAddress::read(url, source, env).map(|address| Self::Postgres(Box::new(address)))
    }

    /// Returns the path if the store is a file.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Postgres(_) => None,
        }
    }
}

/// Returns the path of a SQLite store. Names with a special meaning for SQLite are refused: `:memory:`, because the
/// store would end with the process, and `file:` URIs with options or escapes. A plain `file:PATH` is the file at that
/// path.
fn path_of(given: &Path) -> Result<PathBuf, ConfigError> {
    let Some(text) = given.to_str() else {
        return Ok(given.to_path_buf());
    };
    let refused = |instead: &str| {
        let expected = format!("the path of a file, such as `{instead}`, or `postgres://user@host/database`");
        Err(ConfigError::value("run.store", text, expected))
    };
    if text.is_empty() || text == ":memory:" {
        return refused("nova3.db");
    }
    let Some(uri) = text.strip_prefix("file:") else {
        return Ok(given.to_path_buf());
    };
    let path = uri.split(['?', '#', '%']).next().unwrap_or_default();
    // Three slashes: no host, then an absolute path.
    let path = path.strip_prefix("//").unwrap_or(path);
    match path {
        "" => refused("nova3.db"),
        _ if path.len() < uri.trim_start_matches("//").len() => refused(path),
        _ if uri.starts_with("//") && !path.starts_with('/') => refused("nova3.db"),
        _ => Ok(PathBuf::from(path)),
    }
}

fn is_postgres(text: &str) -> bool {
    ["postgres://", "postgresql://"]
        .iter()
        .any(|scheme| text.starts_with(scheme))
}

impl PostgresAddress {
    fn read(url: &str, source: &Source, env: Env<'_>) -> Result<Self, ConfigError> {
        let (rest, tls, root_certificates) = without_tls(url)?;
        // The driver's errors do not contain the address, which may contain a password.
        let mut connection: tokio_postgres::Config =
            rest.parse().map_err(|error: tokio_postgres::Error| {
                let cause =
                    std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
                ConfigError::value(
                    "run.store",
                    "postgres://…",
                    format!("`postgres://user@host:5432/database` ({cause})"),
                )
            })?;
        if connection.get_password().is_some() && !matches!(source, Source::Env(_)) {
            return Err(ConfigError::value(
                "run.store",
                "postgres://…",
                format!(
                    "an address without a password, since {source} can be read by others (put the password in \
                     `PGPASSWORD` or a file named by `PGPASSFILE`, or the whole address in `NOVA3_STORE`)"
                ),
            ));
        }
        if connection.get_hosts().is_empty() {
            connection.host("localhost");
        }
        if connection.get_user().is_none() {
            let user = env("PGUSER").or_else(|| env("USER"));
            connection.user(user.as_deref().unwrap_or("nova3"));
        }
        if connection.get_dbname().is_none() {
            let user = connection.get_user().unwrap_or("nova3").to_owned();
            connection.dbname(user);
        }
        let shown = shown(&connection);
        if connection.get_password().is_none()
            && let Some(password) = password(&connection, env)?
        {
            connection.password(password.expose_secret());
        }
        connection.ssl_mode(match tls {
            Tls::Disable => tokio_postgres::config::SslMode::Disable,
            Tls::Prefer => tokio_postgres::config::SslMode::Prefer,
            Tls::Require => tokio_postgres::config::SslMode::Require,
        });
        Ok(Self {
            connection,
            tls,
            root_certificates,
            shown,
        })
    }
}

/// Splits the TLS options off an address, because the driver supports fewer of them than libpq
/// (<https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS>).
fn without_tls(url: &str) -> Result<(String, Tls, Option<PathBuf>), ConfigError> {
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let (mut tls, mut roots, mut rest) = (Tls::Prefer, None, Vec::new());
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("sslmode", mode)) => {
                tls = match mode {
                    "disable" => Tls::Disable,
                    "allow" | "prefer" => Tls::Prefer,
                    "require" | "verify-ca" | "verify-full" => Tls::Require,
                    _ => {
                        return Err(ConfigError::value(
                            "run.store: sslmode",
                            mode,
                            "`disable`, `prefer`, `require` or `verify-full`",
                        ));
                    }
                };
            }
            Some(("sslrootcert", path)) => {
                roots = Some(PathBuf::from(path.replace("%2F", "/").replace("%2f", "/")));
            }
            _ => rest.push(pair),
        }
    }
    let query = if rest.is_empty() {
        String::new()
    } else {
        format!("?{}", rest.join("&"))
    };
    Ok((format!("{base}{query}"), tls, roots))
}

fn hosts(connection: &tokio_postgres::Config) -> Vec<(String, u16)> {
    let ports = connection.get_ports();
    let port = |index: usize| ports.get(index).or(ports.first()).copied().unwrap_or(5432);
    let name = |host: &tokio_postgres::config::Host| match host {
        tokio_postgres::config::Host::Tcp(name) => name.clone(),
        tokio_postgres::config::Host::Unix(path) => path.display().to_string(),
    };
    let hosts = connection.get_hosts().iter().enumerate();
    hosts.map(|(index, host)| (name(host), port(index))).collect()
}

fn shown(connection: &tokio_postgres::Config) -> String {
    let hosts: Vec<String> = hosts(connection)
        .iter()
        .map(|(host, port)| format!("{host}:{port}"))
        .collect();
    format!(
        "postgres://{}@{}/{}",
        connection.get_user().unwrap_or_default(),
        hosts.join(","),
        connection.get_dbname().unwrap_or_default()
    )
}

/// Returns the password from `PGPASSWORD`, or from the file that `PGPASSFILE` names.
fn password(connection: &tokio_postgres::Config, env: Env<'_>) -> Result<Option<SecretString>, ConfigError> {
    if let Some(password) = env("PGPASSWORD") {
        return Ok(Some(SecretString::from(password)));
    }
    let Some(path) = env("PGPASSFILE").map(PathBuf::from) else {
        return Ok(None);
    };
    let text = std::fs::read_to_string(&path).map_err(|error| ConfigError::File {
        path,
        reason: error.to_string(),
    })?;
    let user = connection.get_user().unwrap_or_default();
    let database = connection.get_dbname().unwrap_or_default();
    let found = hosts(connection).into_iter().find_map(|(host, port)| {
        let wanted = [host, port.to_string(), database.to_owned(), user.to_owned()];
        text.lines().find_map(|line| of_line(line, &wanted))
    });
    Ok(found.map(SecretString::from))
}

/// Returns the password of a line `host:port:database:user:password` if its first four fields match. A field `*`
/// matches anything; a backslash escapes a `:` or a `\`
/// (<https://www.postgresql.org/docs/current/libpq-pgpass.html>).
fn of_line(line: &str, wanted: &[String; 4]) -> Option<String> {
    if line.starts_with('#') {
        return None;
    }
    let mut fields = vec![String::new()];
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            ':' if fields.len() < 5 => fields.push(String::new()),
            '\\' => fields.last_mut()?.extend(characters.next()),
            _ => fields.last_mut()?.push(character),
        }
    }
    let password = fields.get(4)?;
    let fits = |(field, wanted): (&String, &String)| field == "*" || field == wanted;
    fields.iter().zip(wanted).all(fits).then(|| password.clone())
}

/// Returns the store in force and records its source.
pub(super) fn resolve(
    flag: Option<&Given<PathBuf>>,
    file: Option<&PathBuf>,
    default: Option<&PathBuf>,
    env: Env<'_>,
    layers: &mut Layers,
) -> Result<StoreAddress, ConfigError> {
    let (value, source) = match (flag, file) {
        (Some(given), _) => (given.value.clone(), given.source.clone()),
        (None, Some(value)) => (value.clone(), layers.file_source()),
        (None, None) => (default.cloned().unwrap_or_default(), Source::Default),
    };
    let address = StoreAddress::read(&value, &source, env)?;
    layers.note("run.store", &address, source);
    Ok(address)
}

/// Returns the store in force, for commands that read it and need no route.
pub fn store_in_force(flags: &super::Flags, env: Env<'_>) -> Result<StoreAddress, ConfigError> {
    let file = super::find_file(flags, env)?;
    let written = match (&flags.store, &file) {
        (None, Some(file)) => super::read_file(file)?.run.store,
        _ => None,
    };
    let default = PathBuf::from(super::DEFAULT_STORE);
    let mut layers = Layers::new(file.as_deref());
    resolve(
        flags.store.as_ref(),
        written.as_ref(),
        Some(&default),
        env,
        &mut layers,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str, source: &Source, env: &[(&str, &str)]) -> Result<PostgresAddress, String> {
        let env = |name: &str| {
            let found = env.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        match StoreAddress::read(Path::new(url), source, &env) {
            Ok(StoreAddress::Postgres(address)) => Ok(*address),
            Ok(StoreAddress::File(path)) => Err(format!("a file {}", path.display())),
            Err(error) => Err(error.to_string()),
        }
    }

    const FLAG: Source = Source::Flag("--store");

    #[test]
    fn a_path_is_a_file() {
        assert_eq!(read("nova3.db", &FLAG, &[]).unwrap_err(), "a file nova3.db");
    }

    #[test]
    fn a_name_that_sqlite_reads_otherwise_is_no_path() {
        for (name, instead) in [
            (":memory:", "nova3.db"),
            ("", "nova3.db"),
            ("file:", "nova3.db"),
            ("file://host/s.db", "nova3.db"),
            ("file:a%20b.db", "a"),
            ("file:s.db?mode=memory&cache=shared", "s.db"),
            ("file:///var/s.db#x", "/var/s.db"),
        ] {
            let expected = format!(
                "`run.store` is `{name}`: expected the path of a file, such as `{instead}`, or \
                 `postgres://user@host/database`"
            );
            assert_eq!(read(name, &FLAG, &[]).unwrap_err(), expected);
        }
        for (uri, path) in [
            ("file:s.db", "s.db"),
            ("file:/var/s.db", "/var/s.db"),
            ("file:///var/s.db", "/var/s.db"),
        ] {
            assert_eq!(read(uri, &FLAG, &[]).unwrap_err(), format!("a file {path}"));
        }
        for path in ["./file:s.db", "a?b.db", "a%20b.db", "a#b.db", "memory", "files/x"] {
            assert_eq!(read(path, &FLAG, &[]).unwrap_err(), format!("a file {path}"));
        }
    }

    #[test]
    fn a_password_stands_nowhere_where_others_can_read_it() {
        let refused = read("postgres://u:geheim@h/d", &FLAG, &[]).unwrap_err();
        assert!(
            refused.contains("PGPASSWORD") && !refused.contains("geheim"),
            "{refused}"
        );
        let allowed = read(
            "postgres://u:geheim@h/d",
            &Source::Env("NOVA3_STORE".to_owned()),
            &[],
        )
        .unwrap();
        assert_eq!(allowed.connection.get_password(), Some(&b"geheim"[..]));
        assert_eq!(allowed.to_string(), "postgres://u@h:5432/d");
        assert!(!format!("{allowed:?}").contains("geheim"));
        let broken = read("postgres://u:geheim@h:port/d", &FLAG, &[]).unwrap_err();
        assert!(!broken.contains("geheim"), "{broken}");
    }

    #[test]
    fn a_password_comes_from_the_environment_or_the_file_it_names() {
        let from_env = read("postgres://u@h/d", &FLAG, &[("PGPASSWORD", "a")]).unwrap();
        assert_eq!(from_env.connection.get_password(), Some(&b"a"[..]));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "# all\nother:*:*:*:x\nh:5433:d:*:b\\:c\n").unwrap();
        let path = file.path().to_str().unwrap();
        let from_file = |url: &str| read(url, &FLAG, &[("PGPASSFILE", path)]).unwrap().connection;
        assert_eq!(
            from_file("postgres://u@h:5433/d").get_password(),
            Some(&b"b:c"[..])
        );
        assert_eq!(from_file("postgres://u@h:5432/d").get_password(), None);
    }

    #[test]
    fn what_is_not_said_has_a_default() {
        let address = read("postgres://", &FLAG, &[("USER", "me")]).unwrap();
        assert_eq!(address.to_string(), "postgres://me@localhost:5432/me");
        assert_eq!(address.tls, Tls::Prefer);
    }

    #[test]
    fn a_certificate_is_asked_for_by_libpqs_names() {
        let url = "postgresql://u@h/d?sslmode=verify-full&application_name=x&sslrootcert=%2Fca.pem";
        let address = read(url, &FLAG, &[]).unwrap();
        assert_eq!(address.tls, Tls::Require);
        assert_eq!(address.root_certificates.as_deref(), Some(Path::new("/ca.pem")));
        assert_eq!(address.connection.get_application_name(), Some("x"));
        let unknown = read("postgres://h/d?sslmode=maybe", &FLAG, &[]).unwrap_err();
        assert!(
            unknown.contains("maybe") && unknown.contains("verify-full"),
            "{unknown}"
        );
    }
}
