//! Through a proxy that notes what it is asked for.

use std::sync::Mutex;

use spillway_protocol::dial::Proxy;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// Connects to `port` of this machine, whatever it is asked for.
async fn start_proxy(port: u16) -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = listener.local_addr().unwrap().port();
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let noted = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(carry(stream, port, Arc::clone(&noted)));
        }
    });
    (own, asked)
}

async fn carry(stream: TcpStream, port: u16, noted: Arc<Mutex<Vec<String>>>) {
    let mut near = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        near.read_line(&mut head).await.unwrap();
    }
    noted.lock().unwrap().push(head);
    let mut far = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    near.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
}

#[tokio::test]
async fn all_goes_through_it_and_it_alone_hears_who_we_are() {
    let broker = start_broker().await;
    let (port, asked) = start_proxy(broker.address().port()).await;
    let mut settings = settings(0);
    // Only the proxy knows this name.
    settings.endpoints[0] = Endpoint { host: "mq.invalid".into(), port: 80, tls: false };
    settings.proxy = Some(Proxy::parse(&format!("http://gw:pw@127.0.0.1:{port}")).unwrap());
    let upstream = HttpUpstream::new(&settings, Arc::new(SystemClock)).unwrap();
    assert!(is_delivered(&upstream.send(&message("x")).await));
    assert!(is_delivered(&upstream.send(&message("x")).await));
    upstream.probe().await.unwrap();
    assert_eq!(upstream.addresses(), ["127.0.0.1".parse::<IpAddr>().unwrap()]);
    upstream.reconnect();
    assert!(is_delivered(&upstream.send(&message("x")).await));
    let asked = asked.lock().unwrap().clone();
    assert_eq!(asked.len(), 3, "one kept, one for the probe, one for the new way");
    let expected = "CONNECT mq.invalid:80 HTTP/1.1\r\nhost: mq.invalid:80\r\n\
                    proxy-authorization: Basic Z3c6cHc=\r\n\r\n";
    assert!(asked.iter().all(|head| head == expected), "{asked:?}");
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_named() {
    let mut settings = settings(0);
    settings.endpoints[0] = Endpoint { host: "mq.invalid".into(), port: 443, tls: false };
    settings.proxy = Some(Proxy::parse("http://127.0.0.1:9").unwrap());
    let upstream = HttpUpstream::new(&settings, Arc::new(SystemClock)).unwrap();
    let Outcome::LinkDown { reason } = upstream.send(&message("x")).await else { panic!() };
    let words = "mq.invalid:443 through the proxy 127.0.0.1:9: no way to the proxy: ";
    assert!(reason.starts_with(words), "{reason}");
    assert_eq!(upstream.probe().await.unwrap_err(), reason);
}
