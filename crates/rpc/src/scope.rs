//! Rules about whom a caller may see: row scopes, and the conditions of forms. They read a customer's attributes and the caller's own.

use quintile_domain::time::Instant;
use quintile_expr::{ExprError, Field, Known, Now, Row, Rule, Schema, Type, ValueRef};
use quintile_proto::types::{CustomerAttributes, CustomerKind, Purpose};
use std::sync::LazyLock;
use thiserror::Error;

/// The attributes that rules of a policy read. Segments know the same fields by the same numbers, which never change.
pub const FIELDS: [(u16, &str); 11] = [
    (6, "kind"),
    (7, "owner"),
    (8, "region"),
    (9, "department"),
    (10, "language"),
    (11, "acquisition_channel"),
    (26, "consent.marketing"),
    (27, "consent.profiling"),
    (28, "consent.analytics"),
    (29, "consent.support"),
    (30, "consent.third_party"),
];
/// The number of the first field of consent; the others follow in the order of [`Purpose`].
const FIRST_CONSENT: u16 = 26;
/// What rules read of the caller.
const CALLER_FIELDS: [(u16, &str); 3] =
    [(60_001, "caller.subject"), (60_002, "caller.department"), (60_003, "caller.region")];

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    let fields = FIELDS.into_iter().chain(CALLER_FIELDS);
    let fields = fields.map(|(id, name)| Field { id, name: name.into(), ty: Type::Text, description: "".into() });
    Schema::new(fields.collect(), 2).expect("the names and numbers above are spellable and each once")
});

/// Why a rule of a policy is refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ScopeError {
    /// It is no rule over these fields.
    #[error("{0}")]
    Rule(#[from] ExprError),
    /// It refers to a segment: who is in one depends on more than a policy may know.
    #[error("a rule of a policy can't refer to segments")]
    Segment,
}

/// A rule over a customer's attributes and the caller's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope(Rule);

/// What is known of a caller besides the role.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallerAttributes<'a> {
    /// Who calls.
    pub subject: &'a str,
    /// The caller's department. Empty: none.
    pub department: &'a str,
    /// The caller's region. Empty: none.
    pub region: &'a str,
}

impl Scope {
    /// Reads a rule.
    pub fn parse(source: &str) -> Result<Self, ScopeError> {
        let rule = Rule::parse(source, &SCHEMA)?;
        if rule.references().is_empty() { Ok(Self(rule)) } else { Err(ScopeError::Segment) }
    }

    /// The rule for one caller.
    #[must_use]
    pub fn for_caller(&self, caller: &CallerAttributes<'_>) -> Self {
        Self(self.0.fixed(&|field| {
            let value = match field {
                60_001 => caller.subject,
                60_002 => caller.department,
                60_003 => caller.region,
                _ => return Known::Nothing,
            };
            if value.is_empty() { Known::Missing } else { Known::Value(ValueRef::Text(value)) }
        }))
    }

    /// Whether it holds for a customer.
    pub fn holds(&self, attributes: &CustomerAttributes) -> bool {
        self.0.matches(&AttributeRow(attributes), &Now::new(Instant::default().micros(), &|_| 0))
    }

    /// The rule, for those who evaluate it over many customers at once.
    pub fn rule(&self) -> &Rule {
        &self.0
    }
}

struct AttributeRow<'a>(&'a CustomerAttributes);

impl Row for AttributeRow<'_> {
    fn value(&self, field: u16) -> Option<ValueRef<'_>> {
        attribute(self.0, field).filter(|text| !text.is_empty()).map(ValueRef::Text)
    }

    fn in_segment(&self, _name: &str) -> bool {
        false
    }
}

/// The value of a field of [`FIELDS`]. Empty or none: missing.
pub fn attribute(attributes: &CustomerAttributes, field: u16) -> Option<&str> {
    match field {
        6 => Some(kind(attributes.kind())),
        7 => Some(&attributes.owner),
        8 => attributes.region.as_deref(),
        9 => Some(&attributes.department),
        10 => Some(&attributes.language),
        11 => Some(&attributes.acquisition_channel),
        26..=30 => consent(attributes, i32::from(field - FIRST_CONSENT) + Purpose::Marketing as i32),
        _ => None,
    }
}

fn consent(attributes: &CustomerAttributes, purpose: i32) -> Option<&'static str> {
    if attributes.consents.contains(&purpose) {
        Some("given")
    } else if attributes.objections.contains(&purpose) {
        Some("objected")
    } else {
        None
    }
}

fn kind(kind: CustomerKind) -> &'static str {
    match kind {
        CustomerKind::Unspecified => "",
        CustomerKind::Customer => "customer",
        CustomerKind::Contact => "contact",
        CustomerKind::Lead => "lead",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes() -> CustomerAttributes {
        CustomerAttributes {
            kind: CustomerKind::Lead.into(),
            owner: "ann".to_owned(),
            region: Some("north".to_owned()),
            consents: vec![Purpose::Marketing.into()],
            objections: vec![Purpose::ThirdParty.into()],
            ..CustomerAttributes::default()
        }
    }

    #[test]
    fn a_scope_reads_attributes_consents_and_the_caller() {
        let ann = CallerAttributes { subject: "ann", department: "", region: "north" };
        for (source, expected) in [
            ("owner == caller.subject", true),
            ("region == caller.region && kind == \"lead\"", true),
            ("department == caller.department", false),
            ("department != caller.department", false),
            ("consent.marketing == \"given\"", true),
            ("consent.profiling == \"given\"", false),
            ("has(consent.profiling)", false),
            ("consent.third_party == \"objected\"", true),
            ("language == \"\"", false),
            ("false", false),
            ("true", true),
        ] {
            let scope = Scope::parse(source).unwrap().for_caller(&ann);
            assert_eq!(scope.holds(&attributes()), expected, "{source}");
        }
    }

    #[test]
    fn a_scope_of_somebody_else_does_not_hold() {
        let scope = Scope::parse("owner == caller.subject").unwrap();
        for subject in ["", "bob", "ann\0", "Ann", "ann\" || true || owner == \""] {
            let caller = CallerAttributes { subject, ..CallerAttributes::default() };
            assert!(!scope.for_caller(&caller).holds(&attributes()), "{subject:?}");
        }
    }

    #[test]
    fn a_scope_knows_no_segments_and_no_other_fields() {
        assert_eq!(Scope::parse("segment(\"vip\")"), Err(ScopeError::Segment));
        for wrong in ["net_revenue > 1", "owner == ", "rfm.r >= 4", "owner == 1", ""] {
            assert!(matches!(Scope::parse(wrong), Err(ScopeError::Rule(_))), "{wrong}");
        }
    }
}
