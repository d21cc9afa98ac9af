//! Netlink's messages, as far as they are needed: a question for a route or a device, and what the
//! kernel answers (`linux/netlink.h`, `linux/rtnetlink.h`). Numbers are in the machine's order.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const HEADER: usize = 16;
const ATTRIBUTE: usize = 4;

const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST: u16 = 1;
const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_PREFSRC: u16 = 7;
const IFLA_IFNAME: u16 = 3;
const RTN_UNICAST: u8 = 1;
const RTN_LOCAL: u8 = 2;
const IFF_UP: u32 = 1;
const IFF_LOWER_UP: u32 = 1 << 16;

/// What the kernel answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// A route that leads somewhere.
    Route {
        /// Number of the device.
        device: u32,
        /// This machine's address on it.
        source: Option<IpAddr>,
    },
    /// A device.
    Device {
        /// Such as `eth0`.
        name: String,
        /// It is switched on and its cable (or its like) is in.
        up: bool,
    },
    /// An error number, or a route that leads nowhere.
    Nowhere,
}

/// Asks for the route to an address.
pub(super) fn ask_route(to: IpAddr) -> Vec<u8> {
    let (family, octets) = match to {
        IpAddr::V4(address) => (AF_INET, address.octets().to_vec()),
        IpAddr::V6(address) => (AF_INET6, address.octets().to_vec()),
    };
    let bits = u8::try_from(octets.len() * 8).unwrap_or(u8::MAX);
    // struct rtmsg: family, length of the destination, and ten zeros.
    let mut body = vec![family, bits];
    body.resize(12, 0);
    let length = u16::try_from(ATTRIBUTE + octets.len()).unwrap_or(u16::MAX);
    body.extend(length.to_ne_bytes());
    body.extend(RTA_DST.to_ne_bytes());
    body.extend(octets);
    request(RTM_GETROUTE, &body)
}

/// Asks for a device by its number.
pub(super) fn ask_device(number: u32) -> Vec<u8> {
    // struct ifinfomsg: family, padding, type; index; flags; change.
    let mut body = vec![0; 16];
    body[4..8].copy_from_slice(&number.to_ne_bytes());
    request(RTM_GETLINK, &body)
}

fn request(kind: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER + body.len()).unwrap_or(u32::MAX);
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend(NLM_F_REQUEST.to_ne_bytes());
    // Number of the question and of who asks: one question is asked at a time.
    message.extend([0; 8]);
    message.extend(body);
    message
}

/// Reads the first message of what the kernel sent; `None` if it is none of the answers.
pub(super) fn read(bytes: &[u8]) -> Option<Answer> {
    let length = usize::try_from(u32_at(bytes, 0)?).ok()?;
    let body = bytes.get(HEADER..length)?;
    match u16_at(bytes, 4)? {
        NLMSG_ERROR => Some(Answer::Nowhere),
        RTM_NEWROUTE => route(body),
        RTM_NEWLINK => device(body),
        _ => None,
    }
}

fn route(body: &[u8]) -> Option<Answer> {
    // struct rtmsg: the type is its eighth byte.
    if !matches!(*body.get(7)?, RTN_UNICAST | RTN_LOCAL) {
        return Some(Answer::Nowhere);
    }
    let attributes = body.get(12..)?;
    let device = attribute(attributes, RTA_OIF).and_then(|value| u32_at(value, 0))?;
    let source = attribute(attributes, RTA_PREFSRC).and_then(address);
    Some(Answer::Route { device, source })
}

fn device(body: &[u8]) -> Option<Answer> {
    let flags = u32_at(body, 8)?;
    let name = attribute(body.get(16..)?, IFLA_IFNAME)?;
    let name = String::from_utf8_lossy(name).trim_end_matches('\0').to_owned();
    Some(Answer::Device { name, up: flags & IFF_UP != 0 && flags & IFF_LOWER_UP != 0 })
}

fn address(value: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(value).map(|octets| Ipv4Addr::from(octets).into());
    let v6 = || <[u8; 16]>::try_from(value).map(|octets| Ipv6Addr::from(octets).into());
    v4.or_else(|_| v6()).ok()
}

/// The value of the first attribute of that kind.
fn attribute(mut rest: &[u8], kind: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(u16_at(rest, 0)?);
        let value = rest.get(ATTRIBUTE..length)?;
        if u16_at(rest, 2)? == kind {
            return Some(value);
        }
        // Attributes begin at multiples of four.
        rest = rest.get(length.next_multiple_of(4)..)?;
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        request(kind, body)
    }

    fn attributes(list: &[(u16, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (kind, value) in list {
            bytes.extend(u16::try_from(4 + value.len()).unwrap().to_ne_bytes());
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(*value);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes
    }

    fn route_of(kind: u8, list: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = vec![0; 12];
        body[7] = kind;
        body.extend(attributes(list));
        message(RTM_NEWROUTE, &body)
    }

    #[test]
    fn a_route_tells_its_device_and_source() {
        let index = 7_u32.to_ne_bytes();
        let list: &[(u16, &[u8])] =
            &[(RTA_DST, &[9; 4]), (RTA_OIF, &index), (RTA_PREFSRC, &[10; 4])];
        let source = Some("10.10.10.10".parse().unwrap());
        assert_eq!(read(&route_of(RTN_UNICAST, list)), Some(Answer::Route { device: 7, source }));
        for blackhole in [6, 7, 8] {
            assert_eq!(read(&route_of(blackhole, list)), Some(Answer::Nowhere));
        }
        assert_eq!(read(&message(NLMSG_ERROR, &[0; 20])), Some(Answer::Nowhere));
    }

    #[test]
    fn a_device_is_up_with_its_cable_only() {
        for (flags, up) in [(IFF_UP | IFF_LOWER_UP, true), (IFF_UP, false), (IFF_LOWER_UP, false)] {
            let mut body = vec![0; 16];
            body[8..12].copy_from_slice(&flags.to_ne_bytes());
            body.extend(attributes(&[(9, &[1; 5]), (IFLA_IFNAME, b"wwan0\0")]));
            let name = "wwan0".to_owned();
            assert_eq!(read(&message(RTM_NEWLINK, &body)), Some(Answer::Device { name, up }));
        }
    }

    #[test]
    fn questions_have_the_kernels_shape() {
        let route = ask_route("192.0.2.1".parse().unwrap());
        assert_eq!((route.len(), u32_at(&route, 0)), (36, Some(36)));
        assert_eq!((&route[16..18], &route[32..]), (&[2, 32][..], &[192, 0, 2, 1][..]));
        let device = ask_device(3);
        assert_eq!((device.len(), u32_at(&device, 20)), (32, Some(3)));
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_to_an_end(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
            let mut framed = request(RTM_NEWROUTE, &bytes);
            let _ = read(&framed);
            framed[4..6].copy_from_slice(&RTM_NEWLINK.to_ne_bytes());
            let _ = read(&framed);
        }
    }
}
