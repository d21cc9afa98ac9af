//! Two netlink sockets: one that is told of changes, one that asks.

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, sendto, socket_with,
};
use tokio::io::Interest;
use tokio::net::UnixDatagram;

use super::message::{self, Answer};

/// `RTMGRP_LINK`, `_IPV4_IFADDR`, `_IPV4_ROUTE`, `_IPV6_IFADDR`, `_IPV6_ROUTE`.
const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;
/// The kernel's messages are at most a page or two.
const ANSWER_MAX: usize = 32 * 1024;

fn open(groups: u32) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    // NETLINK_ROUTE is number 0, which is what no protocol means.
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
    bind(&socket, &SocketAddrNetlink::new(0, groups))?;
    Ok(socket)
}

/// Asks the kernel, which answers before the question's system call returns.
pub(super) struct Inquiry(OwnedFd);

impl Inquiry {
    pub(super) fn open() -> io::Result<Self> {
        open(0).map(Self)
    }

    /// One question, one answer.
    pub(super) fn ask(&self, question: &[u8]) -> io::Result<Option<Answer>> {
        sendto(&self.0, question, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
        let mut buffer = vec![0; ANSWER_MAX];
        let (length, _) = recv(&self.0, buffer.as_mut_slice(), RecvFlags::empty())?;
        Ok(message::read(&buffer[..length]))
    }
}

/// Is told of changes of devices, addresses and routes. Tokio takes no socket of another family
/// without unsafe code; of a Unix one it uses nothing but its readiness here.
pub(super) struct Changes(UnixDatagram);

impl Changes {
    pub(super) fn open() -> io::Result<Self> {
        let socket = std::os::unix::net::UnixDatagram::from(open(GROUPS)?);
        Ok(Self(UnixDatagram::from_std(socket)?))
    }

    /// Waits for a change; what it is does not matter, nor whether the kernel had to drop some.
    pub(super) async fn next(&self) -> io::Result<()> {
        loop {
            self.0.readable().await?;
            match self.0.try_io(Interest::READABLE, || self.drain()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return done,
            }
        }
    }

    /// Takes all that is there, and something has to be.
    fn drain(&self) -> io::Result<()> {
        let (mut some, mut buffer) = (false, [0; 4096]);
        loop {
            match recv(&self.0, &mut buffer[..], RecvFlags::empty()) {
                Ok(_) | Err(Errno::NOBUFS) => some = true,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if some => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}
