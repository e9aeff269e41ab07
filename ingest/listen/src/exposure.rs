//! Who may reach a listener: without TLS and authentication nobody but this machine, unless that is said in so many words.

use std::fmt;
use std::net::SocketAddr;

/// A listener as the policy sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Door {
    /// Its name in the configuration: `otlp_grpc`.
    pub name: &'static str,
    /// Where it listens.
    pub address: SocketAddr,
    /// Whether it speaks TLS.
    pub has_tls: bool,
    /// Whether it knows who asks: by credentials, or by a certificate that it requires.
    pub has_auth: bool,
}

/// What is allowed explicitly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// `insecure_no_tls`
    pub no_tls: bool,
    /// `insecure_no_auth`
    pub no_auth: bool,
}

/// A listener that others reach and that lacks something, by explicit setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exposed {
    /// The listener.
    pub door: Door,
    /// `tls` or `auth`.
    pub lacks: &'static str,
}

/// Listeners that would be open to others, with what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal(Vec<(Door, Vec<Lack>)>);

impl std::error::Error for Refusal {}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lack {
    Tls,
    Auth,
}

impl Lack {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Tls => "tls",
            Self::Auth => "auth",
        }
    }

    const fn remedy(self) -> &'static str {
        match self {
            Self::Tls => "no TLS: set tls_cert_file and tls_key_file, or allow it with --insecure-no-tls",
            Self::Auth => {
                "no authentication: set --auth required, or require client certificates with tls_client_ca_file, or allow it \
                 with --insecure-no-auth"
            }
        }
    }
}

/// Decides whether these listeners may be opened.
///
/// # Errors
///
/// The listeners that others could reach without TLS or without authentication, where that is not allowed.
pub fn check_exposure(doors: &[Door], allowed: Allowed) -> Result<Vec<Exposed>, Refusal> {
    let mut exposed = Vec::new();
    let mut refused = Vec::new();
    for door in doors.iter().filter(|door| !is_loopback(door.address)) {
        let lacks = [(Lack::Tls, door.has_tls, allowed.no_tls), (Lack::Auth, door.has_auth, allowed.no_auth)];
        let lacks = lacks.into_iter().filter(|(_, has, _)| !has);
        let (tolerated, intolerable): (Vec<_>, Vec<_>) = lacks.partition(|(_, _, is_allowed)| *is_allowed);
        exposed.extend(tolerated.into_iter().map(|(lack, ..)| Exposed { door: *door, lacks: lack.as_str() }));
        if !intolerable.is_empty() {
            refused.push((*door, intolerable.into_iter().map(|(lack, ..)| lack).collect()));
        }
    }
    if refused.is_empty() { Ok(exposed) } else { Err(Refusal(refused)) }
}

/// Whether only this machine can reach an address. An IPv4 address within IPv6 is what it is within.
fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "will not listen where others could read and write all telemetry:")?;
        for (door, lacks) in &self.0 {
            write!(formatter, "\n  {} = {} is not a loopback address, and has", door.name, door.address)?;
            for lack in lacks {
                write!(formatter, "\n    - {}", lack.remedy())?;
            }
            let flag = door.name.replace('_', "-");
            write!(formatter, "\n    or listen on this machine only: --{flag} 127.0.0.1:{}", door.address.port())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOPBACK: [&str; 5] =
        ["127.0.0.1:4317", "127.255.255.254:0", "[::1]:4317", "[::ffff:127.0.0.1]:4317", "[::ffff:127.9.9.9]:1"];

    /// Addresses that look like loopback are among them: `::127.0.0.1` is a deprecated form that the kernel routes.
    const REACHABLE: [&str; 11] = [
        "0.0.0.0:4317",
        "[::]:4317",
        "[::ffff:0.0.0.0]:4317",
        "10.0.0.1:4317",
        "192.168.1.1:4317",
        "169.254.1.1:4317",
        "203.0.113.7:4317",
        "[::127.0.0.1]:4317",
        "[fe80::1]:4317",
        "[fd00::1]:4317",
        "[2001:db8::1]:4317",
    ];

    fn door(address: &str, has_tls: bool, has_auth: bool) -> Door {
        Door { name: "otlp_grpc", address: address.parse().expect("an address"), has_tls, has_auth }
    }

    fn all_allowances() -> impl Iterator<Item = Allowed> {
        [(false, false), (true, false), (false, true), (true, true)]
            .into_iter()
            .map(|(no_tls, no_auth)| Allowed { no_tls, no_auth })
    }

    #[test]
    fn this_machine_may_come_in_as_it_is() {
        for address in LOOPBACK {
            for allowed in all_allowances() {
                let open = check_exposure(&[door(address, false, false)], allowed);
                assert_eq!(open, Ok(vec![]), "{address}");
            }
        }
    }

    #[test]
    fn others_come_in_with_tls_and_authentication_or_by_explicit_setting() {
        for address in REACHABLE {
            for (has_tls, has_auth) in [(false, false), (true, false), (false, true), (true, true)] {
                for allowed in all_allowances() {
                    let result = check_exposure(&[door(address, has_tls, has_auth)], allowed);
                    let is_open = (has_tls || allowed.no_tls) && (has_auth || allowed.no_auth);
                    assert_eq!(result.is_ok(), is_open, "{address} {has_tls} {has_auth} {allowed:?}");
                    let lacks = result.map(|exposed| exposed.iter().map(|exposed| exposed.lacks).collect::<Vec<_>>());
                    if let Ok(lacks) = lacks {
                        assert_eq!(lacks.contains(&"tls"), !has_tls, "what is allowed is still told");
                        assert_eq!(lacks.contains(&"auth"), !has_auth);
                    }
                }
            }
        }
    }

    #[test]
    fn the_refusal_says_exactly_what_to_set() {
        let api = Door { name: "http", ..door("[::]:4319", true, false) };
        let doors = [door("0.0.0.0:4317", false, false), door("127.0.0.1:4318", false, false), api];
        let refusal = check_exposure(&doors, Allowed::default()).expect_err("two are open").to_string();
        let expected = "will not listen where others could read and write all telemetry:
  otlp_grpc = 0.0.0.0:4317 is not a loopback address, and has
    - no TLS: set tls_cert_file and tls_key_file, or allow it with --insecure-no-tls
    - no authentication: set --auth required, or require client certificates with tls_client_ca_file, or allow it with --insecure-no-auth
    or listen on this machine only: --otlp-grpc 127.0.0.1:4317
  http = [::]:4319 is not a loopback address, and has
    - no authentication: set --auth required, or require client certificates with tls_client_ca_file, or allow it with --insecure-no-auth
    or listen on this machine only: --http 127.0.0.1:4319";
        assert_eq!(refusal, expected);
        let tls_only = Allowed { no_tls: true, no_auth: false };
        let refusal = check_exposure(&doors, tls_only).expect_err("who asks is still unknown").to_string();
        assert!(!refusal.contains("no TLS"), "{refusal}");
    }
}
