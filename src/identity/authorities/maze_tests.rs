//! Chains built to make the search long, and honest ones that look alike.
//!
//! The tests count computed signatures: the time of each depends on the authority's key.

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P521_SHA512, PKCS_RSA_SHA256, RsaKeySize};

use super::tests::{
    Issuer, LAPTOP, NOW, admitted, authority, below, ca, is_unknown, leaf, root, roster, signed, year,
};
use super::*;
use crate::identity::signatures::MAX_SIGNATURES;

/// An authority with each kind of slow key, and a forger of the same name with such a key.
fn authorities() -> [(Issuer, Issuer); 3] {
    let keys: [fn() -> KeyPair; 3] = [
        || KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap(),
        || KeyPair::generate_for(&PKCS_ECDSA_P521_SHA512).unwrap(),
        || KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_4096).unwrap(),
    ];
    let root = |key| Issuer::self_signed(ca("Root", 2015..2060), key).unwrap();
    keys.map(|key| (root(key()), root(key())))
}

/// Returns the number of signatures computed for `chain`, and the verdict.
fn computed(chain: &[CertificateDer<'_>], authorities: &[&Issuer]) -> (usize, String) {
    let authorities = Authorities::new(authorities.iter().map(|issuer| authority(issuer)));
    let signatures = Signatures::of(chain, &authorities.list_signatures);
    let found = match authorities.verify_with(&signatures, chain, year(NOW)) {
        Ok(_) => "admitted".to_owned(),
        Err(Unverified::Unknown(words) | Unverified::Unusable(words)) => words,
    };
    (signatures.count(), found)
}

/// All issuers, including the signer of the first certificate, have the authority's name but keys of their
/// own: any might have signed any.
#[test]
fn no_signature_is_computed_for_a_maze_of_certificates_of_one_name() {
    for (root, forger) in authorities() {
        for walls in 2..=5 {
            let mut chain = vec![signed(leaf(&[LAPTOP]), &forger)];
            chain.extend((0..walls).map(|_| self::root(ca("Root", 2015..2060)).der().clone()));
            let (count, found) = computed(&chain, &[&root]);
            assert_eq!(count, 0, "{found}");
            assert_eq!(found, "two certificates of its chain have one subject and different keys");
            is_unknown(&chain, &roster(&[&root]), &found);
        }
    }
}

/// One key in many certificates, each with the authority's name as the issuer. That is allowed, as an
/// authority may be cross-signed; each costs one signature and no more.
#[test]
fn few_signatures_are_computed_for_many_certificates_of_one_key() {
    for (root, forger) in authorities() {
        let key = KeyPair::generate().unwrap().serialize_der();
        let middle = |number: i32| {
            let key = KeyPair::try_from(key.clone()).unwrap();
            Issuer::signed_by(ca("Middle", 2010 + number..2050), key, &forger).unwrap()
        };
        let mut chain = vec![signed(leaf(&[LAPTOP]), &middle(0))];
        chain.extend((0..5).map(|number| middle(number).der().clone()));
        let (count, found) = computed(&chain, &[&root]);
        assert_eq!((count, found.contains("a signature in its chain")), (5, true), "{found}");
    }
    // The operator has many authorities of that name, and each may be the signer.
    let others: Vec<_> = (0..20).map(|_| self::root(ca("Root", 2015..2060))).collect();
    let forger = self::root(ca("Root", 2015..2060));
    let middle = below(ca("Middle", 2016..2050), &forger);
    let chain = [signed(leaf(&[LAPTOP]), &middle), middle.der().clone()];
    let (count, found) = computed(&chain, &others.iter().collect::<Vec<_>>());
    assert_eq!((count, &*found), (MAX_SIGNATURES, TOO_LONG), "and it is not searched a second time");
    is_unknown(&chain, &roster(&others.iter().collect::<Vec<_>>()), TOO_LONG);
}

/// A stranger takes an authority that the root has signed and appends forged ones below it: then signatures
/// by its key are checked as well.
#[test]
fn few_signatures_are_computed_below_an_authority_that_is_none_of_the_strangers() {
    let root = root(ca("Root", 2015..2060));
    let middle = below(ca("Middle", 2016..2050), &root);
    let forger = self::root(ca("Middle", 2016..2050));
    let key = KeyPair::generate().unwrap().serialize_der();
    let low = |number: i32| {
        let key = KeyPair::try_from(key.clone()).unwrap();
        Issuer::signed_by(ca("Low", 2010 + number..2050), key, &forger).unwrap()
    };
    let mut chain = vec![signed(leaf(&[LAPTOP]), &low(0)), middle.der().clone()];
    chain.extend((0..4).map(|number| low(number).der().clone()));
    let (count, found) = computed(&chain, &[&root]);
    assert_eq!((count, found.contains("a signature in its chain")), (5, true), "{found}");
}

#[test]
fn an_authority_that_several_vouch_for_leads_to_the_one_that_is_known() {
    let (old, new) = (root(ca("Old", 2015..2060)), root(ca("New", 2015..2060)));
    let key = KeyPair::generate().unwrap().serialize_der();
    let by = |issuer: &Issuer| {
        Issuer::signed_by(ca("Middle", 2016..2050), KeyPair::try_from(key.clone()).unwrap(), issuer).unwrap()
    };
    let (by_old, by_new) = (by(&old), by(&new));
    let chain = [signed(leaf(&[LAPTOP]), &by_old), by_old.der().clone(), by_new.der().clone()];
    for known in [&old, &new] {
        assert_eq!(admitted(&chain, &roster(&[known])).name(), "laptop");
    }
    // An authority with a changed key vouches for the new key under its own name; the old certificate is in
    // the chain.
    let renewed = below(ca("Old", 2016..2050), &old);
    let chain = [signed(leaf(&[LAPTOP]), &renewed), renewed.der().clone(), old.der().clone()];
    assert_eq!(admitted(&chain, &roster(&[&old])).name(), "laptop");
    // A repeated certificate does not count as another one.
    let chain = [chain[0].clone(), chain[1].clone(), chain[1].clone()];
    assert_eq!(admitted(&chain, &roster(&[&old])).name(), "laptop");
}

#[test]
fn a_client_of_one_of_many_authorities_of_one_name_costs_as_much_as_any() {
    let all: Vec<_> = (0..30).map(|_| root(ca("Root", 2015..2060))).collect();
    let all: Vec<_> = all.iter().collect();
    for place in [0, 15, 29] {
        let mut params = leaf(&[LAPTOP]);
        params.use_authority_key_identifier_extension = true;
        let chain = [signed(params, all[place])];
        assert_eq!(computed(&chain, &all), (1, "admitted".to_owned()));
    }
    // Without the authority's key identifier in the certificate, all candidates may be tried.
    let chain = [signed(leaf(&[LAPTOP]), all[MAX_SIGNATURES - 1])];
    assert_eq!(computed(&chain, &all), (MAX_SIGNATURES, "admitted".to_owned()));
    let chain = [signed(leaf(&[LAPTOP]), all[MAX_SIGNATURES])];
    assert_eq!(computed(&chain, &all), (MAX_SIGNATURES, TOO_LONG.to_owned()));
}

#[test]
fn the_longest_chain_that_is_taken_needs_six_signatures_even_if_it_is_searched_twice() {
    let root = root(ca("Root", 2015..2060));
    let mut issuers: Vec<Issuer> = Vec::new();
    for number in 0..5 {
        let next = below(ca(&format!("Middle {number}"), 2016..2050), issuers.last().unwrap_or(&root));
        issuers.push(next);
    }
    let lowest = issuers.last().unwrap();
    let chain = |leaf| {
        let others = issuers.iter().map(|issuer| issuer.der().clone());
        std::iter::once(signed(leaf, lowest)).chain(others).collect::<Vec<_>>()
    };
    assert_eq!(computed(&chain(leaf(&[LAPTOP])), &[&root]), (6, "admitted".to_owned()));
    let mut old = leaf(&[LAPTOP]);
    old.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let (count, found) = computed(&chain(old), &[&root]);
    assert_eq!((count, &*found), (6, "it expired at 2021-01-01T00:00:00Z"));
}

#[test]
fn a_chain_is_verified_anew_where_what_it_rests_on_has_changed_and_only_there() {
    let (root, other) = (root(ca("Root", 2015..2060)), root(ca("Other", 2015..2060)));
    let chain = [signed(leaf(&[LAPTOP]), &root)];
    let identity = admitted(&chain, &roster(&[&root]));
    let check = |roster: &crate::identity::Roster| roster.check_without_chain(&identity, year(NOW));
    for roster in [roster(&[&root]), roster(&[&other, &root])] {
        assert!(check(&roster).is_some_and(|checked| checked.is_ok()));
        assert!(roster.check_without_chain(&identity, year(2041)).is_some_and(|checked| checked.is_err()));
    }
    assert!(check(&roster(&[&other])).is_none(), "another authority may vouch for it");
    // A client whose URI is no longer listed is refused at once, whatever the authorities are.
    let uris = [("urn:another".parse().unwrap(), Arc::from("laptop"))];
    let elsewhere = crate::identity::Roster::default().with_uris([authority(&root)], uris);
    assert!(check(&elsewhere).is_some_and(|checked| checked.is_err()));
}
