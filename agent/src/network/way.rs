//! Which way leads to some addresses, as the kernel would choose it now.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::message::{self, Answer};
use super::socket::Inquiry;

/// Stand for the world while no address is known (RFC 5737, RFC 3849).
const WORLD: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
];

/// By which device and address packets leave.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Path {
    pub(super) device: u32,
    pub(super) source: Option<IpAddr>,
}

/// All ways to the far end, or why there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Way {
    Through(BTreeSet<Path>),
    None(String),
}

impl Way {
    /// Asks the kernel. Without addresses, for the way into the world.
    pub(super) fn find(addresses: &[IpAddr]) -> io::Result<Self> {
        let inquiry = Inquiry::open()?;
        let targets = if addresses.is_empty() { &WORLD } else { addresses };
        let (mut paths, mut reasons) = (BTreeSet::new(), Vec::new());
        for target in targets {
            match path(&inquiry, *target)? {
                Ok(path) => drop(paths.insert(path)),
                Err(reason) => reasons.push(reason),
            }
        }
        Ok(match paths.is_empty() {
            false => Self::Through(paths),
            true if addresses.is_empty() => Self::None("no default route".to_owned()),
            true => Self::None(reasons.join("; ")),
        })
    }
}

/// The way to one address, or why there is none.
fn path(inquiry: &Inquiry, target: IpAddr) -> io::Result<Result<Path, String>> {
    let Some(Answer::Route { device, source }) = inquiry.ask(&message::ask_route(target))? else {
        return Ok(Err(format!("no route to {target}")));
    };
    Ok(match inquiry.ask(&message::ask_device(device))? {
        Some(Answer::Device { up: true, .. }) => Ok(Path { device, source }),
        Some(Answer::Device { name, up: false }) => {
            Err(format!("{name}, which leads to {target}, has no carrier"))
        }
        _ => Err(format!("the device that leads to {target} is gone")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_found_from_its_own_address() {
        let here = Way::find(&[IpAddr::V4(Ipv4Addr::LOCALHOST)]).unwrap();
        let Way::Through(paths) = here else { panic!("{here:?}") };
        assert_eq!(paths.first().unwrap().source, Some(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    }
}
