//! URLs that rules, receivers and providers of logins name: one that passes must not lead to our own machine or network, however
//! its address is written.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use trivium_notify::{Network, OutgoingPolicy};

use crate::corpus::separated;

pub(super) const WORDS: &[&str] = &[
    "http://",
    "https://",
    "//",
    "\\\\",
    "@",
    ":",
    "/",
    "?",
    "#",
    ".",
    "[",
    "]",
    "%",
    "%2e",
    "%00",
    "%5b",
    "0x",
    "0x7f",
    "0177",
    "127",
    "2130706433",
    "169.254.169.254",
    "10.0.0.1",
    "192.168.0.1",
    "8.8.8.8",
    "::1",
    "::ffff:",
    "64:ff9b::",
    "2002:7f00:1::",
    "fe80::1%25eth0",
    "fd00::",
    "localhost",
    "。",
    "．",
    "①②⑦",
    "\u{ad}",
    "\t",
    "\n",
    "80",
];

pub(super) fn seeds() -> Vec<Vec<u8>> {
    separated(include_str!("../../corpus/urls.txt"))
}

/// What a URL leads to, and what the input is as an address itself.
pub(super) fn check(input: &[u8]) -> Result<bool, String> {
    let policy = OutgoingPolicy::default();
    for address in addresses(input) {
        agree(&policy, address)?;
    }
    let text = String::from_utf8_lossy(input);
    let Ok(url) = policy.admit(&text) else { return Ok(false) };
    // Others are refused when they are to be sent.
    if !matches!(url.scheme(), "http" | "https") {
        return Ok(false);
    }
    let host = url.host_str().unwrap_or_default();
    match literal(host) {
        Some(address) if is_ours(address) => Err(format!("{text:?} leads to {address}")),
        _ => Ok(true),
    }
}

/// The first bytes as addresses of both kinds, and the older one in all its clothes.
fn addresses(input: &[u8]) -> Vec<IpAddr> {
    let mut found = Vec::new();
    if let Some(bytes) = input.first_chunk::<4>() {
        let address = Ipv4Addr::from(*bytes);
        let [a, b, c, d] = *bytes;
        let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        found.push(IpAddr::V4(address));
        found.push(IpAddr::V6(address.to_ipv6_mapped()));
        found.push(IpAddr::V6(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low)));
        found.push(IpAddr::V6(Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1)));
        found.push(IpAddr::V6(Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, high, low)));
    }
    found.extend(input.first_chunk::<16>().map(|bytes| IpAddr::V6(Ipv6Addr::from(*bytes))));
    found
}

/// What is ours is refused, and allowed only by a network that has it.
fn agree(policy: &OutgoingPolicy, address: IpAddr) -> Result<(), String> {
    if is_ours(address) && policy.check(address).is_ok() {
        return Err(format!("{address} is taken for a public address"));
    }
    let Ok(network) = address.to_string().parse::<Network>() else {
        return Err(format!("{address} is no network"));
    };
    if (OutgoingPolicy { allow: vec![network] }).check(address).is_err() {
        return Err(format!("{address} is allowed and refused"));
    }
    Ok(())
}

/// A host as the resolver of the system would read it, which takes numbers in any base, and fewer than four of them.
fn literal(host: &str) -> Option<IpAddr> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let bare = bare.split('%').next().unwrap_or_default();
    bare.parse().ok().or_else(|| numbers(bare).map(IpAddr::V4))
}

fn numbers(host: &str) -> Option<Ipv4Addr> {
    let parts: Vec<u64> = host.trim_end_matches('.').split('.').map(number).collect::<Option<_>>()?;
    let (last, first) = parts.split_last()?;
    let room = 8 * (4_usize.checked_sub(first.len())?);
    if room == 0 || *last >> room != 0 || first.iter().any(|part| *part > 255) {
        return None;
    }
    let high = first.iter().fold(0_u64, |sum, part| sum << 8 | part);
    u32::try_from(high << room | last).ok().map(Ipv4Addr::from)
}

fn number(text: &str) -> Option<u64> {
    if text.contains('+') {
        return None;
    }
    let lower = text.to_ascii_lowercase();
    match lower.strip_prefix("0x") {
        Some("") => Some(0),
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None if lower.len() > 1 && lower.starts_with('0') => u64::from_str_radix(&lower, 8).ok(),
        None => lower.parse().ok(),
    }
}

/// Whether an address is of this machine or of a network that is not public, by the standard library and what it does not know.
fn is_ours(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_ours_v4(address),
        IpAddr::V6(address) => {
            let [first, second, third, .., high, low] = address.segments();
            let inner = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
            let carries_ours = (first == 0x2002 && is_ours_v4(inner(second, third)))
                || ([[0x64, 0xff9b, 0, 0, 0, 0], [0, 0, 0, 0, 0xffff, 0]]
                    .iter()
                    .any(|clothes| address.segments()[..6] == *clothes)
                    && is_ours_v4(inner(high, low)));
            carries_ours
                || address.is_loopback()
                || address.is_unspecified()
                || address.is_multicast()
                || address.is_unique_local()
                || address.is_unicast_link_local()
        }
    }
}

fn is_ours_v4(address: Ipv4Addr) -> bool {
    address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_broadcast()
        || address.is_multicast()
        || address.octets()[0] == 0
}
