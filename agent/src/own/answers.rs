//! Answers to what the centre asked: see [`spillway_protocol::control`].

use sha2::{Digest, Sha256};
use spillway_protocol::control::Answer;
use spillway_protocol::message::Flags;
use spillway_protocol::record::{RecordId, Topic};
use tokio_util::sync::CancellationToken;

use super::post::{Letter, Post};

/// Writes answers.
#[derive(Clone)]
pub struct Answers {
    post: Post,
    topic: Topic,
}

impl Answers {
    /// To `topic`, which is that of reports.
    pub fn new(post: Post, topic: Topic) -> Self {
        Self { post, topic }
    }

    /// Resolves once the answer is on disk, which may take until the disk has room; false if told
    /// to stop before. The same answer is stored once: an agent that was killed before it noted that
    /// it has answered does so again.
    pub async fn send(&self, answer: &Answer, stop: &CancellationToken) -> bool {
        let body = match answer.to_json() {
            Ok(body) => body,
            Err(error) => {
                tracing::error!(%error, "an answer could not be written");
                return true;
            }
        };
        let letter = Letter {
            id: id_of(&body),
            topic: self.topic.clone(),
            tag: None,
            flags: Flags::ANSWER,
            body,
        };
        self.post.send_surely(&letter, stop).await.is_some()
    }
}

/// The same for the same words; 39 characters.
fn id_of(body: &[u8]) -> Option<RecordId> {
    let digest = Sha256::digest(body);
    let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    RecordId::parse(format!("answer-{hex}")).ok()
}
