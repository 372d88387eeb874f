//! The reach of revocation lists.

use rcgen::{
    CertificateParams, CertificateRevocationListParams, CertifiedIssuer, CrlDistributionPoint,
    CrlIssuingDistributionPoint, CrlScope, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType,
    date_time_ymd,
};
use rustls::pki_types::CertificateDer;
use std::time::Duration;

use super::*;
use crate::identity::{Authority, PeerIdentity, Rejection, Roster, authenticate};

type Issuer = CertifiedIssuer<'static, KeyPair>;

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_900_000_000)
}

fn params(name: &str, serial: u64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.serial_number = Some(serial.into());
    params
}

fn ca(name: &str, serial: u64) -> CertificateParams {
    let mut params = params(name, serial);
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params
}

fn root(name: &str) -> Issuer {
    Issuer::self_signed(ca(name, 1), KeyPair::generate().unwrap()).unwrap()
}

fn leaf(serial: u64, issuer: &Issuer) -> CertificateDer<'static> {
    let mut params = params("leaf", serial);
    params.subject_alt_names = vec![SanType::URI("urn:laptop".try_into().unwrap())];
    params.signed_by(&KeyPair::generate().unwrap(), issuer).unwrap().der().clone()
}

fn list_params(serials: &[u64]) -> CertificateRevocationListParams {
    let revoked = |serial: &u64| RevokedCertParams {
        serial_number: (*serial).into(),
        revocation_time: date_time_ymd(2022, 1, 1),
        reason_code: None,
        invalidity_date: None,
    };
    CertificateRevocationListParams {
        this_update: date_time_ymd(2022, 1, 1),
        next_update: date_time_ymd(2023, 1, 1),
        crl_number: 1.into(),
        issuing_distribution_point: None,
        revoked_certs: serials.iter().map(revoked).collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    }
}

fn list(issuer: &Issuer, serials: &[u64]) -> RevocationList {
    RevocationList::new(list_params(serials).signed_by(issuer).unwrap().der()).unwrap()
}

fn roster(authorities: &[&Issuer], lists: &[RevocationList]) -> Roster {
    let authorities = authorities.iter().map(|issuer| Authority::new(issuer.der().clone()).unwrap());
    let uris = [("urn:laptop".parse().unwrap(), Arc::from("laptop"))];
    Roster::default().with_uris(authorities, uris).without_revoked(lists.iter().cloned())
}

fn admit(chain: &[CertificateDer<'_>], roster: &Roster) -> Result<PeerIdentity, Rejection> {
    authenticate(chain, roster, now())
}

#[track_caller]
fn is_unusable(chain: &[CertificateDer<'_>], roster: &Roster, words: &str) {
    let told = admit(chain, roster).unwrap_err().to_string();
    assert!(told.contains("cannot be used: ") && told.contains(words), "{told}");
}

#[test]
fn what_stands_in_the_list_of_its_authority_is_taken_back() {
    let (root, other) = (root("Root"), root("Other"));
    let roster = roster(&[&root, &other], &[list(&root, &[7, 9])]);
    for serial in [7, 9] {
        is_unusable(&[leaf(serial, &root)], &roster, "was revoked");
    }
    assert!(admit(&[leaf(8, &root)], &roster).is_ok());
    assert!(admit(&[leaf(7, &other)], &roster).is_ok(), "the number of another authority's");
}

#[test]
fn an_authority_that_is_taken_back_vouches_for_nobody() {
    let root = root("Root");
    let middle = Issuer::signed_by(ca("Middle", 5), KeyPair::generate().unwrap(), &root).unwrap();
    let chain = [leaf(7, &middle), middle.der().clone()];
    assert!(
        admit(&chain, &roster(&[&root], &[list(&root, &[7])])).is_ok(),
        "its number at another authority"
    );
    is_unusable(&chain, &roster(&[&root], &[list(&root, &[5])]), "was revoked");
    is_unusable(&chain, &roster(&[&root], &[list(&root, &[]), list(&middle, &[7])]), "was revoked");
}

/// Such a list proves nothing, so nobody is admitted past it.
#[test]
fn a_list_that_its_authority_did_not_sign_keeps_its_clients_out() {
    let (real, forger) = (root("Root"), root("Root"));
    is_unusable(
        &[leaf(8, &real)],
        &roster(&[&real], &[list(&forger, &[])]),
        "a revocation list for its chain",
    );
    let mut no_signer = ca("Middle", 5);
    no_signer.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let signs = Issuer::signed_by(no_signer.clone(), KeyPair::generate().unwrap(), &real).unwrap();
    let chain = [leaf(8, &signs), signs.der().clone()];
    assert!(admit(&chain, &roster(&[&real], &[list(&signs, &[])])).is_ok());
}

#[test]
fn a_list_takes_back_what_was_admitted_before() {
    let root = root("Root");
    let (before, after) = (roster(&[&root], &[list(&root, &[])]), roster(&[&root], &[list(&root, &[7])]));
    let chain = [leaf(7, &root)];
    let identity = admit(&chain, &before).unwrap();
    assert!(before.check(&identity, &chain, now()).is_ok());
    let told = after.check(&identity, &chain, now()).unwrap_err().to_string();
    assert!(told.contains("was revoked"), "{told}");
}

#[test]
fn what_is_no_whole_list_is_refused() {
    let root = root("Root");
    assert_eq!(RevocationList::new(b"garbage"), Err(RevocationError::Unreadable));
    assert_eq!(RevocationList::new(root.der()), Err(RevocationError::Unreadable));
    let scope = CrlIssuingDistributionPoint {
        distribution_point: CrlDistributionPoint { uris: vec!["http://example.org/crl".to_owned()] },
        scope: Some(CrlScope::UserCertsOnly),
    };
    let of_users =
        CertificateRevocationListParams { issuing_distribution_point: Some(scope), ..list_params(&[7]) };
    let of_users = RevocationList::new(of_users.signed_by(&root).unwrap().der()).unwrap();
    assert_eq!((of_users.issuer(), of_users.next), ("Root", Some(date_time_ymd(2023, 1, 1).into())));
}

/// Happens when one list follows the other and a reload has not finished.
#[test]
fn of_two_lists_of_one_issuer_both_count() {
    let (one, other) = (root("one"), root("other"));
    let lists = [list(&one, &[5]), list(&other, &[7]), list(&one, &[6]), list(&one, &[])];
    let roster = roster(&[&one, &other], &lists);
    for serial in [5, 6] {
        is_unusable(&[leaf(serial, &one)], &roster, "was revoked");
    }
    is_unusable(&[leaf(7, &other)], &roster, "was revoked");
    assert!(admit(&[leaf(7, &one)], &roster).is_ok());
    assert!(admit(&[leaf(5, &other)], &roster).is_ok());
}

/// Certificates and lists name the places where lists are published, but files are copied from elsewhere.
#[test]
fn a_list_counts_wherever_it_says_that_it_is_published() {
    let root = root("Root");
    let at = |uri: &str| CrlDistributionPoint { uris: vec![uri.to_owned()] };
    let leaf_at = |uris: &[&str]| {
        let mut params = params("leaf", 5);
        params.subject_alt_names = vec![SanType::URI("urn:laptop".try_into().unwrap())];
        params.crl_distribution_points = uris.iter().map(|uri| at(uri)).collect();
        params.signed_by(&KeyPair::generate().unwrap(), &root).unwrap().der().clone()
    };
    let list_at = |uri: &str, scope, serial| {
        let point = CrlIssuingDistributionPoint { distribution_point: at(uri), scope };
        let params = CertificateRevocationListParams {
            issuing_distribution_point: Some(point),
            ..list_params(&[serial])
        };
        RevocationList::new(params.signed_by(&root).unwrap().der()).unwrap()
    };
    for certificate in [leaf_at(&["http://one.example/crl"]), leaf_at(&[])] {
        for uri in ["http://one.example/crl", "https://mirror.example/crl"] {
            for scope in [None, Some(CrlScope::UserCertsOnly), Some(CrlScope::CaCertsOnly)] {
                let roster = |serial| roster(&[&root], &[list_at(uri, scope, serial)]);
                let chain = std::slice::from_ref(&certificate);
                is_unusable(chain, &roster(5), "was revoked");
                assert!(admit(chain, &roster(6)).is_ok());
            }
        }
    }
}

#[test]
fn a_list_that_fits_no_authority_is_told_of() {
    let (one, other, forger) = (root("one"), root("other"), root("one"));
    let authorities = [&one, &other].map(|issuer| Authority::new(issuer.der().clone()).unwrap());
    let authorities: Vec<_> = authorities.iter().collect();
    let misfit = |list: &RevocationList| list.misfit_of(&authorities);
    assert_eq!(misfit(&list(&one, &[5])), None);
    assert!(
        misfit(&list(&forger, &[5])).unwrap().starts_with("it is not signed by the authority of that name")
    );
    assert!(misfit(&list(&root("third"), &[5])).unwrap().starts_with("no authority here has that name"));
    // The same key, and the name in other letters.
    let key = KeyPair::try_from(one.key().serialize_der()).unwrap();
    let renamed = Issuer::self_signed(ca("ONE", 1), key).unwrap();
    assert_eq!(misfit(&list(&renamed, &[5])), None);
}

/// A renewed authority, or a tool that writes lists, may spell the name in another encoding.
#[test]
fn a_list_counts_however_it_spells_the_name_of_the_authority_that_signed_it() {
    let root = root("Root");
    let key = KeyPair::try_from(root.key().serialize_der()).unwrap();
    let renamed = Issuer::self_signed(ca("ROOT", 1), key).unwrap();
    let roster = roster(&[&root], &[list(&renamed, &[5])]);
    is_unusable(&[leaf(5, &root)], &roster, "was revoked");
    assert!(admit(&[leaf(6, &root)], &roster).is_ok());
}

#[test]
fn an_authority_that_one_above_it_revoked_vouches_for_nobody_though_it_is_named() {
    let root = root("Root");
    let middle = Issuer::signed_by(ca("Middle", 9), KeyPair::generate().unwrap(), &root).unwrap();
    for authorities in [&[&root, &middle][..], &[&middle]] {
        let chain = [leaf(5, &middle), middle.der().clone()];
        for chain in [&chain[..1], &chain] {
            assert!(admit(chain, &roster(authorities, &[list(&root, &[8])])).is_ok());
            let told = admit(chain, &roster(authorities, &[list(&root, &[9])])).unwrap_err().to_string();
            assert!(told.contains("was revoked"), "{told}");
        }
    }
}

#[test]
fn an_authority_that_can_vouch_for_nobody_is_told_of() {
    let doubt = |issuer: &Issuer| Authority::new(issuer.der().clone()).unwrap().doubt();
    assert_eq!(doubt(&root("Root")), None);
    let constrained = |subtree| {
        let mut params = ca("Constrained", 1);
        params.name_constraints =
            Some(rcgen::NameConstraints { permitted_subtrees: vec![subtree], excluded_subtrees: Vec::new() });
        doubt(&Issuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    };
    assert_eq!(constrained(rcgen::GeneralSubtree::DnsName("example.org".into())), None);
    let named = rcgen::GeneralSubtree::DirectoryName(params("x", 1).distinguished_name);
    assert!(constrained(named).unwrap().starts_with("it has name constraints on URIs or directory names"));
}
