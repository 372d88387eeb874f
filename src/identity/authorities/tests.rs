//! Chains of all kinds, and the clients they admit.

use std::ops::Range;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, KeyPair, KeyUsagePurpose, NameConstraints, SanType, date_time_ymd,
};

use super::*;
use crate::identity::AuthorityError;
use crate::identity::{KnownBy, PeerIdentity, Rejection, Roster, authenticate};

pub(super) type Issuer = CertifiedIssuer<'static, KeyPair>;

pub(super) const LAPTOP: &str = "spiffe://example.org/laptop";
pub(super) const NOW: u64 = 2030;

pub(super) fn year(year: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs((year - 1970) * 31_557_600)
}

pub(super) fn params(name: &str, years: Range<i32>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(years.start, 1, 1);
    params.not_after = date_time_ymd(years.end, 1, 1);
    params
}

pub(super) fn ca(name: &str, years: Range<i32>) -> CertificateParams {
    let mut params = params(name, years);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

pub(super) fn leaf(uris: &[&str]) -> CertificateParams {
    let mut params = params("its name", 2020..2040);
    params.subject_alt_names = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect();
    params
}

pub(super) fn root(params: CertificateParams) -> Issuer {
    Issuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

pub(super) fn below(params: CertificateParams, issuer: &Issuer) -> Issuer {
    Issuer::signed_by(params, KeyPair::generate().unwrap(), issuer).unwrap()
}

pub(super) fn signed(params: CertificateParams, issuer: &Issuer) -> CertificateDer<'static> {
    params.signed_by(&KeyPair::generate().unwrap(), issuer).unwrap().der().clone()
}

pub(super) fn authority(issuer: &Issuer) -> Authority {
    Authority::new(issuer.der().clone()).unwrap()
}

pub(super) fn roster(authorities: &[&Issuer]) -> Roster {
    let authorities = authorities.iter().map(|issuer| authority(issuer));
    Roster::default().with_uris(authorities, [(LAPTOP.parse().unwrap(), Arc::from("laptop"))])
}

/// A root, an authority below it, and the certificate that leads from there to the root.
fn two() -> (Issuer, Issuer, CertificateDer<'static>) {
    let root = root(ca("Root", 2015..2060));
    let middle = below(ca("Middle", 2016..2050), &root);
    let der = middle.der().clone();
    (root, middle, der)
}

pub(super) fn admitted(chain: &[CertificateDer<'_>], roster: &Roster) -> PeerIdentity {
    authenticate(chain, roster, year(NOW)).unwrap()
}

/// Runs a refused chain; returns the peer's message and the additional detail in the log.
pub(super) fn refused(chain: &[CertificateDer<'_>], roster: &Roster) -> (String, String) {
    let rejection = authenticate(chain, roster, year(NOW)).unwrap_err();
    (rejection.to_string(), rejection.detail().unwrap_or_default().to_owned())
}

#[track_caller]
pub(super) fn is_unknown(chain: &[CertificateDer<'_>], roster: &Roster, detail: &str) {
    let (told, logged) = refused(chain, roster);
    assert!(told.ends_with("' is unknown"), "{told}");
    assert!(logged.contains(detail), "{logged}");
}

#[track_caller]
fn is_unusable(chain: &[CertificateDer<'_>], roster: &Roster, reason: &str) {
    let (told, _) = refused(chain, roster);
    assert!(told.contains("' cannot be used: ") && told.contains(reason), "{told}");
}

#[test]
fn a_uri_admits_where_the_chain_leads_to_an_authority() {
    let (root, middle, der) = two();
    let chain = [signed(leaf(&[LAPTOP]), &middle), der.clone()];
    let identity = admitted(&chain, &roster(&[&root]));
    assert_eq!((identity.name(), identity.certificate_name()), ("laptop", "its name"));
    assert_eq!(identity.known_by().to_string(), format!("{LAPTOP} by Root"));
    let direct = admitted(&[signed(leaf(&[LAPTOP]), &root)], &roster(&[&root]));
    assert_eq!(direct.name(), "laptop");
    // A subordinate authority may be trusted alone, and a chain may include a trusted authority's own
    // certificate.
    let lower = roster(&[&middle]);
    assert_eq!(admitted(&chain[..1], &lower).known_by().to_string(), format!("{LAPTOP} by Middle"));
    assert_eq!(admitted(&[chain[0].clone(), der, root.der().clone()], &roster(&[&root])).name(), "laptop");
}

#[test]
fn other_names_beside_the_uri_do_no_harm() {
    let (root, ..) = two();
    let mut params = leaf(&[LAPTOP]);
    params.subject_alt_names.push(SanType::DnsName("laptop.example.org".try_into().unwrap()));
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    assert_eq!(admitted(&[signed(params, &root)], &roster(&[&root])).name(), "laptop");
}

#[test]
fn what_no_authority_signed_is_unknown_whatever_else_is_wrong_with_it() {
    let (root, middle, _) = two();
    let roster = roster(&[&root]);
    let of_itself =
        |params: CertificateParams| params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone();
    is_unknown(&[of_itself(leaf(&[LAPTOP]))], &roster, "leads to no authority");
    let mut expired = leaf(&[LAPTOP]);
    expired.not_after = date_time_ymd(2021, 1, 1);
    is_unknown(&[of_itself(expired)], &roster, "expired");
    is_unknown(&[of_itself(leaf(&[LAPTOP, "spiffe://example.org/b"]))], &roster, "leads to no authority");
    // Incomplete chain, or a chain to another root.
    is_unknown(&[signed(leaf(&[LAPTOP]), &middle)], &roster, "leads to no authority");
    let other = self::root(ca("Other", 2015..2060));
    let chain = [signed(leaf(&[LAPTOP]), &other), other.der().clone()];
    is_unknown(&chain, &roster, "leads to no authority");
}

#[test]
fn an_authoritys_name_is_worth_nothing_without_its_key() {
    let (root, ..) = two();
    let forger = self::root(ca("Root", 2015..2060));
    let forged = signed(leaf(&[LAPTOP]), &forger);
    is_unknown(std::slice::from_ref(&forged), &roster(&[&root]), "a signature in its chain");
    is_unknown(&[forged, root.der().clone()], &roster(&[&root]), "");
    let middle = below(ca("Middle", 2016..2050), &forger);
    let chain = [signed(leaf(&[LAPTOP]), &middle), middle.der().clone()];
    is_unknown(&chain, &roster(&[&root]), "a signature in its chain");
}

#[test]
fn a_certificate_of_an_authority_without_the_uri_of_a_client_is_unknown() {
    let (root, ..) = two();
    let roster = roster(&[&root]);
    for uris in [&[][..], &["spiffe://example.org/laptop/"], &["spiffe://example.org/Laptop"], &["urn:a"]] {
        is_unknown(&[signed(leaf(uris), &root)], &roster, "no client has a URI of it");
    }
    let mut common_name = leaf(&[]);
    common_name.distinguished_name.push(DnType::CommonName, LAPTOP);
    is_unknown(&[signed(common_name, &root)], &roster, "no client has a URI of it");
}

#[test]
fn the_holder_of_what_an_authority_signed_is_told_what_is_wrong_with_it() {
    let (root, ..) = two();
    let roster = roster(&[&root]);
    let two = leaf(&[LAPTOP, "spiffe://example.org/other"]);
    is_unusable(&[signed(two, &root)], &roster, "it has 2 URIs, and a client's has exactly one");
    let mut old = leaf(&[LAPTOP]);
    old.not_after = date_time_ymd(2021, 1, 1);
    is_unusable(&[signed(old, &root)], &roster, "used: it expired at 2021-01-01T00:00:00Z");
    let mut early = leaf(&[LAPTOP]);
    early.not_before = date_time_ymd(2035, 1, 1);
    is_unusable(&[signed(early, &root)], &roster, "used: it is not valid before 2035-01-01T00:00:00Z");
    let mut of_server = leaf(&[LAPTOP]);
    of_server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    is_unusable(&[signed(of_server, &root)], &roster, "(clientAuth)");
    for (usages, words) in [
        (&[KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign][..], "keyCertSign"),
        (&[KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::CrlSign], "cRLSign"),
        (&[KeyUsagePurpose::KeyAgreement], "lacks digitalSignature"),
    ] {
        let mut params = leaf(&[LAPTOP]);
        params.key_usages = usages.to_vec();
        is_unusable(&[signed(params, &root)], &roster, words);
    }
}

#[test]
fn a_certificate_that_is_marked_as_an_authority_is_no_clients() {
    let (root, ..) = two();
    let mut params = leaf(&[LAPTOP]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    is_unknown(&[signed(params, &root)], &roster(&[&root]), "(CA:TRUE)");
}

#[test]
fn all_of_the_chain_has_to_be_valid() {
    let root = root(ca("Root", 2015..2060));
    let middle = below(ca("Middle", 2016..2025), &root);
    let chain = [signed(leaf(&[LAPTOP]), &middle), middle.der().clone()];
    is_unusable(&chain, &roster(&[&root]), "certificate (Middle): it expired at 2025-01-01T00:00:00Z");
    let old_root = self::root(ca("Root", 2015..2025));
    let chain = [signed(leaf(&[LAPTOP]), &old_root)];
    is_unusable(&chain, &roster(&[&old_root]), "authority (Root): it expired at 2025-01-01T00:00:00Z");
}

#[test]
fn an_identity_ends_with_the_first_of_its_chain() {
    let root = root(ca("Root", 2015..2035));
    let middle = below(ca("Middle", 2016..2033), &root);
    let chain = [signed(leaf(&[LAPTOP]), &middle), middle.der().clone()];
    let validity = |chain: &[CertificateDer<'_>], root: &Issuer| admitted(chain, &roster(&[root])).validity();
    let end = |year| SystemTime::from(date_time_ymd(year, 1, 1));
    assert_eq!(validity(&chain, &root), Validity { not_before: end(2020), not_after: end(2033) });
    assert_eq!(validity(&[signed(leaf(&[LAPTOP]), &root)], &root).not_after, end(2035));
    let identity = admitted(&chain, &roster(&[&root]));
    let told = identity.check_validity(year(2034)).unwrap_err().to_string();
    assert!(told.ends_with("of its chain, a certificate: it expired at 2033-01-01T00:00:00Z"), "{told}");
    let told = identity.check_validity(year(2041)).unwrap_err().to_string();
    assert!(told.ends_with("used: it expired at 2040-01-01T00:00:00Z"), "{told}");
}

#[test]
fn authorities_are_held_to_their_own_constraints() {
    let mut short = ca("Short", 2015..2060);
    short.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let root = root(ca("Root", 2015..2060));
    let short = below(short, &root);
    let middle = below(ca("Middle", 2016..2050), &short);
    let chain = [signed(leaf(&[LAPTOP]), &middle), middle.der().clone(), short.der().clone()];
    is_unknown(&chain, &roster(&[&root]), "longer than an authority in it allows");

    let plain = below(params("Plain", 2016..2050), &root);
    let chain = [signed(leaf(&[LAPTOP]), &plain), plain.der().clone()];
    is_unknown(&chain, &roster(&[&root]), "may not sign others");

    let mut no_signer = ca("No signer", 2016..2050);
    no_signer.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let no_signer = below(no_signer, &root);
    let chain = [signed(leaf(&[LAPTOP]), &no_signer), no_signer.der().clone()];
    is_unusable(&chain, &roster(&[&root]), "may not sign others");
}

#[test]
fn constraints_on_names_hold_and_those_on_uris_forbid_all() {
    let root = root(ca("Root", 2015..2060));
    let mut of_dns = ca("Of DNS", 2016..2050);
    let permitted_subtrees = vec![GeneralSubtree::DnsName("example.org".to_owned())];
    of_dns.name_constraints = Some(NameConstraints { permitted_subtrees, excluded_subtrees: vec![] });
    let of_dns = below(of_dns, &root);
    let chain = |params| [signed(params, &of_dns), of_dns.der().clone()];
    assert_eq!(admitted(&chain(leaf(&[LAPTOP])), &roster(&[&root])).name(), "laptop");
    let mut elsewhere = leaf(&[LAPTOP]);
    elsewhere.subject_alt_names.push(SanType::DnsName("example.com".try_into().unwrap()));
    is_unknown(&chain(elsewhere), &roster(&[&root]), "a name constraint");

    // A constraint that permits URIs whose host is example.org. The client's URI has that host, but `webpki`
    // does not check URIs.
    let content = [&[0x30, 17, 0xa0, 15, 0x30, 13, 0x86, 11][..], b"example.org"].concat();
    let mut of_uris = ca("Of URIs", 2016..2050);
    of_uris.custom_extensions = vec![CustomExtension::from_oid_content(&[2, 5, 29, 30], content)];
    let of_uris = below(of_uris, &root);
    let chain = [signed(leaf(&[LAPTOP]), &of_uris), of_uris.der().clone()];
    is_unknown(&chain, &roster(&[&root]), "constraints on URIs are not understood");
}

#[test]
fn long_chains_are_not_looked_at() {
    let root = root(ca("Root", 2015..2060));
    let mut own = vec![signed(leaf(&[LAPTOP]), &root)];
    own.extend((0..5).map(|number| self::root(ca(&format!("Other {number}"), 2015..2060)).der().clone()));
    assert_eq!(admitted(&own, &roster(&[&root])).name(), "laptop", "six are taken");
    own.push(root.der().clone());
    is_unknown(&own, &roster(&[&root]), "7 certificates, and 6 are the most");
}

#[test]
fn a_pin_comes_before_a_uri() {
    let (root, ..) = two();
    let certificate = signed(leaf(&[LAPTOP]), &root);
    let pins = [(Thumbprint::sha256_of(&certificate), Arc::<str>::from("pinned"))];
    let uris = [(LAPTOP.parse().unwrap(), Arc::from("laptop"))];
    let roster: Roster = pins.into_iter().collect();
    let roster = roster.with_uris([authority(&root)], uris);
    let identity = admitted(std::slice::from_ref(&certificate), &roster);
    assert_eq!((identity.name(), identity.known_by()), ("pinned", &KnownBy::Pin));
    assert_eq!(roster.clients().into_iter().collect::<Vec<_>>(), ["laptop", "pinned"]);
    // An identity admitted as another client does not become this one on a re-check.
    let rejection = roster.check(
        &admitted(std::slice::from_ref(&certificate), &self::roster(&[&root])),
        &[certificate],
        year(NOW),
    );
    assert!(matches!(rejection, Err(Rejection::Unknown { .. })), "{rejection:?}");
}

#[test]
fn who_was_admitted_is_checked_anew_against_other_authorities() {
    let (old, new) = (root(ca("Old", 2015..2060)), root(ca("New", 2015..2060)));
    let chain = [signed(leaf(&[LAPTOP]), &old)];
    let identity = admitted(&chain, &roster(&[&old]));
    let check = |authorities: &[&Issuer]| roster(authorities).check(&identity, &chain, year(NOW));
    assert!(check(&[&old]).is_ok() && check(&[&new, &old]).is_ok());
    let words = check(&[&new]).unwrap_err().to_string();
    assert!(words.ends_with("is unknown"), "{words}");
    let no_uri =
        Roster::default().with_uris([authority(&old)], [("urn:a".parse().unwrap(), Arc::from("laptop"))]);
    assert!(no_uri.check(&identity, &chain, year(NOW)).is_err());
    let of_another =
        Roster::default().with_uris([authority(&old)], [(LAPTOP.parse().unwrap(), Arc::from("desk"))]);
    assert!(of_another.check(&identity, &chain, year(NOW)).is_err(), "its name and rights were another's");
    assert!(check(&[&old]).is_ok_and(|_| roster(&[&old]).check(&identity, &chain, year(2041)).is_err()));
    // Moved from its URI to a pin: the same client, known by something else.
    let pins: Roster = [(identity.thumbprint(), Arc::<str>::from("laptop"))].into_iter().collect();
    assert_eq!(pins.check(&identity, &chain, year(NOW)).unwrap().known_by(), &KnownBy::Pin);
}

/// An authority with the same key and another end: the client's validity follows that end.
#[test]
fn an_authority_that_is_renewed_moves_the_end() {
    let key = KeyPair::generate().unwrap();
    let der = key.serialize_der();
    let same_key = || KeyPair::try_from(der.clone()).unwrap();
    let short = Issuer::self_signed(ca("Root", 2015..2031), same_key()).unwrap();
    let long = Issuer::self_signed(ca("Root", 2015..2050), same_key()).unwrap();
    let chain = [signed(leaf(&[LAPTOP]), &short)];
    let identity = admitted(&chain, &roster(&[&short]));
    let renewed = roster(&[&long]).check(&identity, &chain, year(NOW)).unwrap();
    assert!(identity.check_validity(year(2032)).is_err() && renewed.check_validity(year(2032)).is_ok());
    let shortened = roster(&[&short]).check(&renewed, &chain, year(NOW)).unwrap();
    assert!(shortened.check_validity(year(2032)).is_err());
}

#[test]
fn only_what_may_sign_others_is_an_authority() {
    let (root, ..) = two();
    assert_eq!(Authority::new(b"garbage".to_vec().into()), Err(AuthorityError::Unreadable));
    assert_eq!(Authority::new(signed(leaf(&[LAPTOP]), &root)), Err(AuthorityError::Unmarked));
    let mut no_signer = ca("No signer", 2016..2050);
    no_signer.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    assert_eq!(Authority::new(self::root(no_signer).der().clone()), Err(AuthorityError::MayNotSign));
    assert_eq!(authority(&root).name(), "Root");
}
