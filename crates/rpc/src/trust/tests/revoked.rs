//! Tokens that are good and are not any more.

use super::*;
use quintile_proto::access::Revocation;
use quintile_proto::access::revocation::Target;

fn revoking(tenant: &str, target: Target) -> Trust {
    let revocation = Revocation {
        tenant: format!("tenants/{tenant}"),
        target: Some(target),
        revoke_time: Some(crate::convert::timestamp(at(NOW))),
        ..Revocation::default()
    };
    Trust::from_snapshot(&PolicySnapshot { revocations: vec![revocation], ..snapshot() }).unwrap()
}

#[test]
fn a_token_is_revoked_by_its_id_its_subject_or_its_age_and_within_its_tenant() {
    let before = |seconds: i64| Target::IssuedBefore(crate::convert::timestamp(at(seconds)));
    let subject = |name: &str| Target::Subject(name.to_owned());
    let id = |id: &str| Target::TokenId(id.to_owned());
    let none = json!({});
    let service = json!({ "role": "service", "sub": "suite:scoring" });
    let other_service = json!({ "role": "service" });
    let later = json!({ "iat": NOW + 1 });
    for (tenant, target, claims, revoked) in [
        ("acme", id("1"), &none, true),
        ("acme", id("2"), &none, false),
        ("default", id("1"), &none, false),
        ("acme", subject("ann"), &none, true),
        ("acme", subject("ann"), &later, false),
        ("acme", subject("bob"), &none, false),
        ("default", subject("ann"), &none, false),
        ("acme", before(NOW + 1), &none, true),
        ("acme", before(NOW), &none, false),
        ("default", before(NOW + 1), &none, false),
        ("acme", before(NOW + 1), &service, false),
        ("acme", before(NOW + 1), &other_service, true),
        ("acme", subject("suite:scoring"), &service, true),
        ("acme", id("1"), &service, true),
    ] {
        let revoking = revoking(tenant, target.clone());
        let token = own(&json!({}), claims);
        assert_eq!(revoking.verify(&token, at(NOW)).is_err(), revoked, "{tenant} {target:?} {claims}");
        let claims = trust().verify(&token, at(NOW)).unwrap();
        assert_eq!(revoking.check(&claims, at(NOW)).is_err(), revoked, "{tenant} {target:?} cached");
    }
}

#[test]
fn an_external_subject_is_revoked_by_its_name_here() {
    let token = external(&KEYS.ec, &json!({}), &json!({}));
    let subject = |name: &str| revoking("acme", Target::Subject(name.to_owned()));
    assert!(subject("okta:ann").verify(&token, at(NOW)).is_err());
    assert!(subject("ann").verify(&token, at(NOW)).is_ok());
    let before = Target::IssuedBefore(crate::convert::timestamp(at(NOW + 1)));
    assert!(revoking("acme", before).verify(&token, at(NOW)).is_err());
}
