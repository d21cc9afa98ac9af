use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};

use http_body_util::BodyExt;
use tokio::task::{JoinSet, yield_now};
use tower::ServiceExt;

use spillway_protocol::local::status::Status;

use super::super::Letters;
use super::super::looks::{AT_ONCE_MAX, TIME_MAX};
use super::super::metrics::tests::full;
use super::*;

/// An agent that is in order, but for what a test says.
#[derive(Default)]
struct Agent {
    stuck: bool,
    refuses: AtomicBool,
    panics: bool,
    /// While true, nobody's look ends.
    hangs: Mutex<bool>,
    released: Condvar,
    looks: AtomicUsize,
}

impl Observed for Agent {
    fn status(&self) -> Status {
        self.looks.fetch_add(1, Ordering::SeqCst);
        assert!(!self.panics, "as a test wants it");
        drop(self.released.wait_while(self.hangs.lock().unwrap(), |hangs| *hangs).unwrap());
        full()
    }

    fn letters(&self) -> Vec<Letters> {
        vec![]
    }

    fn stuck(&self) -> Option<String> {
        self.stuck.then(|| "nothing moves".to_owned())
    }

    fn accepts(&self) -> bool {
        !self.refuses.load(Ordering::SeqCst)
    }

    fn refuses(&self) -> Option<String> {
        self.refuses.load(Ordering::SeqCst).then(|| "the disk is full".to_owned())
    }
}

fn serving(agent: &Arc<Agent>) -> Router {
    let guard = Guard::new("127.0.0.1:1".parse().unwrap(), vec![], None);
    router(guard, Admin::new(agent.clone(), CancellationToken::new()))
}

async fn get(router: Router, path: &str) -> (u16, String) {
    let request = Request::get(path).header("host", "localhost").body(Body::empty()).unwrap();
    let response = router.oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn what_is_stuck_is_unhealthy_and_still_told_by_metrics() {
    let router = serving(&Arc::new(Agent { stuck: true, ..Agent::default() }));
    assert_eq!(get(router.clone(), "/healthz").await, (503, "nothing moves\n".to_owned()));
    assert_eq!(get(router.clone(), "/readyz").await.0, 200);
    assert_eq!(get(router, "/metrics").await.0, 200);
}

#[tokio::test]
async fn ready_is_what_takes_records() {
    let agent = Arc::new(Agent::default());
    let router = serving(&agent);
    assert_eq!(get(router.clone(), "/readyz").await, (200, "ok\n".to_owned()));
    agent.refuses.store(true, Ordering::SeqCst);
    let said = "no records are taken in: the disk is full\n".to_owned();
    assert_eq!(get(router.clone(), "/readyz").await, (503, said));
    assert_eq!(get(router, "/healthz").await.0, 200);
}

#[tokio::test]
async fn a_look_that_fails_is_answered() {
    let router = serving(&Arc::new(Agent { panics: true, ..Agent::default() }));
    for path in ["/metrics", "/healthz"] {
        let (status, text) = get(router.clone(), path).await;
        assert!(status == 503 && text.contains("its log says why"), "{status}: {text}");
    }
}

#[tokio::test(start_paused = true)]
async fn looks_that_do_not_end_are_given_up_and_take_few_threads() {
    let agent = Arc::new(Agent { hangs: Mutex::new(true), ..Agent::default() });
    let router = serving(&agent);
    let mut asked = JoinSet::new();
    for nth in 0..AT_ONCE_MAX + 3 {
        let router = router.clone();
        asked.spawn(async move { get(router, ["/metrics", "/healthz"][nth % 2]).await });
    }
    while agent.looks.load(Ordering::SeqCst) < AT_ONCE_MAX {
        yield_now().await;
    }
    tokio::time::advance(TIME_MAX).await;
    for (status, text) in asked.join_all().await {
        assert!(status == 503 && text.contains("stuck"), "{status}: {text}");
    }
    assert_eq!(agent.looks.load(Ordering::SeqCst), AT_ONCE_MAX);
    *agent.hangs.lock().unwrap() = false;
    agent.released.notify_all();
    assert_eq!(get(router, "/healthz").await.0, 200);
}
