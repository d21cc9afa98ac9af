//! The way through an HTTP proxy: CONNECT, then bytes as if there were none.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::Endpoint;
use super::endpoint::other_scheme;

/// An answer's head that is longer is no answer to CONNECT.
const HEAD_MAX_BYTES: usize = 8 * 1024;
/// Longest piece of the proxy's words that goes into a reason.
const WORDS_MAX: usize = 100;

/// An HTTP proxy, spoken to in plaintext.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    endpoint: Endpoint,
    user: Option<(String, String)>,
}

/// Without the password.
impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = self.user.as_ref().map(|(user, _)| user);
        f.debug_struct("Proxy").field("endpoint", &self.endpoint).field("user", &user).finish()
    }
}

impl Proxy {
    /// Reads `http://host:port` or `http://user:password@host:port`, in which `%40` and the like
    /// stand for characters that an address cannot hold.
    ///
    /// # Errors
    /// What is wrong with it, as the end of a sentence that begins with the text. It never holds
    /// the password.
    pub fn parse(text: &str) -> Result<Self, String> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err("has no scheme".to_owned());
        };
        if scheme != "http" {
            let problem = other_scheme(scheme);
            return Err(format!("{problem}; proxies are spoken to by http only"));
        }
        let (user, host) = match rest.rsplit_once('@') {
            None => (None, rest),
            Some((user, host)) => (Some(credentials(user)?), host),
        };
        let endpoint = Endpoint::parse(&format!("http://{host}"), true)?;
        Ok(Self { endpoint, user })
    }

    /// The same with a user and a password.
    #[must_use]
    pub fn with_user(self, user: String, password: String) -> Self {
        Self { user: Some((user, password)), ..self }
    }

    /// Where it is.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Who we are to it.
    pub fn user(&self) -> Option<&str> {
        self.user.as_ref().map(|(user, _)| user.as_str())
    }

    /// Has `stream`, which leads to the proxy, lead to `authority`.
    ///
    /// # Errors
    /// What the proxy said, and what to do about it.
    pub(super) async fn connect(
        &self,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
        authority: &str,
    ) -> Result<(), String> {
        let broken = |error: std::io::Error| format!("the proxy hung up: {error}");
        stream.write_all(self.request(authority).as_bytes()).await.map_err(broken)?;
        let head = head(stream).await?;
        let (status, words) = status(&head).ok_or("what answers is not an HTTP proxy")?;
        match status {
            200..=299 => Ok(()),
            // 407 is what a proxy should say; tinyproxy says 401.
            401 | 407 if self.user.is_some() => Err(format!(
                "the proxy refuses this user and password ({status} {words}); put them right in \
                 the proxy's setting"
            )),
            401 | 407 => Err(format!(
                "the proxy asks for a user and a password ({status} {words}); add them to the \
                 proxy's setting"
            )),
            403 | 405 => Err(format!(
                "the proxy does not allow it ({status} {words}); have it allow CONNECT to \
                 {authority}"
            )),
            _ => Err(format!("the proxy found no way ({status} {words})")),
        }
    }

    fn request(&self, authority: &str) -> String {
        let authorization = self.user.as_ref().map_or_else(String::new, |(user, password)| {
            let basic = STANDARD.encode(format!("{user}:{password}"));
            format!("proxy-authorization: Basic {basic}\r\n")
        });
        format!("CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\n{authorization}\r\n")
    }
}

/// `user:password`, each with its escapes taken out.
fn credentials(text: &str) -> Result<(String, String), String> {
    let (user, password) = text.split_once(':').ok_or("has a user without a password")?;
    let plain = |part: &str| unescape(part).ok_or("has a broken % in its user or password");
    Ok((plain(user)?, plain(password)?))
}

fn unescape(text: &str) -> Option<String> {
    let mut pieces = text.split('%');
    let mut bytes = pieces.next()?.as_bytes().to_vec();
    for piece in pieces {
        let (code, rest) = piece.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(code, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

/// Byte by byte: what follows the head belongs to the far end.
async fn head(stream: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>, String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == HEAD_MAX_BYTES {
            return Err("what answers is not an HTTP proxy".to_owned());
        }
        let byte = stream.read_u8().await;
        head.push(byte.map_err(|error| format!("the proxy hung up: {error}"))?);
    }
    Ok(head)
}

fn status(head: &[u8]) -> Option<(u16, String)> {
    let line = head.split(|byte| *byte == b'\r').next()?;
    let line = std::str::from_utf8(line).ok()?;
    let mut parts = line.splitn(3, ' ');
    parts.next().filter(|version| version.starts_with("HTTP/1."))?;
    let status = parts.next()?.parse().ok()?;
    let words = parts.next().unwrap_or_default();
    Some((status, words.chars().filter(|c| !c.is_control()).take(WORDS_MAX).collect()))
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    /// What the proxy was asked, and what came of it.
    async fn ask(proxy: &str, answer: &[u8]) -> (String, Result<(), String>, Vec<u8>) {
        let (mut near, mut far) = duplex(64 * 1024);
        far.write_all(answer).await.unwrap();
        let result = Proxy::parse(proxy).unwrap().connect(&mut near, "mq.example:443").await;
        let mut asked = vec![0; 1024];
        let length = far.read(&mut asked).await.unwrap();
        drop(far);
        let mut rest = Vec::new();
        near.read_to_end(&mut rest).await.unwrap();
        (String::from_utf8_lossy(&asked[..length]).into_owned(), result, rest)
    }

    #[tokio::test]
    async fn the_far_ends_first_bytes_are_left_alone() {
        let answer = b"HTTP/1.1 200 OK\r\nvia: x\r\n\r\nSETTINGS";
        let (asked, result, rest) = ask("http://proxy:3128", answer).await;
        assert_eq!(asked, "CONNECT mq.example:443 HTTP/1.1\r\nhost: mq.example:443\r\n\r\n");
        assert_eq!((result, rest), (Ok(()), b"SETTINGS".to_vec()));
    }

    #[tokio::test]
    async fn user_and_password_are_shown_to_the_proxy_and_to_nobody_else() {
        let (asked, result, _) =
            ask("http://gw:p%40ss@proxy:3128", b"HTTP/1.0 200 OK\r\n\r\n").await;
        assert!(asked.contains("\r\nproxy-authorization: Basic Z3c6cEBzcw==\r\n"), "{asked}");
        assert_eq!(result, Ok(()));
        let shown = format!("{:?}", Proxy::parse("http://gw:secret@proxy:1").unwrap());
        assert!(shown.contains("gw") && !shown.contains("secret"), "{shown}");
        let wrong = Proxy::parse("http://gw:secret%@proxy:1").unwrap_err();
        assert!(!wrong.contains("secret"), "{wrong}");
    }

    #[tokio::test]
    async fn each_refusal_says_what_to_do() {
        let long = [b'x'; HEAD_MAX_BYTES + 1];
        for (proxy, answer, words) in [
            ("http://p:1", &b"HTTP/1.1 407 Who\r\n\r\n"[..], "asks for a user and a password"),
            ("http://u:p@p:1", b"HTTP/1.1 407 Who\r\n\r\n", "refuses this user and password (407"),
            ("http://u:p@p:1", b"HTTP/1.1 401 Who\r\n\r\n", "refuses this user and password (401"),
            ("http://p:1", b"HTTP/1.1 403 Filtered\r\n\r\n", "have it allow CONNECT to mq.example"),
            ("http://p:1", b"HTTP/1.1 502 Bad\r\n\r\n", "found no way (502 Bad)"),
            ("http://p:1", b"SSH-2.0-OpenSSH\r\n\r\n", "not an HTTP proxy"),
            ("http://p:1", &long, "not an HTTP proxy"),
        ] {
            let (_, result, _) = ask(proxy, answer).await;
            let reason = result.unwrap_err();
            assert!(reason.contains(words), "{reason}");
        }
    }

    #[test]
    fn what_is_no_proxy_is_refused_in_words() {
        for (text, problem) in [
            ("proxy:3128", "has no scheme"),
            ("https://proxy:3128", "has the scheme \"https\"; proxies are spoken to by http only"),
            ("http://user@proxy:3128", "has a user without a password"),
            ("http://proxy:3128/x", "holds '/'; only host and port belong here"),
            ("http://:3128", "has no host"),
        ] {
            assert_eq!(Proxy::parse(text).unwrap_err(), problem, "{text}");
        }
        let plain = Proxy::parse("http://proxy").unwrap();
        assert_eq!((plain.endpoint().authority().as_str(), plain.user()), ("proxy:80", None));
    }
}
