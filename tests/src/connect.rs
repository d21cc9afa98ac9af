//! An HTTP proxy that knows names of its own, and notes what it is asked for by CONNECT.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// See the module. It ends when this is dropped.
#[derive(Debug)]
pub struct ConnectProxy {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl ConnectProxy {
    /// One that leads each of `names` (`host:port`) to a port of this machine, and to any other
    /// place as it is.
    pub async fn start(names: &[(&str, u16)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let to = |(name, port): &(&str, u16)| ((*name).to_owned(), format!("127.0.0.1:{port}"));
        let names: Arc<HashMap<String, String>> = Arc::new(names.iter().map(to).collect());
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let noted = Arc::clone(&asked);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(carry(stream, Arc::clone(&names), Arc::clone(&noted)));
            }
        });
        Self { port, asked, task }
    }

    /// What stands in `[upstream] proxy`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Whether it was ever asked for `place`.
    pub fn was_asked_for(&self, place: &str) -> bool {
        self.asked.lock().unwrap().iter().any(|asked| asked == place)
    }
}

impl Drop for ConnectProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Whoever hangs up ends it.
async fn carry(
    stream: TcpStream,
    names: Arc<HashMap<String, String>>,
    noted: Arc<Mutex<Vec<String>>>,
) -> Option<()> {
    let (mut near, mut head) = (BufReader::new(stream), String::new());
    while !head.ends_with("\r\n\r\n") {
        near.read_line(&mut head).await.ok().filter(|length| *length > 0)?;
    }
    let place = head.strip_prefix("CONNECT ")?.split(' ').next()?;
    noted.lock().unwrap().push(place.to_owned());
    let to = names.get(place).map_or(place, String::as_str);
    let mut far = TcpStream::connect(to).await.ok()?;
    near.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.ok()?;
    copy_bidirectional(&mut near, &mut far).await.ok().map(|_| ())
}
