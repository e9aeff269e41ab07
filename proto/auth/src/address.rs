//! Where a request comes from.

use std::net::{IpAddr, SocketAddr};

use axum::extract::ConnectInfo;
use http::request::Parts;

use crate::config::AuthConfig;

/// Entries of `X-Forwarded-For` that are looked at.
const HOPS_MAX: usize = 16;

/// The address of the client: that of the connection, or, behind a trusted proxy, the last one in `X-Forwarded-For` that is no
/// trusted proxy. What a client wrote there itself stands before it and counts for nothing.
pub(crate) fn of(parts: &Parts, config: &AuthConfig) -> Option<IpAddr> {
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>()?.0.ip().to_canonical();
    let is_trusted = |address: &IpAddr| config.trusted_proxies.contains(address);
    if !is_trusted(&peer) {
        return Some(peer);
    }
    let mut address = peer;
    let headers: Vec<&str> =
        parts.headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok()).collect();
    for hop in headers.iter().rev().flat_map(|value| value.rsplit(',')).take(HOPS_MAX) {
        let Ok(hop) = hop.trim().parse::<IpAddr>() else { break };
        address = hop.to_canonical();
        if !is_trusted(&address) {
            break;
        }
    }
    Some(address)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    #[test]
    fn only_a_trusted_proxy_is_believed() {
        let config =
            AuthConfig { trusted_proxies: vec![[10, 0, 0, 1].into(), [10, 0, 0, 2].into()], ..AuthConfig::default() };
        for (peer, forwarded, expected) in [
            ("192.0.2.9:5", "1.1.1.1", "192.0.2.9"),
            ("10.0.0.1:5", "1.1.1.1", "1.1.1.1"),
            ("10.0.0.1:5", "6.6.6.6, 1.1.1.1, 10.0.0.2", "1.1.1.1"),
            ("10.0.0.1:5", "6.6.6.6, nonsense, 10.0.0.2", "10.0.0.2"),
            ("[::ffff:10.0.0.1]:5", "2001:db8::1", "2001:db8::1"),
        ] {
            let mut request = Request::builder().header("x-forwarded-for", forwarded).body(()).expect("a request");
            request.extensions_mut().insert(ConnectInfo::<SocketAddr>(peer.parse().expect("an address")));
            let found = of(&request.into_parts().0, &config);
            assert_eq!(found, Some(expected.parse().expect("an address")), "{peer} {forwarded}");
        }
    }
}
