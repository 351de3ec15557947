//! Which server a test gets. The one place that decides, in this order:
//!
//! 1. the URL in the environment, of a server that somebody else runs;
//! 2. a container, where built with the feature `docker` and a Docker engine answers;
//! 3. a program that is installed, started privately.
//!
//! Servers of the first two kinds are for tests that want a server and do not trouble it. They are
//! shared with whoever else uses them: tests keep to names of their own ([`super::names`]). Tests
//! that stop, kill or pause a server start a private one of the third kind, whatever there is.

use std::path::PathBuf;

use super::find_program;

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Postgres,
    Redis,
}

/// What there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A server that others use too, by its URL.
    Shared(String),
    /// A program to start one.
    Installed(PathBuf),
}

/// There is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no {name}: install {packages}, or name a server in {variable} (as {url}){docker}",
    name = .kind.name(),
    packages = .kind.packages(),
    variable = .kind.variable(),
    url = .kind.url(),
    docker = .docker,
)]
pub(crate) struct Missing {
    kind: Kind,
    /// Why there is no container, where one was looked for.
    docker: String,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Postgres => "PostgreSQL",
            Self::Redis => "Redis",
        }
    }

    /// Names a server to be used.
    pub(crate) fn variable(self) -> &'static str {
        match self {
            Self::Postgres => "GAMEMASTER_TEST_POSTGRES_URL",
            Self::Redis => "GAMEMASTER_TEST_REDIS_URL",
        }
    }

    fn url(self) -> &'static str {
        match self {
            Self::Postgres => {
                "postgresql://role:password@host:port/postgres, of a role that may create databases"
            }
            Self::Redis => "redis://[:password@]host:port[/db]",
        }
    }

    fn packages(self) -> &'static str {
        match self {
            Self::Postgres => "the Debian package `postgresql` (or `postgresql-15`)",
            Self::Redis => "the Debian package `redis-server`",
        }
    }

    /// The program, where it is installed.
    pub(crate) fn installed(self) -> Result<PathBuf, Missing> {
        let found = match self {
            Self::Postgres => find_program("postgres", &postgres_places()),
            Self::Redis => find_program("redis-server", &[]),
        };
        found.ok_or(Missing { kind: self, docker: String::new() })
    }

    /// What tests are to use.
    pub(crate) async fn find(self) -> Result<Found, Missing> {
        let named = std::env::var(self.variable()).ok();
        self.choose(named, || super::docker::url(self), self.installed()).await
    }

    async fn choose<F: Future<Output = Option<Result<String, String>>>>(
        self,
        named: Option<String>,
        container: impl FnOnce() -> F,
        installed: Result<PathBuf, Missing>,
    ) -> Result<Found, Missing> {
        if let Some(url) = named.filter(|url| !url.is_empty()) {
            return Ok(Found::Shared(url));
        }
        let why = match container().await {
            Some(Ok(url)) => return Ok(Found::Shared(url)),
            Some(Err(why)) => format!("; nor does Docker give one: {why}"),
            None => String::new(),
        };
        installed.map(Found::Installed).map_err(|missing| Missing { docker: why, ..missing })
    }
}

/// Where Debian has it, the newest first.
pub(super) fn postgres_places() -> Vec<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut places: Vec<PathBuf> = versions.map(|entry| entry.path().join("bin")).collect();
    places.sort();
    places.reverse();
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn chosen(
        named: Option<&str>,
        container: Option<Result<String, String>>,
        is_installed: bool,
    ) -> Result<Found, String> {
        let installed = if is_installed {
            Ok(PathBuf::from("/bin/server"))
        } else {
            Err(Missing { kind: Kind::Postgres, docker: String::new() })
        };
        let container = || std::future::ready(container);
        let found = Kind::Postgres.choose(named.map(str::to_owned), container, installed).await;
        found.map_err(|missing| missing.to_string())
    }

    #[tokio::test]
    async fn a_url_goes_before_a_container_and_that_before_a_program() {
        let shared = |url: &str| Ok(Found::Shared(url.into()));
        let container = || Some(Ok("container".to_owned()));
        assert_eq!(chosen(Some("url"), container(), true).await, shared("url"));
        assert_eq!(chosen(Some(""), container(), true).await, shared("container"));
        assert_eq!(chosen(None, container(), false).await, shared("container"));
        let program = Ok(Found::Installed("/bin/server".into()));
        assert_eq!(chosen(None, None, true).await, program);
        assert_eq!(chosen(None, Some(Err("no engine".into())), true).await, program);
    }

    #[tokio::test]
    async fn where_there_is_none_it_says_what_to_do() {
        let said = chosen(None, Some(Err("no engine".into())), false).await.expect_err("none");
        for part in ["PostgreSQL", "`postgresql`", "GAMEMASTER_TEST_POSTGRES_URL", "no engine"] {
            assert!(said.contains(part), "{said}");
        }
        let redis = Missing { kind: Kind::Redis, docker: String::new() }.to_string();
        assert!(redis.contains("`redis-server`"), "{redis}");
        assert!(redis.contains("GAMEMASTER_TEST_REDIS_URL"), "{redis}");
    }
}
