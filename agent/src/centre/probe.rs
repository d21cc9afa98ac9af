//! The page pulled once, to see whether it could be; nothing of it is done.

use spillway_protocol::control::PublicKey;

use super::pull::{Client, Pulled, Puller};

/// How many requests stand on the page for `gateway` that `key` has signed; else why it is not read.
///
/// # Errors
/// Name, connection, TLS, status, size, signature or addressee: what is wrong, in words.
pub async fn probe(client: Client, gateway: &str, key: &PublicKey) -> Result<usize, String> {
    let pulled = Puller::new(client).pull().await.map_err(|error| error.to_string())?;
    let Pulled::New { body, .. } = pulled else { return Err("it did not come".to_owned()) };
    let page = super::judged(key, gateway, &body).map_err(|error| error.to_string())?;
    Ok(page.requests.len())
}
