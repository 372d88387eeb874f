//! Every block of a file is read, or the file is refused.

use proptest::prelude::*;
use rcgen::{
    CertificateParams, CertificateRevocationListParams, Issuer, KeyIdMethod, KeyPair, date_time_ymd,
};

use super::*;

fn certificate(name: &str) -> String {
    let params = CertificateParams::new([name.to_owned()]).unwrap();
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
}

fn key_text() -> String {
    KeyPair::generate().unwrap().serialize_pem()
}

fn list() -> String {
    let params = CertificateRevocationListParams {
        this_update: date_time_ymd(2022, 1, 1),
        next_update: date_time_ymd(2023, 1, 1),
        crl_number: 1.into(),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let issuer = Issuer::new(CertificateParams::default(), KeyPair::generate().unwrap());
    params.signed_by(&issuer).unwrap().pem().unwrap()
}

/// A block of `pem` in the forms in which other tools copy its contents: lines of any length, groups of
/// digits, hexadecimal; quoted, as a remark, in the formats of other files; a part of it alone.
fn without_marks(pem: &str) -> Vec<String> {
    let Holds::List(list) = blocks(pem.as_bytes()).unwrap().remove(0).holds else { panic!("{pem}") };
    let base64: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let hex = base16ct::lower::encode_string(&list);
    let in_pieces = |digits: &str, length: usize, between: &str| {
        let pieces = digits.as_bytes().chunks(length).map(|piece| str::from_utf8(piece).unwrap());
        pieces.collect::<Vec<_>>().join(between)
    };
    let mut forms = vec![
        in_pieces(&base64, 20, "\r\n  "),
        in_pieces(&base64, 8, " "),
        in_pieces(&base64, 30, "\n\n"),
        in_pieces(base64.trim_end_matches('='), 47, "\n"),
        in_pieces(&hex.to_uppercase(), 2, ":"),
        in_pieces(&hex, 32, "\n").replace("82", "82 "),
        format!("MIP///8A\n{}", in_pieces(&base64, 40, "\n")),
        format!("crl: {base64}"),
        format!("{{\"crl\": \"{base64}\"}}"),
        format!("<X509CRL>{base64}</X509CRL>"),
        in_pieces(&base64.replace('+', "-").replace('/', "_"), 40, "\n"),
        in_pieces(&base64[..base64.len() - 8], 40, "\n"),
        in_pieces(&format!("{}{}", &base64[200..], &base64[..200]), 40, "\n"),
    ];
    for length in [4, 5, 7, 8, 20, 40, 47, 48, 64] {
        forms.push(in_pieces(&base64, length, "\n"));
    }
    for length in [2, 3, 9, 10, 40, 60, 64, 1000] {
        forms.push(in_pieces(&hex, length, "\n"));
    }
    for before in ["> ", "# ", "; ", "\"", "| ", "- ", "1 ", "X509CRL:", "\u{a0}", "\u{200b}"] {
        forms.push(format!("{before}{}", in_pieces(&base64, 40, &format!("\n{before}"))));
        forms.push(format!("{before}{}", in_pieces(&hex, 60, &format!("\n{before}"))));
    }
    for behind in ["\\", ",", "\"", ";", ".", "\\n", "\u{a0}"] {
        forms.push(format!("{}{behind}", in_pieces(&base64, 64, &format!("{behind}\n"))));
    }
    forms
}

fn told(text: &str) -> String {
    blocks(text.as_bytes()).unwrap_err().to_string()
}

#[test]
fn what_tools_write_is_read() {
    let [a, b] = ["a", "b"].map(certificate);
    let joined = [
        format!("{a}{b}"),
        format!("{a}\n\n{b}"),
        format!("{a}{b}").replace('\n', "\r\n"),
        format!("{a}{b}").replace('\n', "\r"),
        format!("\u{feff}{a}{b}"),
        format!("{a}{b}").trim_end().to_owned(),
        format!("{a}{b}").replace('\n', " \t\n"),
        format!("  {}", format!("{a}{b}").replace('\n', "\n  ")),
        format!(
            "Certificate:\n    Data:\n        Version: 3 (0x2)\n            04:63:aa\n{a}# b: the other\n{b}"
        ),
        format!("subject=CN = a\nissuer=CN = a\n{a}{}\n{b}", "0a".repeat(32)),
        format!("{a}pin-sha256:\n{}=\n\x0c\n{b}", "Az0+".repeat(10) + "A0b"),
        format!("{a}{}\n{b}", "The certificate of the other office which replaces that of 2024\n".repeat(9)),
        format!(
            "{a}    Modulus:\n{}\n{b}",
            "        00:b3:30:82:aa:0c:ff:15:04:63:aa:0c:ff:15:04:\n".repeat(20)
        ),
        format!("{a}SHA1 {}\nSHA256 {}\nserial {}\n{b}", "0a".repeat(20), "0b".repeat(32), "0c".repeat(20)),
        format!("{a}# /etc/ssl/certs/OfTheOtherOffice2024/AndOfItsBranch/certificate\n{b}"),
        format!("Bag Attributes\n    friendlyName: a\n{a}Bag Attributes: <Empty Attributes>\n{b}"),
        format!("{a}{b}").replace("BEGIN CERT", "BEGIN X509 CERT").replace("END CERT", "END X509 CERT"),
    ];
    let both = certificates(joined[0].as_bytes()).unwrap();
    assert_eq!(both.len(), 2);
    for text in joined {
        assert_eq!(certificates(text.as_bytes()).as_ref(), Ok(&both), "{text}");
    }
}

#[test]
fn what_is_nearly_a_block_is_told_with_its_line() {
    let [a, b] = ["a", "b"].map(certificate);
    let count = a.lines().count();
    let half = a.replace("-----END CERTIFICATE-----\n", "");
    let body = a.lines().nth(1).unwrap();
    for (text, line, words) in [
        // Two concatenated files, the first without a final newline.
        (format!("{}{b}", a.trim_end()), count, "each needs a line of its own"),
        (format!("{half}{b}"), count, "begins before that of line 1 has ended"),
        (format!("{b}{half}"), count + 1, "begins here and does not end"),
        (a.replace("-----BEGIN", "----BEGIN"), 1, "five dashes"),
        (a.replace("-----BEGIN", "—–BEGIN"), 1, "five dashes"),
        (a.replace("-----BEGIN", "-----Begin"), 1, "something stands beside"),
        (a.replace("-----BEGIN", "# -----BEGIN"), 1, "something stands beside"),
        (a.replace("-----BEGIN", "> -----BEGIN"), 1, "something stands beside"),
        (a.replace("-----BEGIN", "\"-----BEGIN"), 1, "something stands beside"),
        (a.replace("BEGIN CERTIFICATE-----", "BEGIN CERTIFICATE----"), 1, "something stands beside"),
        (a.replace("-----END CERTIFICATE", "-----END X509 CRL"), count, "X509 CRL ends here"),
        (a.replace("-----BEGIN CERTIFICATE-----\n", ""), 1, "looks like a part of a block"),
        (format!("{a}{body}\n"), count + 1, "looks like a part of a block"),
        (format!("{a}-----END CERTIFICATE-----\n"), count + 1, "that has not begun"),
        (a.replace(body, &body.replacen('M', "*", 1)), 2, "not base64"),
        (a.replace(body, &body[..body.len() - 1]), 1, "a part is missing"),
        (a.replace(body, "===="), 1, "is damaged"),
        ("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n".into(), 1, "nothing is in"),
        (a.replace(" CERT", " TRUSTED CERT"), 1, "a form of OpenSSL's own"),
    ] {
        let told = told(&text);
        assert!(told.starts_with(&format!("line {line}: ")) && told.contains(words), "{told}\n{text}");
    }
    for joined in [&b"0\x82\x01\x0a\x02\x01"[..], b"-\0-\0-\0-\0-\0B\0", b"\0-\0-\0-\0-\0-\0B"] {
        let fault = certificates(&[a.as_bytes(), joined].concat()).unwrap_err();
        assert!(fault.to_string().starts_with(&format!("line {}: this is not text", count + 1)), "{fault}");
    }
    for digits in [48, 57, 60, 64, 76] {
        let fault = lists(&[list().as_bytes(), &body.as_bytes()[..digits.min(body.len())]].concat());
        assert!(fault.unwrap_err().to_string().contains("looks like a part of a block"), "{digits}");
    }
    for unmarked in without_marks(&list()) {
        let text = format!("{}\nof another authority:\n{unmarked}\n{}", list(), list());
        let fault = lists(text.as_bytes()).map(|lists| lists.len()).expect_err(&unmarked).to_string();
        assert!(
            fault.ends_with("this looks like a part of a block, and none has begun"),
            "{fault}\n{unmarked}"
        );
    }
    let headed = list().replacen('\n', "\nProc-Type: 4,CRL\n\n", 1);
    assert_eq!(
        lists(headed.as_bytes()).unwrap_err().to_string(),
        "line 2: lines of a header stand in this block"
    );
    for utf_16 in [&b"\xff\xfe-\0"[..], b"\xfe\xff\0-"] {
        assert_eq!(blocks(utf_16).unwrap_err().to_string(), "this file is UTF-16");
    }
}

#[test]
fn a_file_holds_what_it_is_for() {
    let (certificate, key_text, list) = (certificate("a"), key_text(), list());
    let parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
    let all = |text: &str| {
        let text = text.as_bytes();
        let (key, lists) = (key(text).is_ok(), lists(text).is_ok());
        [certificates(text).is_ok(), authorities(text).is_ok(), key, lists]
    };
    assert_eq!(all(&certificate), [true, true, false, false]);
    assert_eq!(all(&key_text), [false, false, true, false]);
    assert_eq!(all(&list), [false, false, false, true]);
    assert_eq!(all(&format!("{certificate}{key_text}")), [true, false, true, false]);
    assert_eq!(all(&format!("{parameters}{key_text}")), [false, false, true, false]);
    assert_eq!(all(&format!("{certificate}{list}")), [false; 4]);
    assert_eq!(all(&format!("{key_text}{key_text}")), [false; 4]);
    assert_eq!(all("words\n"), [false; 4]);
    assert_eq!(all(""), [false; 4]);
    let in_a_file_of_authorities = authorities(format!("{certificate}{list}").as_bytes()).unwrap_err();
    assert!(
        in_a_file_of_authorities
            .to_string()
            .ends_with("a revocation list begins here, and this file is for a certificate")
    );
    let request = certificate.replace(" CERTIFICATE-", " CERTIFICATE REQUEST-");
    assert!(
        certificates(request.as_bytes()).unwrap_err().to_string().contains("CERTIFICATE REQUEST begins here")
    );
}

#[test]
fn what_is_no_text_or_encrypted_is_told_with_what_to_do() {
    for (text, what, advice) in [
        (&b"\x30\x82\x01\x0a"[..], "this file is DER, not PEM", Some("openssl pkey -inform der")),
        (b"\x30\x81\x9f", "this file is DER, not PEM", Some("openssl pkey -inform der")),
        (
            b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----",
            "line 1: the private key that begins here is encrypted",
            Some("openssl pkey -in FILE -out"),
        ),
        (
            b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END RSA PRIVATE KEY-----",
            "line 1: the private key that begins here is encrypted",
            Some("openssl pkey -in FILE -out"),
        ),
        (b"", "this file holds no private key in PEM", None),
    ] {
        let fault = key(text).unwrap_err();
        assert!(fault.to_string().starts_with(what), "{fault}");
        assert_eq!(fault.advice().is_some(), advice.is_some());
        assert!(fault.advice().unwrap_or_default().contains(advice.unwrap_or_default()), "{fault:?}");
    }
}

proptest! {
    /// Whichever byte is changed or dropped, no block is lost silently.
    #[test]
    fn no_slip_takes_a_block_out(at in 0_usize..10_000, byte in proptest::option::of(any::<u8>())) {
        static TWO: std::sync::LazyLock<String> =
            std::sync::LazyLock::new(|| ["a", "b"].map(certificate).concat());
        let mut text = TWO.clone().into_bytes();
        let at = at % text.len();
        match byte {
            Some(byte) => text[at] = byte,
            None => drop(text.remove(at)),
        }
        if let Ok(read) = certificates(&text) {
            prop_assert_eq!(read.len(), 2);
        }
    }

    #[test]
    fn any_bytes_are_survived(text in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = blocks(&text);
    }
}
