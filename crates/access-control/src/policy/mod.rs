//! The policy: the roles as they are seeded, and the snapshot that is in force.

pub mod in_force;
mod method_groups;
pub mod publishing;
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
        .copied()
        .flatten()
        .flat_map(|(service, methods)| methods.iter().map(move |method| format!("{service}/{method}")))
        .collect();
    let forms = role.forms.iter().flat_map(|seeded| {
        seeded.classes.iter().map(|class| FieldForm {
            sensitivity: *class as i32,
            form: seeded.form as i32,
            condition: seeded.condition.to_owned(),
            ..FieldForm::default()
        })
    });
    RolePolicy {
        role: role.name.to_owned(),
        methods,
        forms: forms.collect(),
        row_scope: role.row_scope.to_owned(),
        lookups_per_minute: role.lookups_per_minute,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quintile_domain::masking::{Form, Sensitivity};
    use quintile_proto::access::{Jwks, PolicySnapshot};
    use quintile_proto::types::{CustomerAttributes, Purpose};
    use quintile_rpc::policy::Policy;
    use quintile_rpc::scope::CallerAttributes;
    use std::collections::BTreeSet;

    fn policy() -> Policy {
        let snapshot = PolicySnapshot { roles: seeded_roles(), jwks: Some(Jwks::default()), ..Default::default() };
        Policy::from_snapshot(&snapshot).unwrap()
    }

    fn methods_of_the_contracts() -> BTreeSet<String> {
        quintile_proto::descriptor_pool()
            .services()
            .filter(|service| publishing::is_served(service.full_name()))
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

    /// For services alone: whoever may change a log must not be able to have it signed.
    const NOT_FOR_ADMINISTRATORS: [&str; 2] =
        ["quintile.access.v1.CheckpointService/SignCheckpoint", "quintile.access.v1.MasterKeyService/ReportKeyState"];

    #[test]
    fn an_administrator_may_call_every_method_but_the_services_own() {
        let policy = policy();
        for method in methods_of_the_contracts() {
            let may = policy.role("default", "admin").unwrap().may_call(&format!("/{method}"));
            assert_eq!(may, !NOT_FOR_ADMINISTRATORS.contains(&method.as_str()), "{method}");
        }
    }

    #[test]
    fn nothing_is_written_twice() {
        for role in seeded_roles() {
            let methods: BTreeSet<_> = role.methods.iter().collect();
            assert_eq!(methods.len(), role.methods.len(), "{}", role.role);
            let classes: BTreeSet<_> = role.forms.iter().map(|form| (form.sensitivity, &form.condition)).collect();
            assert_eq!(classes.len(), role.forms.len(), "{}", role.role);
        }
    }

    #[test]
    fn roles_may_call_what_their_work_needs() {
        const TABLE: &str = include_str!("methods.txt");
        let policy = policy();
        let mut told = BTreeSet::new();
        for line in TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (method, who) = line.split_once(' ').unwrap();
            told.insert(method.to_owned());
            let who: BTreeSet<_> = who.split_whitespace().collect();
            for role in ROLES {
                let may = policy.role("default", role.name).unwrap().may_call(&format!("/{method}"));
                assert_eq!(may, who.contains(role.name), "{} {method}", role.name);
            }
        }
        assert_eq!(told, methods_of_the_contracts(), "every method has its line in the table");
    }

    /// The published table of roles, transcribed: for each role the form of each class, for a customer of one's own and for another.
    #[test]
    fn fields_are_seen_as_the_published_table_of_roles_says() {
        const CLASSES: [Sensitivity; 14] = [
            Sensitivity::Name,
            Sensitivity::Phone,
            Sensitivity::Email,
            Sensitivity::Address,
            Sensitivity::IdNumber,
            Sensitivity::BankCard,
            Sensitivity::LicensePlate,
            Sensitivity::IpAddress,
            Sensitivity::BirthDate,
            Sensitivity::FreeText,
            Sensitivity::Financial,
            Sensitivity::Location,
            Sensitivity::Demographic,
            Sensitivity::Pseudonym,
        ];
        // c clear, p partial, y year, - redacted; o: clear for own, redacted for others.
        const TABLE: [(&str, &str); 8] = [
            ("admin", "c c c c c c c c c c c c c c"),
            ("service", "c c c c c c c c c c c c c c"),
            ("support", "c p p p p p p p y c c c c c"),
            ("sales", "o o o p p p p p y o c c c o"),
            ("marketer", "- - - - - - - - y - c c c -"),
            ("analyst", "- - - - - - - - y - c c c -"),
            ("data-engineer", "- - - - - - - - y - c c c -"),
            ("auditor", "- - - - - - - - - - - - - -"),
        ];
        let policy = policy();
        let caller = CallerAttributes { subject: "ann", ..CallerAttributes::default() };
        for (role, letters) in TABLE {
            let rights = policy.role("default", role).unwrap().rights(&caller, Purpose::Unspecified, None);
            for (class, letter) in CLASSES.into_iter().zip(letters.split(' ')) {
                for (owner, is_own) in [("ann", true), ("bob", false), ("", false)] {
                    let attributes = CustomerAttributes { owner: owner.to_owned(), ..CustomerAttributes::default() };
                    let forms = rights.forms_for(&attributes).unwrap_or_else(|| rights.forms.clone());
                    let expected = match letter {
                        "c" => Form::Clear,
                        "o" if is_own => Form::Clear,
                        "p" => Form::Partial,
                        "y" => Form::Year,
                        _ => Form::Redacted,
                    };
                    assert_eq!(*forms.form(class), expected, "{role} {class:?} of {owner:?}");
                }
                assert_eq!(rights.forms.reads_in_clear(class), letter == "c", "{role} may use {class:?} in queries");
            }
        }
    }

    #[test]
    fn rows_are_reached_as_the_published_table_of_roles_says() {
        let attributes = |owner: &str, consents: &[Purpose]| CustomerAttributes {
            owner: owner.to_owned(),
            consents: consents.iter().map(|purpose| *purpose as i32).collect(),
            ..CustomerAttributes::default()
        };
        let customers =
            [attributes("ann", &[]), attributes("bob", &[Purpose::Marketing]), attributes("", &[Purpose::Profiling])];
        let policy = policy();
        let caller = CallerAttributes { subject: "ann", ..CallerAttributes::default() };
        for (role, expected) in [
            ("admin", [true, true, true]),
            ("service", [true, true, true]),
            ("support", [true, true, true]),
            ("sales", [true, false, false]),
            ("marketer", [false, true, false]),
            ("analyst", [true, true, true]),
            ("data-engineer", [true, true, true]),
            ("auditor", [false, false, false]),
        ] {
            let rights = policy.role("default", role).unwrap().rights(&caller, Purpose::Unspecified, None);
            let reached = customers.each_ref().map(|attributes| rights.reaches(attributes));
            assert_eq!(reached, expected, "{role}");
        }
    }
}
