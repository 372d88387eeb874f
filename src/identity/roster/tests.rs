//! Admission by pins and URIs, and its end.

use std::time::Duration;

use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};

use super::*;

fn certificate(name: &str, years: std::ops::Range<i32>) -> CertificateDer<'static> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "an organization");
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(years.start, 1, 1);
    params.not_after = date_time_ymd(years.end, 1, 1);
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
}

fn roster(thumbprint: Thumbprint) -> Roster {
    [(thumbprint, Arc::from("laptop"))].into_iter().collect()
}

fn year(year: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs((year - 1970) * 31_557_600)
}

#[test]
fn either_hash_admits() {
    let certificate = certificate("its name", 2020..2040);
    for pin in [Thumbprint::sha1_of(&certificate), Thumbprint::sha256_of(&certificate)] {
        let identity = authenticate(std::slice::from_ref(&certificate), &roster(pin), year(2030)).unwrap();
        assert_eq!((identity.name(), identity.certificate_name()), ("laptop", "its name"));
        assert_eq!(identity.thumbprint(), Thumbprint::sha256_of(&certificate));
    }
}

#[test]
fn who_was_admitted_is_checked_anew_against_another_roster_and_time() {
    let certificate = certificate("its name", 2020..2040);
    let (sha1, sha256) = (Thumbprint::sha1_of(&certificate), Thumbprint::sha256_of(&certificate));
    let chain = [certificate];
    let identity = authenticate(&chain, &roster(sha256), year(2030)).unwrap();
    for pin in [sha1, sha256] {
        assert!(roster(pin).check(&identity, &chain, year(2030)).is_ok());
    }
    let words = |roster: &Roster, now| roster.check(&identity, &chain, now).unwrap_err().to_string();
    assert!(words(&Roster::default(), year(2030)).ends_with("is unknown"));
    let of_another: Roster = [(sha256, Arc::from("other"))].into_iter().collect();
    assert!(words(&of_another, year(2030)).ends_with("is unknown"), "its name and rights were another's");
    assert!(words(&roster(sha256), year(2041)).ends_with("it expired at 2040-01-01T00:00:00Z"));
}

#[test]
fn only_the_first_certificate_counts() {
    let (shown, pinned) = (certificate("a", 2020..2040), certificate("b", 2020..2040));
    let roster = roster(Thumbprint::sha256_of(&pinned));
    assert!(authenticate(&[shown, pinned], &roster, year(2030)).is_err());
}

#[test]
fn each_refusal_has_the_contracts_words() {
    let certificate = certificate("evil\r\nERR", 2020..2040);
    let sha1 = Thumbprint::sha1_of(&certificate);
    let words = |chain: &[CertificateDer<'_>], roster, now| {
        authenticate(chain, &roster, now).unwrap_err().to_string()
    };
    let chain = [certificate];
    assert_eq!(words(&[], Roster::default(), year(2030)), "No certificate was provided");
    assert_eq!(
        words(&chain, Roster::default(), year(2030)),
        format!("certificate (evil\\r\\nERR) thumbprint '{sha1}' is unknown")
    );
    let unusable = format!("certificate (evil\\r\\nERR) thumbprint '{sha1}' cannot be used: ");
    assert_eq!(
        words(&chain, roster(sha1), year(2019)),
        format!("{unusable}it is not valid before 2020-01-01T00:00:00Z")
    );
    assert_eq!(
        words(&chain, roster(sha1), year(2041)),
        format!("{unusable}it expired at 2040-01-01T00:00:00Z")
    );
}

#[test]
fn a_client_that_has_expired_is_nobody() {
    let chain = [certificate("its name", 2020..2040)];
    let sha1 = Thumbprint::sha1_of(&chain[0]);
    let until = |end: u64| roster(sha1).with_expiries([("laptop".into(), year(end))]);
    let words = format!(
        "certificate (its name) thumbprint '{sha1}' cannot be used: its client expired at 2030-01-01T00:00:00Z"
    );
    for (now, admitted) in [(2029, true), (2030, false), (2031, false)] {
        let judged = authenticate(&chain, &until(2030), year(now));
        assert_eq!(judged.is_ok(), admitted, "{now}");
        assert!(judged.is_ok() || judged.unwrap_err().to_string() == words);
    }
    // Of another client's expiry nothing follows.
    let others = roster(sha1).with_expiries([("desk".into(), year(2021))]);
    assert!(authenticate(&chain, &others, year(2030)).is_ok());
    let admitted = authenticate(&chain, &until(2035), year(2029)).unwrap();
    assert_eq!(admitted.ends(), year(2035));
    assert!(admitted.check_validity(year(2034)).is_ok() && admitted.check_validity(year(2035)).is_err());
    // A reload may set another end.
    let checked = |roster: &Roster, now| roster.check(&admitted, &chain, year(now));
    assert_eq!(checked(&until(2030), 2031).unwrap_err().to_string(), words);
    assert_eq!(checked(&until(2030), 2029).unwrap().ends(), year(2030));
    assert!(checked(&roster(sha1), 2039).unwrap().check_validity(year(2039)).is_ok());
}

#[test]
fn what_is_no_certificate_is_never_admitted() {
    let garbage = CertificateDer::from(b"garbage".to_vec());
    let roster = roster(Thumbprint::sha256_of(&garbage));
    let refusal = authenticate(&[garbage], &roster, year(2030)).unwrap_err();
    assert!(matches!(refusal, Rejection::Unusable { ref name, .. } if name == "<Unknown>"), "{refusal}");
}
