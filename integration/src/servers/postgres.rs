//! PostgreSQL.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio_postgres::{Client, Config, NoTls};

use super::directory::{RunDirectory, copy_of_pattern};
use super::discovery::{Found, Kind, postgres_places};
use super::{User, find_program, names, spawn_for_life};
use crate::harness::until;

/// The role that may do everything on a server of our own.
const ADMIN: &str = "admin";
/// The role that the service has there: nothing but its own databases.
const ROLE: &str = "gamemaster";
/// The most connections; tests of a pool want many.
const MAX_CONNECTIONS: u32 = 200;
/// How often a start is tried: a free port may be taken by the time the server wants it.
const STARTS: usize = 5;

/// What is lost when the machine goes down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Everything: for tests of anything else, which it makes fast.
    None,
    /// Nothing: the server's own defaults.
    Full,
}

/// A server, and the ways to trouble it.
pub struct PostgresServer {
    /// `postgresql://…@host:port`, of the role that makes databases.
    admin: Config,
    /// Of the service's role; the same where the server is not our own.
    role: String,
    own: Option<Own>,
}

/// A server of our own.
struct Own {
    program: PathBuf,
    user: User,
    durability: Durability,
    port: u16,
    child: Mutex<Option<Child>>,
    directory: RunDirectory,
}

impl PostgresServer {
    /// The server of this process, for every test that does not trouble it.
    ///
    /// # Panics
    /// Where there is none.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<PostgresServer> = OnceCell::const_new();
        SHARED.get_or_init(Self::find).await
    }

    #[expect(clippy::panic, reason = "a test cannot go on without it")]
    async fn find() -> Self {
        match Kind::Postgres.find().await {
            Ok(Found::Shared(url)) => {
                let server = Self::named(&url);
                server.sweep().await;
                server
            }
            Ok(Found::Installed(_)) => Self::start(Durability::None).await,
            Err(missing) => panic!("{missing}"),
        }
    }

    /// Removes the databases that processes which are gone have left on a server that outlives
    /// them.
    ///
    /// # Panics
    /// Where the server does not let us.
    #[expect(clippy::expect_used, reason = "a test cannot go on without it")]
    pub async fn sweep(&self) {
        let admin = self.admin("postgres").await.expect("the server answers");
        let rows = admin.query("SELECT datname::text FROM pg_database", &[]).await;
        let all = rows.expect("the databases").into_iter().map(|row| row.get::<_, String>(0));
        for name in all.filter(|name| names::is_left_behind(name)) {
            // Somebody else may be at it.
            let drop = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
            admin.batch_execute(&drop).await.expect("an old database goes");
        }
    }

    /// Starts a server that nobody else uses.
    ///
    /// # Panics
    /// Where none is installed or none starts.
    #[expect(clippy::panic, reason = "a test cannot go on without it")]
    pub async fn start(durability: Durability) -> Self {
        let mut last = io::Error::other("it was not tried");
        for _ in 0..STARTS {
            match Self::try_start(durability).await {
                Ok(server) => return server,
                Err(error) => last = error,
            }
        }
        panic!("{last}")
    }

    /// A server that somebody else runs, by the URL of a role that may create databases.
    ///
    /// # Panics
    /// Where it is no URL.
    #[expect(clippy::panic, reason = "a test cannot go on without it")]
    pub fn named(url: &str) -> Self {
        let Ok(mut admin) = url.parse::<Config>() else {
            panic!("{} is no URL", Kind::Postgres.variable())
        };
        admin.connect_timeout(Duration::from_secs(5));
        let role = admin.get_user().unwrap_or("postgres").to_owned();
        Self { admin, role, own: None }
    }

    async fn try_start(durability: Durability) -> io::Result<Self> {
        let user = User::unprivileged()?;
        let program = Kind::Postgres.installed().map_err(io::Error::other)?;
        let directory = RunDirectory::new(user, "postgres")?;
        let data = directory.path().join("data");
        copy_of_pattern(user, "postgres-pattern-1", &data, |pattern| init(user, pattern))?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let own = Own { program, user, durability, port, child: Mutex::default(), directory };
        own.run()?;
        let mut admin = Config::new();
        admin.host("127.0.0.1").port(port).user(ADMIN).dbname("postgres");
        admin.connect_timeout(Duration::from_secs(5));
        let server = Self { admin, role: ROLE.into(), own: Some(own) };
        server.answers().await?;
        let create = format!("CREATE ROLE {ROLE} LOGIN");
        server
            .admin("postgres")
            .await
            .map_err(io::Error::other)?
            .batch_execute(&create)
            .await
            .map_err(io::Error::other)?;
        Ok(server)
    }

    /// Waits until it takes connections.
    async fn answers(&self) -> io::Result<()> {
        until("PostgreSQL takes connections", || async {
            if self.admin("postgres").await.is_ok() {
                return Some(Ok(()));
            }
            let ended = self.own.as_ref().is_some_and(Own::has_ended);
            ended.then(|| Err(io::Error::other(self.log())))
        })
        .await
    }

    /// What a server of our own has written.
    pub fn log(&self) -> String {
        let own = self.own.as_ref();
        let file = own.map(|own| own.directory.path().join("log"));
        file.and_then(|file| std::fs::read_to_string(file).ok()).unwrap_or_default()
    }

    /// A connection of the role that may do everything.
    pub async fn admin(&self, database: &str) -> Result<Client, tokio_postgres::Error> {
        let mut config = self.admin.clone();
        let (client, connection) = config.dbname(database).connect(NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// A database with nothing in it: its name, and the URL by which the service's role gets there.
    pub async fn database(&self) -> (String, String) {
        self.database_like("template0").await
    }

    /// A copy of a database that nobody is connected to.
    ///
    /// # Panics
    /// Where it cannot be made.
    #[expect(clippy::expect_used, reason = "a test cannot go on without it")]
    pub async fn database_like(&self, pattern: &str) -> (String, String) {
        let name = names::fresh();
        let admin = self.admin("postgres").await.expect("the server answers");
        let role = &self.role;
        let create =
            format!("CREATE DATABASE {name} OWNER {role} TEMPLATE {pattern} STRATEGY file_copy");
        admin.batch_execute(&create).await.expect("a database is made");
        let url = self.url(&name);
        (name, url)
    }

    /// The URL of a database.
    pub fn url(&self, database: &str) -> String {
        let host = self.admin.get_hosts().iter().find_map(|host| match host {
            tokio_postgres::config::Host::Tcp(host) => Some(host.as_str()),
            tokio_postgres::config::Host::Unix(_) => None,
        });
        let (host, port) = (host.unwrap_or("127.0.0.1"), self.admin.get_ports().first());
        let password = self.admin.get_password().map(String::from_utf8_lossy);
        let password = password.filter(|_| self.own.is_none());
        let password = password.map(|p| format!(":{p}")).unwrap_or_default();
        let role = &self.role;
        format!("postgresql://{role}{password}@{host}:{}/{database}", port.unwrap_or(&5432))
    }

    /// Lets the service's role in with this password only, from now on.
    ///
    /// # Panics
    /// Where it cannot be told, or is not our own.
    #[expect(clippy::expect_used, reason = "a test cannot go on without it")]
    pub async fn demand_password(&self, password: &str) {
        let own = self.own.as_ref().expect("a server of our own");
        let rules = format!(
            "host all {ADMIN} 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
        );
        std::fs::write(own.directory.path().join("data/pg_hba.conf"), rules).expect("a file");
        let admin = self.admin("postgres").await.expect("the server answers");
        let change = format!("ALTER ROLE {ROLE} PASSWORD '{password}'; SELECT pg_reload_conf()");
        admin.batch_execute(&change).await.expect("it is told");
        let mut config = self.admin.clone();
        config.user(ROLE).dbname("postgres");
        until("the server asks for a password", || async {
            config.connect(NoTls).await.is_err().then_some(())
        })
        .await;
    }

    /// Stops a server of our own at once: it leaves its work as it is, and tells who is connected.
    ///
    /// # Panics
    /// Where it does not end, or is not our own.
    #[expect(clippy::expect_used, reason = "a test cannot go on without it")]
    pub fn stop(&self) {
        let own = self.own.as_ref().expect("a server of our own");
        own.end("-QUIT").expect("it ends");
    }

    /// Kills the first process of a server of our own, which takes the others with it.
    ///
    /// # Panics
    /// Where it does not end, or is not our own.
    #[expect(clippy::expect_used, reason = "a test cannot go on without it")]
    pub fn kill(&self) {
        let own = self.own.as_ref().expect("a server of our own");
        own.end("-KILL").expect("it ends");
    }

    /// Starts it again where it was.
    ///
    /// # Panics
    /// Where it does not start, or is not our own.
    #[expect(clippy::expect_used, reason = "a test cannot go on without it")]
    pub async fn restart(&self) {
        let own = self.own.as_ref().expect("a server of our own");
        // After a kill it does not start while a process of before is left.
        until("PostgreSQL to start again", || async {
            own.run().expect("it starts");
            self.answers().await.ok()
        })
        .await;
    }

    /// Makes a replica of it, which waits for a primary that never comes.
    ///
    /// # Panics
    /// Where it does not start, or is not our own.
    #[expect(clippy::expect_used, reason = "a test cannot go on without it")]
    pub async fn become_standby(&self) {
        let own = self.own.as_ref().expect("a server of our own");
        own.end("-INT").expect("it ends");
        std::fs::write(own.directory.path().join("data/standby.signal"), "").expect("a file");
        self.restart().await;
    }
}

impl Own {
    fn run(&self) -> io::Result<()> {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.directory.path().join("log"))?;
        // SIGQUIT: it leaves at once, and takes its shared memory with it.
        let mut command = self.user.bound_command(&self.program, "QUIT");
        command.arg("-D").arg(self.directory.path().join("data"));
        for setting in [
            "listen_addresses=127.0.0.1".into(),
            format!("port={}", self.port),
            "unix_socket_directories=".into(),
            format!("max_connections={MAX_CONNECTIONS}"),
            "shared_buffers=64MB".into(),
        ] {
            command.arg("-c").arg(setting);
        }
        // After a crash all files are synchronised one by one where not told otherwise: seconds.
        command.args(["-c", "recovery_init_sync_method=syncfs"]);
        if self.durability == Durability::None {
            for setting in [
                "fsync=off",
                "synchronous_commit=off",
                "full_page_writes=off",
                "wal_level=minimal",
                "max_wal_senders=0",
                "autovacuum=off",
            ] {
                command.args(["-c", setting]);
            }
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = spawn_for_life(command)?;
        *self.child.lock().unwrap_or_else(PoisonError::into_inner) = Some(child);
        Ok(())
    }

    fn has_ended(&self) -> bool {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        child.as_mut().is_none_or(|child| !matches!(child.try_wait(), Ok(None)))
    }

    /// Sends a signal and waits for the end.
    fn end(&self, signal: &str) -> io::Result<()> {
        let child = self.child.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut child) = child else { return Ok(()) };
        Command::new("kill").args([signal, &child.id().to_string()]).status()?;
        child.wait().map(drop)
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let _ = self.end("-QUIT");
    }
}

fn initdb() -> io::Result<PathBuf> {
    find_program("initdb", &postgres_places())
        .ok_or_else(|| io::Error::other("PostgreSQL is installed without its initdb"))
}

/// Makes the directory that all servers are copies of. Its locale sorts unlike bytes do, where the
/// system has such a one.
fn init(user: User, pattern: &Path) -> io::Result<()> {
    let made = user
        .command(&initdb()?)
        .arg("-D")
        .arg(pattern)
        .args(["-U", ADMIN, "-A", "trust", "-E", "UTF8", "--locale-provider=icu"])
        .args(["--icu-locale=en", "--locale=C.UTF-8", "--no-sync", "--wal-segsize=1"])
        .stdin(Stdio::null())
        .output()?;
    if made.status.success() {
        return Ok(());
    }
    Err(io::Error::other(String::from_utf8_lossy(&made.stderr).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As tests leave it that are killed.
    #[tokio::test]
    async fn what_dead_processes_left_on_a_named_server_goes_and_nothing_else() {
        let own = PostgresServer::start(Durability::None).await;
        let port = own.admin.get_ports().first().copied().expect("a port");
        let named =
            PostgresServer::named(&format!("postgresql://{ADMIN}@127.0.0.1:{port}/postgres"));
        let (ours, _) = named.database().await;
        let dead = format!("{}4294967295_0_0", names::prefix());
        let admin = named.admin("postgres").await.expect("a connection");
        for name in [dead.as_str(), "precious"] {
            admin.batch_execute(&format!("CREATE DATABASE {name}")).await.expect("made");
        }
        let databases = || async {
            let rows = admin.query("SELECT datname::text FROM pg_database", &[]).await;
            let rows = rows.expect("databases").into_iter();
            rows.map(|row| row.get::<_, String>(0)).collect::<Vec<_>>()
        };
        assert!(databases().await.contains(&dead));
        named.sweep().await;
        let left = databases().await;
        assert!(!left.contains(&dead), "{left:?}");
        assert!(left.contains(&ours) && left.contains(&"precious".to_owned()), "{left:?}");
    }

    #[test]
    #[should_panic(expected = "a server of our own")]
    fn a_named_server_is_never_stopped() {
        PostgresServer::named("postgresql://somebody@127.0.0.1:9/postgres").stop();
    }

    #[test]
    #[should_panic(expected = "a server of our own")]
    fn a_named_server_is_never_killed() {
        PostgresServer::named("postgresql://somebody@127.0.0.1:9/postgres").kill();
    }
}
