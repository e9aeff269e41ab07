//! Where notifications may go: configuration and templates must not make us ask our own machine or network.

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// A range of addresses such as `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: u128,
    /// Of 128 bits; an IPv4 address is taken as one of IPv6.
    prefix: u32,
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let error = || format!("{text:?} is not a network such as 10.0.0.0/8 or fd00::/8");
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().map_err(|_| error())?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(bits), |prefix| prefix.parse::<u32>().map_err(|_| error()))?;
        if prefix > bits {
            return Err(error());
        }
        Ok(Self { address: bits_of(address), prefix: prefix + 128 - bits })
    }
}

impl Network {
    fn contains(&self, address: IpAddr) -> bool {
        let mask = u128::MAX.checked_shl(128 - self.prefix).unwrap_or(0);
        bits_of(address) & mask == self.address & mask
    }
}

fn bits_of(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_ipv6_mapped()),
        IpAddr::V6(address) => u128::from(address),
    }
}

/// Which addresses may be asked. Public ones always; others when a network allows them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutgoingPolicy {
    /// Networks that are allowed although they are not public: `notify_allow_networks`.
    pub allow: Vec<Network>,
}

/// An address that must not be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("refused: {address} is {what}; allow it with notify_allow_networks")]
pub struct Refused {
    address: IpAddr,
    what: &'static str,
}

impl OutgoingPolicy {
    /// Whether an address may be asked.
    pub fn check(&self, address: IpAddr) -> Result<(), Refused> {
        let address = address.to_canonical();
        match kind(address) {
            Some(what) if !self.allow.iter().any(|network| network.contains(address)) => Err(Refused { address, what }),
            _ => Ok(()),
        }
    }

    /// The addresses of a host that may be asked; an error when there is none.
    pub(crate) async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Box<dyn Error + Send + Sync>> {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let found: Vec<SocketAddr> = tokio::net::lookup_host((bare, port)).await?.collect();
        let mut refused = None;
        let mut allowed = Vec::new();
        for address in found {
            match self.check(address.ip()) {
                Ok(()) => allowed.push(address),
                Err(error) => refused = Some(error),
            }
        }
        match refused {
            Some(error) if allowed.is_empty() => Err(error.into()),
            _ if allowed.is_empty() => Err(format!("{host} has no address").into()),
            _ => Ok(allowed),
        }
    }
}

/// What kind of address that is not public.
fn kind(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => kind_v4(address),
        IpAddr::V6(address) => kind_v6(address),
    }
}

fn kind_v4(address: Ipv4Addr) -> Option<&'static str> {
    let [first, second, third, _] = address.octets();
    Some(match (first, second, third) {
        (127, ..) => "loopback",
        (169, 254, _) => "link-local",
        (0, ..) => "of this network",
        (10, ..) | (172, 16..=31, _) | (192, 168, _) => "private",
        (100, 64..=127, _) => "shared by a provider's network",
        (192, 0, 0 | 2) | (198, 51, 100) | (203, 0, 113) | (198, 18..=19, _) => "reserved",
        (224..=239, ..) => "multicast",
        (240.., ..) => "reserved",
        _ => return None,
    })
}

fn kind_v6(address: Ipv6Addr) -> Option<&'static str> {
    let segments = address.segments();
    let embedded = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        kind_v4(Ipv4Addr::new(a, b, c, d))
    };
    match segments[0] {
        _ if address.is_loopback() => Some("loopback"),
        _ if address.is_unspecified() => Some("unspecified"),
        0xfe80..=0xfebf => Some("link-local"),
        0xfec0..=0xfeff | 0xfc00..=0xfdff => Some("private"),
        0xff00.. => Some("multicast"),
        // Addresses of IPv4 in other clothes: NAT64 and 6to4.
        0x64 if segments[1..6] == [0xff9b, 0, 0, 0, 0] => embedded(segments[6], segments[7]),
        0x2002 => embedded(segments[1], segments[2]),
        // Teredo, which hides one of IPv4, and documentation (RFC 3849, RFC 9637).
        0x2001 if matches!(segments[1], 0 | 0xdb8) => Some("reserved"),
        0x3fff if segments[1] < 0x1000 => Some("reserved"),
        // All that is allocated to be reached by everybody (RFC 4291, section 2.4). What translates IPv4 within a network, such
        // as ::ffff:0:10.0.0.1 or 64:ff9b:1::/48, lies outside of it.
        0x2000..=0x3fff => None,
        _ => Some("reserved"),
    }
}

/// Resolves names under the policy. What it answers is what is connected to: a name cannot change in between.
#[derive(Debug)]
pub(crate) struct PolicyResolver(pub(crate) Arc<OutgoingPolicy>);

impl Resolve for PolicyResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = Arc::clone(&self.0);
        Box::pin(async move {
            let addresses = policy.resolve(name.as_str(), 0).await?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Network, OutgoingPolicy};

    #[test]
    fn what_is_not_public_is_refused_unless_allowed() {
        let none = OutgoingPolicy::default();
        let some =
            OutgoingPolicy { allow: ["10.1.0.0/16", "::1"].map(|text| text.parse::<Network>().unwrap()).to_vec() };
        let cases = [
            ("8.8.8.8", true, true),
            ("127.0.0.1", false, false),
            ("127.8.8.8", false, false),
            ("10.1.2.3", false, true),
            ("10.2.2.3", false, false),
            ("::ffff:10.1.2.3", false, true),
            ("::ffff:127.0.0.1", false, false),
            ("169.254.169.254", false, false),
            ("172.31.0.1", false, false),
            ("172.32.0.1", true, true),
            ("192.168.1.1", false, false),
            ("100.64.0.1", false, false),
            ("0.0.0.0", false, false),
            ("224.0.0.1", false, false),
            ("255.255.255.255", false, false),
            ("::1", false, true),
            ("::", false, false),
            ("fe80::1", false, false),
            ("fd00::1", false, false),
            ("ff02::1", false, false),
            ("64:ff9b::7f00:1", false, false),
            ("64:ff9b::808:808", true, true),
            ("64:ff9b:1::a00:1", false, false),
            ("2002:a00:1::", false, false),
            ("::ffff:0:10.1.2.3", false, false),
            ("::8.8.8.8", false, false),
            ("100::1", false, false),
            ("2001:0:808:808::1", false, false),
            ("2001:db8::1", false, false),
            ("3fff:fff::1", false, false),
            ("4000::1", false, false),
            ("2606:4700::1111", true, true),
        ];
        for (text, is_public, is_allowed) in cases {
            let address = text.parse().unwrap();
            assert_eq!(none.check(address).is_ok(), is_public, "{text}");
            assert_eq!(some.check(address).is_ok(), is_allowed, "{text}");
        }
        let error = none.check("169.254.169.254".parse().unwrap()).unwrap_err().to_string();
        assert_eq!(error, "refused: 169.254.169.254 is link-local; allow it with notify_allow_networks");
        for text in ["10.0.0.0/33", "x", "10.0.0.0/", "::/129"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }
}
