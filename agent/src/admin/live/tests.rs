use std::sync::atomic::{AtomicUsize, Ordering};

use spillway_protocol::local::status::Status;
use tokio::time::sleep;

use super::super::metrics::tests::full;
use super::super::{Letters, Observed};
use super::*;

#[derive(Default)]
struct Agent {
    looks: AtomicUsize,
}

impl Observed for Agent {
    fn status(&self) -> Status {
        self.looks.fetch_add(1, Ordering::SeqCst);
        full()
    }

    fn letters(&self) -> Vec<Letters> {
        vec![Letters { lane: "main".into(), code: "refused".into(), count: 3 }]
    }

    fn stuck(&self) -> Option<String> {
        None
    }

    fn accepts(&self) -> bool {
        true
    }

    fn refuses(&self) -> Option<String> {
        None
    }
}

fn started() -> (Arc<Agent>, Arc<Live>, CancellationToken) {
    let (agent, stop) = (Arc::new(Agent::default()), CancellationToken::new());
    let live = Arc::new(Live::new(Looks::at(agent.clone())));
    let (kept, until) = (live.clone(), stop.clone());
    tokio::spawn(async move { kept.keep(&until).await });
    (agent, live, stop)
}

/// Name and data of an event.
fn parts(event: &Bytes) -> (String, Value) {
    let text = std::str::from_utf8(event).unwrap();
    let (name, data) = text.strip_suffix("\n\n").unwrap().split_once('\n').unwrap();
    let data = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
    (name.strip_prefix("event: ").unwrap().to_owned(), data)
}

#[tokio::test(start_paused = true)]
async fn who_watches_sees_the_history_and_then_each_look_until_the_stop() {
    let (_agent, live, stop) = started();
    sleep(Duration::from_secs(150)).await;
    let mut seen = Box::pin(live.watched(stop.clone()).unwrap());
    let (name, points) = parts(&seen.next().await.unwrap());
    assert_eq!((name.as_str(), points.as_array().unwrap().len()), ("history", 3));
    let begun = Instant::now();
    for nth in 0..3 {
        let (name, state) = parts(&seen.next().await.unwrap());
        assert_eq!((name.as_str(), &state["letters"][0]["code"]), ("state", &json!("refused")));
        assert_eq!(state["status"], serde_json::to_value(full()).unwrap());
        assert_eq!(begun.elapsed(), EVERY * nth);
    }
    stop.cancel();
    assert!(seen.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn while_nobody_watches_it_looks_once_a_minute_and_many_cost_no_more_than_one() {
    let (agent, live, stop) = started();
    sleep(Duration::from_secs(3601)).await;
    assert_eq!(agent.looks.swap(0, Ordering::SeqCst), 61);
    let viewers: Vec<_> = (0..VIEWERS_MAX).map(|_| live.watched(stop.clone()).unwrap()).collect();
    let mut viewers: Vec<_> = viewers.into_iter().map(Box::pin).collect();
    assert!(live.watched(stop.clone()).is_none());
    sleep(Duration::from_secs(59)).await;
    assert_eq!(agent.looks.swap(0, Ordering::SeqCst), 30);
    for viewer in &mut viewers {
        viewer.next().await.unwrap();
        assert_eq!(parts(&viewer.next().await.unwrap()).0, "state");
    }
    drop(viewers);
    sleep(Duration::from_secs(600)).await;
    assert!((10..=12).contains(&agent.looks.load(Ordering::SeqCst)));
    assert!(live.watched(stop).is_some());
}

#[tokio::test(start_paused = true)]
async fn who_comes_and_goes_all_the_time_makes_no_more_than_two_looks_a_second() {
    let (agent, live, stop) = started();
    for _ in 0..1000 {
        drop(live.watched(stop.clone()));
        sleep(Duration::from_millis(10)).await;
    }
    let looks = agent.looks.load(Ordering::SeqCst);
    assert!((2..=22).contains(&looks), "{looks}");
}
