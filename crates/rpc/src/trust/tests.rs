//! Attacks on tokens, as tables: each starts from a token that is good, and changes what its row says.

mod revoked;

use super::*;
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;
use quintile_proto::access::{Issuer, Jwk, Jwks, RoleMapping};
use serde_json::json;
use std::sync::LazyLock;

const NOW: i64 = 1_709_208_000;
const OWN: &str = "https://access.test";
const OKTA: &str = "https://login.example/tenant";
const OTHER: &str = "https://other.example";

fn at(seconds: i64) -> Instant {
    Instant::from_micros(seconds * 1_000_000)
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A key that signs, of each family.
enum Signer {
    Ed(Ed25519KeyPair),
    Ec(EcdsaKeyPair),
    Rsa(Box<RsaKeyPair>),
}

impl Signer {
    fn ed(seed: u8) -> Self {
        Self::Ed(Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap())
    }

    fn jwk(&self, kid: &str) -> Jwk {
        let jwk = |kty: &str, crv: &str, alg: &str| Jwk {
            kid: kid.to_owned(),
            kty: kty.to_owned(),
            crv: crv.to_owned(),
            alg: alg.to_owned(),
            ..Jwk::default()
        };
        match self {
            Self::Ed(pair) => Jwk { x: encode(pair.public_key()), ..jwk("OKP", "Ed25519", "EdDSA") },
            Self::Ec(pair) => {
                let point = pair.public_key().as_ref();
                Jwk { x: encode(&point[1..33]), y: encode(&point[33..]), ..jwk("EC", "P-256", "ES256") }
            }
            Self::Rsa(pair) => {
                let key = pair.public_key();
                Jwk {
                    n: encode(key.modulus().big_endian_without_leading_zero()),
                    e: encode(key.exponent().big_endian_without_leading_zero()),
                    ..jwk("RSA", "", "RS256")
                }
            }
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Ed(pair) => pair.sign(message).as_ref().to_vec(),
            Self::Ec(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap();
                signature
            }
        }
    }

    /// The token of a header and claims, as texts.
    fn token(&self, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", encode(header), encode(claims));
        let signature = self.sign(message.as_bytes());
        format!("{message}.{}", encode(signature))
    }
}

struct Keys {
    own: Signer,
    ec: Signer,
    rsa: Signer,
    other: Signer,
}

static KEYS: LazyLock<Keys> = LazyLock::new(|| Keys {
    own: Signer::ed(1),
    ec: Signer::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()),
    rsa: Signer::Rsa(Box::new(RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap())),
    other: Signer::ed(2),
});

fn issuer(id: &str, iss: &str, keys: Vec<Jwk>, algorithms: &[&str]) -> Issuer {
    let mapping = |value: &str, role: &str| RoleMapping { value: value.to_owned(), role: role.to_owned() };
    Issuer {
        name: format!("issuers/{id}"),
        issuer: iss.to_owned(),
        audience: "api://quintile".to_owned(),
        algorithms: algorithms.iter().map(|&name| name.to_owned()).collect(),
        tenant: "tenants/acme".to_owned(),
        role_claim: "groups".to_owned(),
        roles: vec![mapping("machines", "service"), mapping("care", "support"), mapping("machines", "analyst")],
        keys,
        fetch_time: Some(crate::convert::timestamp(at(NOW))),
        ..Issuer::default()
    }
}

fn snapshot() -> PolicySnapshot {
    let okta = vec![KEYS.ec.jwk("ec"), KEYS.rsa.jwk("rsa"), KEYS.other.jwk("ed")];
    PolicySnapshot {
        version: 1,
        jwks: Some(Jwks { keys: vec![KEYS.own.jwk("own")], issuer: OWN.to_owned() }),
        issuers: vec![
            issuer("okta", OKTA, okta, &["ES256", "RS256"]),
            issuer("other", OTHER, vec![KEYS.other.jwk("ec")], &["EdDSA"]),
            // What calls itself ours is not.
            issuer("impostor", OWN, vec![KEYS.other.jwk("stolen")], &["EdDSA"]),
        ],
        ..PolicySnapshot::default()
    }
}

fn trust() -> Trust {
    Trust::from_snapshot(&snapshot()).unwrap()
}

fn own_header() -> Value {
    json!({ "alg": "EdDSA", "typ": "at+jwt", "kid": "own" })
}

fn own_claims() -> Value {
    json!({
        "iss": OWN, "aud": "quintile", "sub": "ann", "iat": NOW, "nbf": NOW, "exp": NOW + 60, "jti": "1",
        "tenant": "acme", "role": "analyst", "department": "east",
    })
}

fn external_claims() -> Value {
    json!({
        "iss": OKTA, "aud": ["https://sibling", "api://quintile"], "sub": "ann",
        "iat": NOW, "nbf": NOW, "exp": NOW + 60,
        "groups": ["staff", "care"], "tenant": "default", "role": "admin", "department": "all",
    })
}

/// What it is with the members of `changes` in place of its own; null takes one away.
fn with(mut value: Value, changes: &Value) -> Value {
    for (name, change) in changes.as_object().unwrap() {
        let members = value.as_object_mut().unwrap();
        if change.is_null() {
            members.remove(name)
        } else {
            members.insert(name.clone(), change.clone())
        };
    }
    value
}

fn own(header: &Value, claims: &Value) -> String {
    KEYS.own.token(&with(own_header(), header).to_string(), &with(own_claims(), claims).to_string())
}

fn external(signer: &Signer, header: &Value, claims: &Value) -> String {
    let header = with(json!({ "alg": "ES256", "typ": "at+jwt", "kid": "ec" }), header);
    signer.token(&header.to_string(), &with(external_claims(), claims).to_string())
}

fn refusal(trust: &Trust, token: &str) -> ApiError {
    match trust.verify(token, at(NOW)) {
        Err(VerifyError::Refused(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_good_token_of_ours_is_believed_as_it_stands() {
    let claims = trust().verify(&own(&json!({}), &json!({})), at(NOW)).unwrap();
    let text = |text: &str| text.to_owned();
    let expected = Claims {
        iss: text(OWN),
        aud: text("quintile"),
        sub: text("ann"),
        iat: NOW,
        nbf: NOW,
        exp: NOW + 60,
        jti: text("1"),
        tenant: text("acme"),
        role: text("analyst"),
        department: text("east"),
        region: String::new(),
    };
    assert_eq!(claims, expected);
    // Headers that name keys are not read, and the media type may be written out.
    let header = json!({ "jku": "https://evil", "x5u": "https://evil", "x5c": ["evil"], "jwk": { "kty": "oct" },
        "typ": "application/AT+JWT" });
    assert_eq!(trust().verify(&own(&header, &json!({})), at(NOW)).unwrap(), expected);
}

#[test]
fn a_good_token_of_another_issuer_is_believed_in_its_tenant_by_its_roles_there() {
    for (signer, kid, alg) in [(&KEYS.ec, "ec", "ES256"), (&KEYS.rsa, "rsa", "RS256")] {
        let token = external(signer, &json!({ "kid": kid, "alg": alg }), &json!({}));
        let claims = trust().verify(&token, at(NOW)).unwrap();
        assert_eq!(
            (claims.sub.as_str(), claims.tenant.as_str(), claims.role.as_str()),
            ("okta:ann", "acme", "support")
        );
        assert_eq!((claims.jti.as_str(), claims.department.as_str()), ("", ""), "{alg}");
    }
    let text = external(&KEYS.ec, &json!({}), &json!({ "aud": "api://quintile", "groups": "care", "jti": "x" }));
    assert_eq!(trust().verify(&text, at(NOW)).unwrap().jti, "x");
    // The value stands for `service` first, which no issuer but ours gives.
    let machine = external(&KEYS.ec, &json!({}), &json!({ "groups": ["machines"] }));
    assert_eq!(trust().verify(&machine, at(NOW)).unwrap().role, "analyst");
    let long = external(&KEYS.ec, &json!({}), &json!({ "exp": NOW + 1_000_000 }));
    assert_eq!(trust().verify(&long, at(NOW)).unwrap().exp, NOW + 12 * 3600);
}

#[test]
fn headers_that_attack_are_refused() {
    let trust = trust();
    for header in [
        json!({ "alg": "none" }),
        json!({ "alg": "None" }),
        json!({ "alg": "HS256" }),
        json!({ "alg": "RS256" }),
        json!({ "alg": "ES256" }),
        json!({ "alg": "eddsa" }),
        json!({ "alg": null }),
        json!({ "alg": ["EdDSA"] }),
        json!({ "typ": "JWT" }),
        json!({ "typ": "rt+jwt" }),
        json!({ "typ": "application/" }),
        json!({ "typ": "application/application/at+jwt" }),
        json!({ "typ": "äpplication/at+jwt" }),
        json!({ "typ": null }),
        json!({ "crit": ["exp"], "exp": NOW + 60 }),
        json!({ "crit": [] }),
        json!({ "kid": "../../dev/null" }),
        json!({ "kid": "own' OR '1'='1" }),
        json!({ "kid": "OWN" }),
        json!({ "kid": "" }),
        json!({ "kid": null }),
        json!({ "kid": 1 }),
        json!({ "kid": "stolen" }),
        json!({ "kid": "ec" }),
    ] {
        refusal(&trust, &own(&header, &json!({})));
    }
}

#[test]
fn claims_that_attack_are_refused() {
    let trust = trust();
    let mut rows = vec![
        json!({ "exp": NOW - 31 }),
        json!({ "nbf": NOW + 31 }),
        json!({ "iat": NOW + 31 }),
        json!({ "aud": "quintile.other" }),
        json!({ "aud": "Quintile" }),
        json!({ "aud": ["quintile"] }),
        json!({ "aud": ["other", "quintile"] }),
        json!({ "iss": "https://ACCESS.test" }),
        json!({ "iss": "https://access.test/" }),
        json!({ "iss": "https://access.tes" }),
        json!({ "iss": "https://access.test.evil" }),
        json!({ "iss": "http://access.test" }),
        json!({ "iss": [OWN] }),
        json!({ "sub": "" }),
        json!({ "sub": " " }),
        json!({ "sub": 1 }),
        json!({ "sub": "a\u{202e}b" }),
        json!({ "sub": "a".repeat(257) }),
        json!({ "department": 1 }),
    ];
    for time in ["exp", "iat", "nbf"] {
        for wrong in [
            json!(NOW.to_string()),
            json!(-1),
            json!(LAST_SECOND + 1),
            json!(i64::MAX),
            json!(u64::MAX),
            json!(1e300),
            json!(NOW as f64 + 60.0),
            json!([NOW]),
        ] {
            rows.push(json!({ time: wrong }));
        }
    }
    for required in ["iss", "aud", "sub", "iat", "nbf", "exp", "jti", "tenant", "role"] {
        rows.push(json!({ required: null }));
    }
    for claims in rows {
        refusal(&trust, &own(&json!({}), &claims));
    }
}

#[test]
fn an_issuer_is_believed_by_its_own_keys_algorithms_audience_and_roles_alone() {
    let trust = trust();
    let ed = json!({ "alg": "EdDSA", "kid": "ed" });
    for (token, what) in [
        (external(&KEYS.own, &json!({ "alg": "EdDSA", "kid": "own" }), &json!({})), "our key, its issuer"),
        (external(&KEYS.other, &ed, &json!({})), "an algorithm that is not accepted of it"),
        (external(&KEYS.ec, &json!({}), &json!({ "iss": OTHER })), "the key of one issuer, the name of another"),
        (external(&KEYS.other, &json!({}), &json!({})), "another's key under a kid of its own"),
        (external(&KEYS.rsa, &json!({ "alg": "RS256" }), &json!({})), "the wrong family"),
        (external(&KEYS.ec, &json!({ "kid": "rsa" }), &json!({})), "the algorithm of one key, the id of another"),
        (external(&KEYS.ec, &json!({}), &json!({ "iss": OWN })), "its key, our name"),
        (external(&KEYS.ec, &json!({}), &json!({ "aud": "quintile" })), "our audience, not that of the issuer"),
        (external(&KEYS.ec, &json!({}), &json!({ "aud": "api://quintile/" })), "a sibling's audience"),
        (external(&KEYS.ec, &json!({}), &json!({ "aud": [] })), "no audience"),
        (external(&KEYS.ec, &json!({}), &json!({ "aud": ["api://quintile", 1] })), "an audience that is no text"),
        (external(&KEYS.ec, &json!({}), &json!({ "aud": null })), "no audience at all"),
        (external(&KEYS.ec, &json!({}), &json!({ "groups": ["staff"] })), "a role that means nothing"),
        (external(&KEYS.ec, &json!({}), &json!({ "groups": null })), "no role"),
        (external(&KEYS.ec, &json!({ "typ": "JWT" }), &json!({})), "an id token"),
        (external(&KEYS.ec, &json!({}), &json!({ "nbf": null })), "no beginning"),
    ] {
        let refused = trust.verify(&token, at(NOW));
        assert!(matches!(refused, Err(VerifyError::Refused(_))), "{what}: {refused:?}");
    }
}

#[test]
fn a_public_key_is_no_secret_to_sign_with() {
    let RsaKeyPairDer(public) = rsa_public();
    for secret in [public.as_slice(), KEYS.rsa.jwk("rsa").n.as_bytes()] {
        let message = format!(
            "{}.{}",
            encode(r#"{"alg":"HS256","typ":"at+jwt","kid":"rsa"}"#),
            encode(external_claims().to_string())
        );
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
        let tag = aws_lc_rs::hmac::sign(&key, message.as_bytes());
        refusal(&trust(), &format!("{message}.{}", encode(tag)));
    }
}

struct RsaKeyPairDer(Vec<u8>);

fn rsa_public() -> RsaKeyPairDer {
    let Signer::Rsa(pair) = &KEYS.rsa else { unreachable!("it is an RSA key") };
    RsaKeyPairDer(pair.public_key().as_der().unwrap().as_ref().to_vec())
}

#[test]
fn an_unknown_key_of_an_external_issuer_says_whose_and_of_ours_nothing() {
    let unknown = external(&KEYS.ec, &json!({ "kid": "new" }), &json!({}));
    let expected = VerifyError::UnknownKey { issuer: "issuers/okta".to_owned(), tenant: "acme".to_owned() };
    assert_eq!(trust().verify(&unknown, at(NOW)), Err(expected));
    refusal(&trust(), &own(&json!({ "kid": "new" }), &json!({})));
}

#[test]
fn what_stands_twice_is_refused_although_it_is_signed() {
    let trust = trust();
    let (header, claims) = (own_header().to_string(), own_claims().to_string());
    let doubled = |text: &str, member: &str| format!("{{{member},{}", &text[1..]);
    assert!(trust.verify(&KEYS.own.token(&header, &claims), at(NOW)).is_ok());
    refusal(&trust, &KEYS.own.token(&doubled(&header, r#""kid":"own""#), &claims));
    refusal(&trust, &KEYS.own.token(&header, &doubled(&claims, r#""role":"admin""#)));
    refusal(&trust, &KEYS.own.token(&header, &doubled(&claims, r#""rol\u0065":"admin""#)));
}

#[test]
fn what_is_cut_long_or_not_a_jwt_is_refused() {
    let trust = trust();
    let token = own(&json!({}), &json!({}));
    let parts: Vec<_> = token.split('.').collect();
    let padded = own(&json!({}), &json!({ "padding": "x".repeat(8 * 1024) }));
    for wrong in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        padded,
        format!("{}.{}.", parts[0], parts[1]),
        format!("{}.{}", parts[0], parts[1]),
        format!("{token}."),
        format!("{token}=="),
        format!(" {token}"),
        format!("{}.{}.{}.{}.{}", parts[0], parts[1], parts[2], parts[1], parts[2]),
        format!("{}.{}.{}", encode("[]"), parts[1], parts[2]),
        format!("{}.{}.{}", parts[0], encode("nonsense"), parts[2]),
    ] {
        refusal(&trust, &wrong);
    }
    for length in 0..token.len() {
        refusal(&trust, &token[..length]);
    }
}

#[test]
fn clocks_may_differ_by_the_leeway_and_not_by_a_second_more() {
    let trust = trust();
    let token = own(&json!({}), &json!({}));
    let claims = trust.verify(&token, at(NOW)).unwrap();
    for (seconds, good) in [(NOW + 60 + 29, true), (NOW + 60 + 30, false), (NOW - 30, true), (NOW - 31, false)] {
        assert_eq!(trust.verify(&token, at(seconds)).is_ok(), good, "{seconds}");
        assert_eq!(trust.check(&claims, at(seconds)).is_ok(), good, "{seconds}");
    }
}

#[test]
fn keys_that_were_not_fetched_for_a_day_verify_nothing() {
    let trust = trust();
    let day = 24 * 3600;
    let claims = |seconds: i64| json!({ "iat": seconds, "nbf": seconds, "exp": seconds + 60 });
    for (seconds, good) in [(NOW + day, true), (NOW + day + 1, false)] {
        let token = external(&KEYS.ec, &json!({}), &claims(seconds));
        assert_eq!(trust.verify(&token, at(seconds)).is_ok(), good);
    }
    // A token that was verified while they were fresh is not better off.
    let cached = trust.verify(&external(&KEYS.ec, &json!({}), &claims(NOW + day)), at(NOW + day)).unwrap();
    assert!(trust.check(&cached, at(NOW + day)).is_ok());
    assert!(trust.check(&cached, at(NOW + day + 1)).is_err());
    let mut never = snapshot();
    never.issuers[0].fetch_time = None;
    refusal(&Trust::from_snapshot(&never).unwrap(), &external(&KEYS.ec, &json!({}), &json!({})));
}

#[test]
fn an_external_key_that_is_none_is_left_out_and_one_of_ours_fails_the_snapshot() {
    let mut broken = snapshot();
    broken.issuers[0].keys[0].x = "nonsense".to_owned();
    let trust = Trust::from_snapshot(&broken).unwrap();
    assert!(trust.verify(&external(&KEYS.rsa, &json!({ "kid": "rsa", "alg": "RS256" }), &json!({})), at(NOW)).is_ok());
    broken.jwks.as_mut().unwrap().keys.push(KEYS.ec.jwk("ours"));
    assert!(Trust::from_snapshot(&broken).is_err());
}

proptest! {
    #[test]
    fn no_changed_token_is_believed(index in 0_usize..400, replacement in "[A-Za-z0-9_.-]") {
        let token = own(&json!({}), &json!({}));
        let index = index % token.len();
        let mut changed = token.clone();
        changed.replace_range(index..=index, &replacement);
        prop_assume!(changed != token);
        prop_assert!(trust().verify(&changed, at(NOW)).is_err());
    }

    #[test]
    fn nothing_that_is_sent_panics(token in ".{0,200}", header in ".{0,50}", claims in ".{0,50}") {
        prop_assert!(trust().verify(&token, at(NOW)).is_err());
        prop_assert!(trust().verify(&KEYS.own.token(&header, &claims), at(NOW)).is_err());
    }
}
