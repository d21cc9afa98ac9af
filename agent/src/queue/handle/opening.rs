//! The queue is opened, and closed.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::watch;

use super::Inner;
use crate::clock::WallClock;
use crate::queue::api::{OpenError, Options, Recovery};
use crate::queue::format::{self, Folder, Newer, Site, gate};
use crate::queue::recover::{self, Parts};
use crate::queue::store::disk::make_folder;
use crate::queue::threads::Threads;
use crate::queue::{doubt, identity, keeper, pulse::Pulse, quarantine};

/// What stays from one opening to the next.
pub(super) struct Means {
    pub(super) lock: Arc<identity::Lock>,
    pub(super) clock: Arc<dyn WallClock>,
    pub(super) changed: watch::Sender<u64>,
    pub(super) waiting_bytes: Arc<AtomicUsize>,
}

impl Means {
    pub(super) fn new(lock: Arc<identity::Lock>, clock: Arc<dyn WallClock>) -> Self {
        Self { lock, clock, changed: watch::Sender::new(0), waiting_bytes: Arc::default() }
    }
}

impl Inner {
    pub(super) fn open(options: &Options, means: &Means) -> Result<(Self, Recovery), OpenError> {
        let site = format::site(&options.data_dir);
        match Self::open_at(options, site.clone(), means) {
            Err(OpenError::Newer { path, format }) if site.newer.is_none() => {
                let newer = Newer { path, version: format };
                // Another stream than the one that the first try may have drawn.
                let options = Options { seed: options.seed.wrapping_add(1), ..options.clone() };
                Self::open_at(&options, Site::beside(&options.data_dir, newer), means)
            }
            opened => opened,
        }
    }

    pub(super) fn open_at(
        options: &Options,
        site: Site,
        means: &Means,
    ) -> Result<(Self, Recovery), OpenError> {
        let options = &Options { data_dir: site.root.clone(), ..options.clone() };
        let fail = |source, remedy| recover::failed(options, source, remedy);
        make_folder(&site.root).map_err(|e| fail(e, "let the agent's user write its parent"))?;
        let mut rng = StdRng::seed_from_u64(options.seed);
        let stream = identity::stream(&options.data_dir, &options.host, &mut rng)?;
        let options = &gate::allowed(options, stream.level)?;
        let readable = "see that the agent's user may read it and that the disk works";
        let stream = doubt::resolve(options, stream, &mut rng).map_err(|e| fail(e, readable))?;
        let stores = recover::stores(options, &means.lock.anchor)?;
        let parts =
            recover::recover(stores, options, stream, means.clock.clone(), means.changed.clone());
        let Parts { lanes, committers, dead, ids, gate, mut recovery } =
            parts.map_err(|e| fail(e, readable))?;
        let quarantine = quarantine::folder(&options.data_dir);
        recovery.orphans = recover::orphans(options, &means.lock.anchor);
        let kept = (lanes.clone(), ids.clone(), dead.clone(), options.keep, means.clock.clone());
        let keep = move |stop: &_, pulse: &_| {
            keeper::run(&kept.0, &kept.1, &kept.2, kept.3, kept.4.as_ref(), (stop, pulse));
        };
        let threads = Threads::start(committers, keep);
        let (threads, inboxes) = threads.map_err(|e| fail(e, "raise the limit on threads"))?;
        let threads = Mutex::new(Some(threads));
        let inner = Self {
            lanes,
            inboxes,
            dead,
            ids,
            gate,
            stream: stream.id,
            changed: means.changed.clone(),
            clock: means.clock.clone(),
            faults: Mutex::default(),
            waiting_bytes: means.waiting_bytes.clone(),
            waiting_bytes_max: options.waiting_bytes_max,
            quarantine,
            threads,
            folder: Arc::new(Folder::new(site, stream.level)),
            lock: means.lock.clone(),
        };
        Ok((inner, recovery))
    }

    /// Commits what was submitted and saves the state. What comes later is refused. Blocks.
    pub(super) fn close(&self) {
        let Some(threads) = self.threads().take() else {
            return;
        };
        self.inboxes.iter().for_each(|inbox| inbox.close());
        threads.join();
        self.dead.close();
        // Twice: segments that are done go once both slots of the state know it.
        for _ in 0..2 {
            if let Err(error) = self.save() {
                tracing::warn!(%error, "the state could not be saved; some records may be sent again");
            }
        }
    }

    pub(super) fn save(&self) -> std::io::Result<()> {
        keeper::save(&self.lanes, &self.ids, &Pulse::default())
    }

    pub(super) fn threads(&self) -> MutexGuard<'_, Option<Threads>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who holds no queue any more sends nothing: its threads end.
impl Drop for Inner {
    fn drop(&mut self) {
        self.inboxes.iter().for_each(|inbox| inbox.close());
    }
}
