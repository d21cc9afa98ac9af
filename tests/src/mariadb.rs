//! A real MariaDB in a folder of its own: `mariadbd` of Debian's `mariadb-server-core`, which
//! `tests/run` installs. No service is needed, nor root.
//!
//! It is durable as by default: what it committed is there after [`MariaDb::kill`]. Starting and
//! ending block the thread.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};

use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Conn, Opts, OptsBuilder};
use tempfile::TempDir;

use crate::port;
use crate::server::Server;

/// The database.
pub const DATABASE: &str = "central";
/// A user who may do everything there.
pub const USER: &str = "centre";
/// The user's password.
pub const PASSWORD: &str = "test/secret+";

/// What `mariadb-install-db` feeds to a new server; that script is not in the package.
const SCRIPTS: [&str; 3] =
    ["mysql_system_tables.sql", "mysql_performance_tables.sql", "mysql_system_tables_data.sql"];

/// See the module. It is killed when this is dropped.
#[derive(Debug)]
pub struct MariaDb {
    dir: TempDir,
    port: u16,
    running: Option<Server>,
}

impl MariaDb {
    /// A running server with an empty database [`DATABASE`].
    pub fn start() -> Self {
        let dir = tempfile::Builder::new().prefix("mariadb-").tempdir().unwrap();
        install(dir.path());
        let mut server = Self { dir, port: port::free(), running: None };
        server.restart();
        server
    }

    /// Starts it again after its end, with the same port and data.
    pub fn restart(&mut self) {
        let dir = self.dir.path();
        let mut arguments = common(dir);
        arguments.extend([
            format!("--socket={}", dir.join("socket").display()),
            format!("--pid-file={}", dir.join("pid").display()),
            format!("--port={}", self.port),
            "--bind-address=127.0.0.1".to_owned(),
            "--skip-name-resolve".to_owned(),
        ]);
        self.running = Some(Server::start(dir, "mariadbd", "mariadbd", &arguments, self.port));
    }

    /// Kills it (SIGKILL).
    pub fn kill(&mut self) {
        self.running.take().expect("MariaDB does not run").end("KILL");
    }

    /// Stops it as an operator does; returns when it has ended.
    pub fn stop(&mut self) {
        self.running.take().expect("MariaDB does not run").end("TERM");
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How the examples find it.
    pub fn environment(&self) -> [(&'static str, String); 4] {
        [
            ("POLARDB_ENDPOINT", format!("127.0.0.1:{}", self.port)),
            ("POLARDB_USER", USER.to_owned()),
            ("POLARDB_PASSWORD", PASSWORD.to_owned()),
            ("POLARDB_DATABASE", DATABASE.to_owned()),
        ]
    }

    /// A connection; the server has to run.
    pub async fn connect(&self) -> Conn {
        self.try_connect().await.expect("MariaDB cannot be reached")
    }

    async fn try_connect(&self) -> mysql_async::Result<Conn> {
        let options = OptsBuilder::default()
            .ip_or_hostname("127.0.0.1")
            .tcp_port(self.port)
            .user(Some(USER))
            .pass(Some(PASSWORD))
            .db_name(Some(DATABASE))
            .prefer_socket(false);
        Conn::new(Opts::from(options)).await
    }

    /// The one number that a query answers; none if the server is away or the table not there yet.
    pub async fn try_count(&self, query: &str) -> Option<u64> {
        let mut connection = self.try_connect().await.ok()?;
        connection.query_first(query).await.ok()?
    }

    /// The rows of a query.
    pub async fn rows<T: FromRow + Send + 'static>(&self, query: &str) -> Vec<T> {
        let mut connection = self.connect().await;
        let rows = connection.query(query).await;
        rows.unwrap_or_else(|error| panic!("{query}: {error}"))
    }

    /// The one number that a query answers.
    pub async fn count(&self, query: &str) -> u64 {
        self.rows::<u64>(query).await[0]
    }

    /// Runs statements that answer nothing.
    pub async fn run(&self, statements: &[&str]) {
        let mut connection = self.connect().await;
        for statement in statements {
            let done = connection.query_drop(*statement).await;
            done.unwrap_or_else(|error| panic!("{statement}: {error}"));
        }
    }
}

impl Drop for MariaDb {
    /// Keeps the data and the log of a test that failed.
    fn drop(&mut self) {
        self.running = None;
        if std::thread::panicking() {
            eprintln!("MariaDB's log and data are in {}", self.dir.path().display());
            self.dir.disable_cleanup(true);
        }
    }
}

/// Makes the data folder.
fn install(dir: &Path) {
    let data = dir.join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::create_dir(dir.join("tmp")).unwrap();
    let log = File::create(dir.join("install.log")).unwrap();
    let mut server = Command::new("mariadbd")
        .args(common(dir))
        .args(["--bootstrap", "--enforce-storage-engine="])
        .stdin(Stdio::piped())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .expect("mariadbd has to be installed; tests/run does");
    server.stdin.take().unwrap().write_all(first_statements().as_bytes()).unwrap();
    let ended = server.wait().unwrap();
    let log = std::fs::read_to_string(dir.join("install.log"));
    assert!(ended.success(), "MariaDB's tables cannot be made: {log:?}");
}

/// A statement a line, as the bootstrap reads them.
fn first_statements() -> String {
    let folder = ["/usr/share/mysql", "/usr/share/mariadb"].map(Path::new);
    let found = folder.into_iter().find(|folder| folder.join(SCRIPTS[0]).exists());
    let folder = found.expect("MariaDB's scripts lie somewhere else");
    let script = |name| std::fs::read_to_string(folder.join(name)).unwrap();
    let head = "create database mysql;\nuse mysql;\nset @auth_root_socket=NULL;\n\
                set @skip_auth_anonymous=1;\n";
    let tail = format!(
        "flush privileges;\ncreate database {DATABASE} character set utf8mb4;\n\
         create user '{USER}'@'%' identified by '{PASSWORD}';\n\
         grant all on *.* to '{USER}'@'%';\n"
    );
    format!("{head}{}{tail}", SCRIPTS.map(script).concat())
}

/// What both the first and every later start need.
fn common(dir: &Path) -> Vec<String> {
    let mut arguments = vec![
        // Has to come first: nothing of the machine's own configuration.
        "--no-defaults".to_owned(),
        format!("--datadir={}", dir.join("data").display()),
        // A server that starts clears this folder, whosever files they are.
        format!("--tmpdir={}", dir.join("tmp").display()),
        "--innodb-log-file-size=16M".to_owned(),
        "--innodb-buffer-pool-size=64M".to_owned(),
    ];
    // Root has to say that it means it; for others the option is an error.
    if std::fs::metadata("/proc/self").unwrap().uid() == 0 {
        arguments.push("--user=root".to_owned());
    }
    arguments
}
