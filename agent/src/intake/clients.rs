//! Who may use the intake: at its socket by what the kernel says of the process at its other end when
//! it connected, over TCP by a token; and what each of them may.

use std::io;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use sha2::{Digest as _, Sha256};
use spillway_protocol::local::{Code, Refusal};
use spillway_protocol::record::LaneName;
use tokio::net::UnixStream;
use tokio::time::Instant;

use crate::attendance::{Register, Visit};
use crate::config::Client;

/// The user and group of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Peer {
    /// Of the process that opened the other end.
    pub(super) fn of(stream: &UnixStream) -> io::Result<Self> {
        let credentials = stream.peer_cred()?;
        Ok(Self { uid: credentials.uid(), gid: credentials.gid() })
    }

    /// Of this process, as others see it at a socket.
    fn own() -> io::Result<Self> {
        Self::of(&UnixStream::pair()?.0)
    }
}

/// Everybody who may use the socket.
#[derive(Debug)]
pub(super) struct Clients {
    /// Empty: whoever reaches it.
    guests: Vec<Arc<Guest>>,
    register: Option<Register>,
}

/// A client of the configuration.
#[derive(Debug)]
pub(super) struct Guest {
    client: Client,
    /// Of its token.
    digest: Option<Digest>,
    rate: Option<Rate>,
}

/// Digests are compared, so that the time it takes tells nothing of a token.
pub(super) type Digest = [u8; 32];

pub(super) fn digest(token: &str) -> Digest {
    Sha256::digest(token).into()
}

/// What a connection may.
#[derive(Debug, Clone)]
pub(super) enum Rights {
    /// Everything.
    All,
    /// Ask about everything, and store nothing: the agent's own user and root.
    Look(Peer),
    /// What this client may.
    Guest(Arc<Guest>),
}

impl Clients {
    pub(super) fn new(clients: &[Client], register: Option<Register>) -> Self {
        let guest = |client: &Client| {
            let rate = client.records_per_second.map(Rate::new);
            let digest = client.token.as_ref().map(|token| digest(token.reveal()));
            Arc::new(Guest { client: client.clone(), digest, rate })
        };
        Self { guests: clients.iter().map(guest).collect(), register }
    }

    /// What the process at the other end may; `peer` is asked only where that counts.
    ///
    /// # Errors
    /// It is a stranger.
    pub(super) fn rights(
        &self,
        peer: impl FnOnce() -> io::Result<Peer>,
    ) -> Result<Rights, Refusal> {
        if self.guests.is_empty() {
            return Ok(Rights::All);
        }
        let peer = peer().map_err(|error| {
            let message = format!("the system does not say who you are: {error}");
            Refusal::new(Code::NotAllowed, message)
        })?;
        if let Some(guest) = self.guest(peer) {
            return Ok(Rights::Guest(Arc::clone(guest)));
        }
        // Where even that is not known, only root is.
        let own = Peer::own().map_or(0, |own| own.uid);
        match peer.uid {
            0 => Ok(Rights::Look(peer)),
            uid if uid == own => Ok(Rights::Look(peer)),
            _ => Err(stranger(peer)),
        }
    }

    /// What whoever brings this token may; `None`: it is nobody's.
    pub(super) fn holder(&self, token: &str) -> Option<Rights> {
        let given = digest(token);
        let guest = self.guests.iter().find(|guest| guest.digest == Some(given))?;
        Some(Rights::Guest(Arc::clone(guest)))
    }

    /// The client of that user and group, else that of the user.
    fn guest(&self, peer: Peer) -> Option<&Arc<Guest>> {
        let mut of_user = self.guests.iter().filter(|guest| guest.client.uid == Some(peer.uid));
        let of_group = of_user.clone().find(|guest| guest.client.gid == Some(peer.gid));
        of_group.or_else(|| of_user.find(|guest| guest.client.gid.is_none()))
    }

    /// Notes that a connection is there, where somebody wants to know.
    pub(super) fn visit(&self, rights: &Rights) -> Option<Visit> {
        match rights {
            Rights::Guest(guest) => self.register.as_ref()?.visit(&guest.client.name),
            _ => None,
        }
    }
}

fn stranger(Peer { uid, gid }: Peer) -> Refusal {
    let message = format!(
        "uid {uid} (gid {gid}) is none of this agent's clients; add [[client]] with name = \"...\" \
         and uid = {uid} to its configuration"
    );
    Refusal::new(Code::NotAllowed, message)
}

impl Rights {
    /// Whether records may be stored at all.
    pub(super) fn may_store(&self) -> Result<(), Refusal> {
        match self {
            Self::Look(Peer { uid, .. }) => {
                let message = format!(
                    "uid {uid} may look and not store; add [[client]] with name = \"...\" and \
                     uid = {uid} to the agent's configuration"
                );
                Err(Refusal::new(Code::NotAllowed, message))
            }
            _ => Ok(()),
        }
    }

    /// Whether the lane is one's own.
    pub(super) fn has(&self, lane: &str) -> bool {
        let Self::Guest(guest) = self else { return true };
        let own = |lanes: &Vec<_>| lanes.iter().any(|own: &LaneName| own.as_str() == lane);
        guest.client.lanes.as_ref().is_none_or(own)
    }

    /// The refusal of a lane that is not one's own; `named`: the client said it, or a route.
    pub(super) fn not_yours(&self, lane: &str, named: bool) -> Refusal {
        let (name, own) = match self {
            Self::Guest(guest) => (guest.client.name.as_str(), guest.lanes()),
            _ => ("", String::new()),
        };
        let message = match named {
            true => format!("{lane} is not yours (client {name}); yours are: {own}"),
            false => format!(
                "is not named, and the default lane {lane} is not yours (client {name}); name one \
                 of yours: {own}"
            ),
        };
        Refusal::of("lane", Code::NotAllowed, message)
    }

    /// Counts a record that is about to be stored.
    ///
    /// # Errors
    /// It is one too many.
    pub(super) fn charge(&self) -> Result<(), Refusal> {
        match self {
            Self::Guest(guest) => guest.charge(),
            _ => Ok(()),
        }
    }
}

impl Guest {
    fn lanes(&self) -> String {
        let lanes = self.client.lanes.iter().flatten();
        lanes.map(LaneName::as_str).collect::<Vec<_>>().join(", ")
    }

    fn charge(&self) -> Result<(), Refusal> {
        let Some(rate) = self.rate.as_ref().filter(|rate| !rate.take()) else { return Ok(()) };
        let message = format!(
            "client {} has used up its {} records a second; send it again later",
            self.client.name, rate.per_second
        );
        Err(Refusal::new(Code::OverRate, message))
    }
}

/// A bucket that holds what may come in a second.
#[derive(Debug)]
struct Rate {
    limiter: RateLimiter<NotKeyed, InMemoryState, TokioClock, NoOpMiddleware<Duration>>,
    per_second: NonZeroU32,
}

impl Rate {
    fn new(per_second: NonZeroU32) -> Self {
        let clock = TokioClock(Instant::now());
        let limiter = RateLimiter::direct_with_clock(Quota::per_second(per_second), clock);
        Self { limiter, per_second }
    }

    fn take(&self) -> bool {
        self.limiter.check().is_ok()
    }
}

/// tokio's time for governor, so that a paused clock pauses the bucket.
#[derive(Debug, Clone, Copy)]
struct TokioClock(Instant);

impl Clock for TokioClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}
