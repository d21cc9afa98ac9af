//! Who may use the intake: at its socket by what the kernel says of the process at its other end when
//! it connected, over TCP by a token; and what each of them may.

use std::io;
use std::num::NonZeroU32;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use spillway_protocol::local::{Code, Refusal};
use spillway_protocol::record::LaneName;
use tokio::net::UnixStream;
use tokio::time::Instant;

use super::bearer::{Digest, digest};
use super::seats::User;
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

    /// Whose places its connections take.
    pub(super) fn user(self) -> User {
        match self.uid {
            uid if uid == 0 || uid == Self::own_uid() => User::Own(uid),
            uid => User::Other(uid),
        }
    }

    /// Of this process, as others see it at a socket.
    fn own_uid() -> u32 {
        static OWN: OnceLock<u32> = OnceLock::new();
        if let Some(own) = OWN.get() {
            return *own;
        }
        match UnixStream::pair().and_then(|(one, _)| Self::of(&one)) {
            Ok(own) => *OWN.get_or_init(|| own.uid),
            // As long as even that is not known, only root is.
            Err(_) => 0,
        }
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

/// What a connection may.
#[derive(Debug, Clone)]
pub(super) enum Rights {
    /// Everything.
    All,
    /// Ask about everything, and store nothing: the agent's own user and root.
    Look(Peer),
    /// What this client may.
    Guest(Arc<Guest>),
    /// Nothing: a stranger, or one whom the system does not know.
    None(Option<Peer>),
}

impl Clients {
    /// Those of the configuration; who is the same as in `former` has used up of his rate what he has.
    pub(super) fn new(
        clients: &[Client],
        register: Option<Register>,
        former: Option<&Self>,
    ) -> Self {
        let known = |client: &Client| {
            let mut guests = former.into_iter().flat_map(|former| &former.guests);
            guests.find(|guest| guest.client == *client).cloned()
        };
        let fresh = |client: &Client| {
            let rate = client.records_per_second.map(Rate::new);
            let digest = client.token.as_ref().map(|token| digest(token.reveal()));
            Arc::new(Guest { client: client.clone(), digest, rate })
        };
        let guest = |client| known(client).unwrap_or_else(|| fresh(client));
        Self { guests: clients.iter().map(guest).collect(), register }
    }

    /// What whoever is at the other end may; `None`: the system does not say who it is.
    pub(super) fn rights(&self, peer: Option<Peer>) -> Rights {
        if self.guests.is_empty() {
            return Rights::All;
        }
        let Some(peer) = peer else { return Rights::None(None) };
        if let Some(guest) = self.guest(peer) {
            return Rights::Guest(Arc::clone(guest));
        }
        match peer.user() {
            User::Own(_) => Rights::Look(peer),
            _ => Rights::None(Some(peer)),
        }
    }

    /// Whose token this is.
    pub(super) fn holder(&self, token: &str) -> Option<Arc<Guest>> {
        let given = digest(token);
        self.guests.iter().find(|guest| guest.digest == Some(given)).cloned()
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
            Rights::Guest(guest) => Some(self.register.as_ref()?.visit(&guest.client.name)),
            _ => None,
        }
    }
}

fn stranger(peer: Option<Peer>) -> Refusal {
    let Some(Peer { uid, gid }) = peer else {
        return Refusal::new(Code::NotAllowed, "the system does not say who you are");
    };
    let message = format!(
        "uid {uid} (gid {gid}) is none of this agent's clients; add [[client]] with name = \"...\" \
         and uid = {uid} to its configuration"
    );
    Refusal::new(Code::NotAllowed, message)
}

impl Rights {
    /// Whether the socket may be used at all.
    pub(super) fn may_enter(&self) -> Result<(), Refusal> {
        match self {
            Self::None(peer) => Err(stranger(*peer)),
            _ => Ok(()),
        }
    }

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
            _ => self.may_enter(),
        }
    }

    /// Whether the lane is one's own.
    pub(super) fn has(&self, lane: &str) -> bool {
        let guest = match self {
            Self::Guest(guest) => guest,
            other => return !matches!(other, Self::None(_)),
        };
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
