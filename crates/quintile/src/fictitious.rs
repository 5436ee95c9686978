//! Customers who do not exist, so that masking has something to mask.

use quintile_proto::google_type::Date;
use quintile_proto::ingestion::{Customer, SourceIdentity};
use quintile_proto::types::{CustomerAttributes, CustomerKind};
use sha2::{Digest, Sha256};

/// A customer who does not exist, always the same for the same id in a source.
pub fn customer(source: &str, id: &str) -> Customer {
    const GIVEN: [&str; 8] = ["Alice", "Bruno", "Chen", "Dalia", "Emil", "Farah", "Goran", "Hana"];
    const FAMILY: [&str; 8] = ["Abbott", "Berger", "Costa", "Duarte", "Eriksen", "Fischer", "Gupta", "Haddad"];
    const STREET: [&str; 4] = ["Harbour Street", "Mill Lane", "Station Road", "Church Hill"];
    let hash = Sha256::digest(id.as_bytes());
    let pick = |index: usize, count: usize| usize::from(hash[index]) % count;
    let (given, family) = (GIVEN[pick(0, 8)], FAMILY[pick(1, 8)]);
    let number: u32 = id.parse().unwrap_or_default();
    Customer {
        identities: vec![SourceIdentity { source: source.to_owned(), id: Some(id.to_owned()) }],
        display_name: Some(format!("{given} {family}")),
        phone: Some(format!("+86138{:08}", number % 100_000_000)),
        email: Some(format!("{}.{}.{number}@example.com", given.to_lowercase(), family.to_lowercase())),
        address: Some(format!("{}, {} {}, London", number, STREET[pick(2, 4)], pick(3, 200) + 1)),
        birth_date: Some(Date {
            year: 1940 + pick(4, 40) as i32,
            month: 1 + pick(5, 12) as i32,
            day: 1 + pick(6, 28) as i32,
        }),
        attributes: Some(CustomerAttributes {
            kind: CustomerKind::Customer.into(),
            region: Some(["north", "south", "east", "west"][pick(7, 4)].to_owned()),
            language: "en".to_owned(),
            acquisition_channel: ["search", "friends", "press"][pick(8, 3)].to_owned(),
            ..CustomerAttributes::default()
        }),
        ..Customer::default()
    }
}
