//! Answers to what the centre asked: see [`spillway_protocol::control`].

use spillway_protocol::control::Answer;
use spillway_protocol::message::Flags;
use spillway_protocol::record::Topic;
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
    /// to stop before.
    pub async fn send(&self, answer: &Answer, stop: &CancellationToken) -> bool {
        let body = match answer.to_json() {
            Ok(body) => body,
            Err(error) => {
                tracing::error!(%error, "an answer could not be written");
                return true;
            }
        };
        let (topic, flags) = (self.topic.clone(), Flags::ANSWER);
        self.post.send_surely(&Letter { topic, tag: None, flags, body }, stop).await.is_some()
    }
}
