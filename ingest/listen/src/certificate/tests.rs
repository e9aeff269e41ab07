//! Certificates that rcgen made are read back.

use rcgen::{CertificateParams, DnType, DnValue, KeyPair, SanType};

use super::*;

fn certificate(params: CertificateParams) -> CertificateDer<'static> {
    let key = KeyPair::generate().expect("a key");
    params.self_signed(&key).expect("a certificate").der().clone()
}

#[test]
fn subject_and_alternative_names_are_read() {
    let mut params = CertificateParams::new(["collector.shop.example".to_owned()]).expect("a DNS name");
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Shop, Inc. + \"Sons\"");
    params.distinguished_name.push(DnType::CommonName, "collector");
    let uri = "spiffe://shop.example/collector".try_into().expect("ASCII");
    params.subject_alt_names.push(SanType::URI(uri));
    let certificate = certificate(params);
    let peer = PeerCertificate::read(&certificate).expect("it can be read");
    assert_eq!(peer.common_name.as_deref(), Some("collector"));
    assert_eq!(peer.subject, "CN=collector,O=Shop\\, Inc. \\+ \\\"Sons\\\"");
    assert_eq!(peer.dns_names, ["collector.shop.example"]);
    assert_eq!(peer.uris, ["spiffe://shop.example/collector"]);
    assert_eq!(peer.fingerprint.len(), 64);
}

#[test]
fn no_value_of_a_name_can_be_taken_for_another_part_of_it() {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, DnValue::Utf8String("viewer,CN=admin\n".into()));
    let peer = PeerCertificate::read(&certificate(params)).expect("it can be read");
    assert_eq!(peer.subject, "CN=viewer\\,CN\\=admin\\0a");
    assert_eq!(peer.common_name.as_deref(), Some("viewer,CN=admin\n"));
}

#[test]
fn of_two_common_names_none_counts() {
    // SEQUENCE { SET { SEQUENCE { 2.5.4.3, "a" } }, SET { SEQUENCE { 2.5.4.3, "b" } } }, without the outer one.
    let one = |letter: u8| [0x31, 10, 0x30, 8, 6, 3, 0x55, 4, 3, 0x0c, 1, letter];
    let (subject, common_name) = name(&[one(b'a'), one(b'b')].concat()).expect("a name");
    assert_eq!((&*subject, common_name), ("CN=b,CN=a", None));
    let (_, common_name) = name(&one(b'a')).expect("a name");
    assert_eq!(common_name.as_deref(), Some("a"));
}

#[test]
fn the_validity_is_read() {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.not_before = rcgen::date_time_ymd(2020, 2, 29);
    params.not_after = rcgen::date_time_ymd(2055, 1, 1);
    assert_eq!(validity(&certificate(params)), Some((1_582_934_400, 2_682_374_400)));
}

#[test]
fn no_prefix_and_no_flipped_byte_of_a_certificate_panics() {
    let whole = certificate(CertificateParams::new(["a.example".to_owned()]).expect("a DNS name"));
    for end in 0..whole.len() {
        let part = CertificateDer::from(&whole[..end]);
        assert_eq!((PeerCertificate::read(&part), validity(&part)), (None, None), "{end} bytes");
    }
    for index in 0..whole.len() {
        for flip in [1, 0x80, 0xff] {
            let mut bytes = whole.to_vec();
            bytes[index] ^= flip;
            let damaged = CertificateDer::from(bytes);
            drop((PeerCertificate::read(&damaged), validity(&damaged)));
        }
    }
}
