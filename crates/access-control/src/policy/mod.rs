//! The policy: the roles as they are seeded, and the snapshot that is in force.

pub mod in_force;
mod seed;

use quintile_proto::access::{FieldForm, RolePolicy};
use seed::{ROLES, SeededRole};

/// The seeded roles, as the snapshot has them.
pub fn seeded_roles() -> Vec<RolePolicy> {
    ROLES.iter().map(role_policy).collect()
}

fn role_policy(role: &SeededRole) -> RolePolicy {
    let methods = role
        .methods
        .iter()
        .flat_map(|(service, methods)| methods.iter().map(move |method| format!("{service}/{method}")))
        .collect();
    let forms = role
        .forms
        .iter()
        .map(|(class, form)| FieldForm { sensitivity: *class as i32, form: *form as i32, ..FieldForm::default() })
        .collect();
    RolePolicy { role: role.name.to_owned(), methods, forms, ..RolePolicy::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quintile_domain::masking::{Form, Sensitivity};
    use quintile_proto::access::{Jwks, PolicySnapshot};
    use quintile_rpc::policy::Policy;
    use std::collections::BTreeSet;

    fn policy() -> Policy {
        let snapshot = PolicySnapshot { roles: seeded_roles(), jwks: Some(Jwks::default()), ..Default::default() };
        Policy::from_snapshot(&snapshot).unwrap()
    }

    fn methods_of_the_contracts() -> BTreeSet<String> {
        quintile_proto::descriptor_pool()
            .services()
            .filter(|service| service.full_name().starts_with("quintile."))
            .flat_map(|service| {
                let name = service.full_name().to_owned();
                service.methods().map(|method| format!("{name}/{}", method.name())).collect::<Vec<_>>()
            })
            .collect()
    }

    #[test]
    fn every_method_is_granted_to_somebody_and_every_granted_method_exists() {
        let granted: BTreeSet<_> = seeded_roles().into_iter().flat_map(|role| role.methods).collect();
        assert_eq!(granted, methods_of_the_contracts());
    }

    #[test]
    fn an_administrator_may_call_every_method() {
        let policy = policy();
        for method in methods_of_the_contracts() {
            assert!(policy.role("admin").unwrap().may_call(&format!("/{method}")), "{method}");
        }
    }

    #[test]
    fn nothing_is_written_twice() {
        for role in seeded_roles() {
            let methods: BTreeSet<_> = role.methods.iter().collect();
            assert_eq!(methods.len(), role.methods.len(), "{}", role.role);
            let classes: BTreeSet<_> = role.forms.iter().map(|form| form.sensitivity).collect();
            assert_eq!(classes.len(), role.forms.len(), "{}", role.role);
        }
    }

    #[test]
    fn roles_may_call_what_their_work_needs() {
        const TABLE: [(&str, &str); 25] = [
            // Who may: the first letters of admin, service, analyst, support.
            ("a s - -", "quintile.access.v1.PolicyService/GetPolicy"),
            ("a s - -", "quintile.access.v1.PolicyService/WatchPolicy"),
            ("a - - -", "quintile.access.v1.TenantService/CreateTenant"),
            ("a - - -", "quintile.access.v1.TokenService/IssueToken"),
            ("a s n p", "quintile.access.v1.TokenService/GetJwks"),
            ("a - - -", "quintile.ingestion.v1.ClockService/SetAsOf"),
            ("a s n p", "quintile.ingestion.v1.ClockService/GetAsOf"),
            ("a s n p", "quintile.ingestion.v1.CustomerService/GetCustomer"),
            ("a s n p", "quintile.ingestion.v1.CustomerService/ListCustomers"),
            ("a s - p", "quintile.ingestion.v1.CustomerService/LookupCustomer"),
            ("a s - -", "quintile.ingestion.v1.CustomerService/CreateCustomer"),
            ("a s - p", "quintile.ingestion.v1.CustomerService/UpdateCustomer"),
            ("a s n p", "quintile.ingestion.v1.FeatureService/GetFeatures"),
            ("a s - -", "quintile.ingestion.v1.FeatureService/WatchFeatures"),
            ("a s - -", "quintile.ingestion.v1.IngestService/Ingest"),
            ("a s - -", "quintile.ingestion.v1.IngestService/IngestBatch"),
            ("a s - -", "quintile.ingestion.v1.IngestService/ListRejects"),
            ("a s n p", "quintile.scoring.v1.ScoreModelService/GetScoreModel"),
            ("a s - -", "quintile.scoring.v1.ScoreService/WatchScores"),
            ("a s - -", "quintile.lifecycle.v1.StageService/WatchStages"),
            ("a s n -", "quintile.segmentation.v1.SegmentService/CreateSegment"),
            ("a s n -", "quintile.segmentation.v1.SegmentService/DeleteSegment"),
            ("a s n p", "quintile.segmentation.v1.SegmentService/CheckMembers"),
            ("a s n p", "quintile.segmentation.v1.SegmentService/ListMembers"),
            ("a s n -", "quintile.segmentation.v1.SegmentService/WatchMemberships"),
        ];
        let policy = policy();
        for (who, method) in TABLE {
            for (role, letter) in [("admin", 'a'), ("service", 's'), ("analyst", 'n'), ("support", 'p')] {
                let may = policy.role(role).unwrap().may_call(&format!("/{method}"));
                assert_eq!(may, who.contains(letter), "{role} {method}");
            }
        }
    }

    #[test]
    fn fields_are_seen_as_the_table_of_roles_says() {
        use Form::{Clear, Partial, Redacted, Year};
        const TABLE: [(Sensitivity, Form, Form); 15] = [
            // The analyst's form, then support's.
            (Sensitivity::None, Clear, Clear),
            (Sensitivity::Name, Redacted, Clear),
            (Sensitivity::Phone, Redacted, Partial),
            (Sensitivity::Email, Redacted, Partial),
            (Sensitivity::Address, Redacted, Partial),
            (Sensitivity::IdNumber, Redacted, Partial),
            (Sensitivity::BankCard, Redacted, Partial),
            (Sensitivity::BirthDate, Year, Year),
            (Sensitivity::IpAddress, Redacted, Partial),
            (Sensitivity::LicensePlate, Redacted, Partial),
            (Sensitivity::FreeText, Redacted, Clear),
            (Sensitivity::Financial, Clear, Clear),
            (Sensitivity::Location, Clear, Clear),
            (Sensitivity::Demographic, Clear, Clear),
            (Sensitivity::Pseudonym, Redacted, Clear),
        ];
        assert_eq!(TABLE.map(|(class, _, _)| class), Sensitivity::ALL);
        let policy = policy();
        for (class, analyst, support) in TABLE {
            assert_eq!(policy.role("analyst").unwrap().forms.form(class), analyst, "analyst {class:?}");
            assert_eq!(policy.role("support").unwrap().forms.form(class), support, "support {class:?}");
        }
        assert!(policy.role("admin").unwrap().forms.everything_clear());
        assert!(policy.role("service").unwrap().forms.everything_clear());
    }
}
