//! The fields that rules may name.

use quintile_domain::names::nearest;
use std::borrow::Cow;
use std::fmt;

/// The type of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// A 64-bit whole number.
    Int,
    /// UTF-8 text, compared by its bytes.
    Text,
    /// True or false.
    Bool,
    /// Microseconds since 1970 in UTC.
    Instant,
    /// Minor units of the tenant's currency in rows, major units in rules.
    Money,
    /// A number of up to [`DECIMALS`] decimals: in rows as many times its unit, a whole number.
    Decimal,
}

/// The decimals of a [`Type::Decimal`].
pub const DECIMALS: u8 = 3;

impl Type {
    /// The type's name in error texts.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Int => "int",
            Self::Text => "text",
            Self::Bool => "bool",
            Self::Instant => "instant",
            Self::Money => "money",
            Self::Decimal => "decimal",
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A field that rules may name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// What rows and access control know it by; unique in its schema.
    pub id: u16,
    /// What rules know it by: identifiers joined by dots, `rfm.r`; unique in its schema.
    pub name: Cow<'static, str>,
    /// Its type.
    pub ty: Type,
    /// One phrase for the author of a rule.
    pub description: Cow<'static, str>,
}

/// A set of fields in which no rule could ever work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// Two fields have this name.
    #[error("two fields are named `{0}`")]
    DuplicateName(String),
    /// Two fields have this id.
    #[error("two fields have the id {0}")]
    DuplicateId(u16),
    /// No rule can spell this name, or it means something else in the language.
    #[error("`{0}` cannot be the name of a field")]
    UnusableName(String),
    /// No currency has this many decimals.
    #[error("no currency has {0} decimals")]
    TooManyDecimals(u8),
}

/// The fields that rules may name, and the decimals of the tenant's currency.
#[derive(Clone, Debug)]
pub struct Schema {
    /// Sorted by name, for the lookup.
    fields: Vec<Field>,
    minor_digits: u8,
}

/// Words that CEL reserves, and `now`, which this language adds.
const RESERVED: [&str; 22] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "false",
    "for",
    "function",
    "if",
    "import",
    "in",
    "let",
    "loop",
    "namespace",
    "now",
    "null",
    "package",
    "return",
    "true",
    "var",
    "void",
    "while",
];

/// ISO 4217 knows no currency with more decimals than this.
const MAX_MINOR_DIGITS: u8 = 4;

impl Schema {
    /// A schema of `fields`, whose money has `minor_digits` decimals (ISO 4217: 2 for EUR, 0 for
    /// JPY).
    ///
    /// # Errors
    /// [`SchemaError`] when a name or an id occurs twice, when no rule could spell a name, or when
    /// `minor_digits` is above 4.
    pub fn new(mut fields: Vec<Field>, minor_digits: u8) -> Result<Self, SchemaError> {
        if minor_digits > MAX_MINOR_DIGITS {
            return Err(SchemaError::TooManyDecimals(minor_digits));
        }
        if let Some(field) = fields.iter().find(|field| !is_spellable(&field.name)) {
            return Err(SchemaError::UnusableName(field.name.to_string()));
        }
        fields.sort_by_key(|field| field.id);
        if let Some(pair) = fields.windows(2).find(|pair| pair[0].id == pair[1].id) {
            return Err(SchemaError::DuplicateId(pair[0].id));
        }
        fields.sort_by(|a, b| a.name.cmp(&b.name));
        if let Some(pair) = fields.windows(2).find(|pair| pair[0].name == pair[1].name) {
            return Err(SchemaError::DuplicateName(pair[0].name.to_string()));
        }
        Ok(Self { fields, minor_digits })
    }

    /// The field of that name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Field> {
        let at = self.fields.binary_search_by(|field| (*field.name).cmp(name));
        at.ok().map(|index| &self.fields[index])
    }

    /// All fields, by name.
    #[must_use]
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The decimals of the tenant's currency.
    #[must_use]
    pub fn minor_digits(&self) -> u8 {
        self.minor_digits
    }

    /// The known name most like `name`, when at most a third of it would have to change.
    #[must_use]
    pub fn nearest(&self, name: &str) -> Option<&str> {
        nearest(name, self.fields.iter().map(|field| &*field.name))
    }
}

/// Whether a word means something in the language, so that no part of a field's name can be it.
#[must_use]
pub fn is_reserved(word: &str) -> bool {
    RESERVED.contains(&word)
}

fn is_spellable(name: &str) -> bool {
    name.split('.').all(|part| {
        let starts_well = part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        starts_well && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !is_reserved(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(id: u16, name: &'static str) -> Field {
        Field { id, name: name.into(), ty: Type::Int, description: "".into() }
    }

    #[test]
    fn a_schema_in_which_a_rule_could_not_work_is_refused() {
        let names = ["", "now", "a..b", "1a", "a-b", "rfm.true", "ä"];
        for name in names {
            let refused = Schema::new(vec![field(1, name)], 2).unwrap_err();
            assert_eq!(refused, SchemaError::UnusableName(name.to_owned()));
        }
        let twice = vec![field(1, "a"), field(2, "a")];
        assert_eq!(Schema::new(twice, 2).unwrap_err(), SchemaError::DuplicateName("a".to_owned()));
        let twice = vec![field(1, "a"), field(1, "b")];
        assert_eq!(Schema::new(twice, 2).unwrap_err(), SchemaError::DuplicateId(1));
        assert_eq!(Schema::new(vec![], 5).unwrap_err(), SchemaError::TooManyDecimals(5));
    }

    #[test]
    fn the_nearest_name_is_close_or_none() {
        let fields = vec![field(1, "rfm.r"), field(2, "rfm.f"), field(3, "last_order_at")];
        let schema = Schema::new(fields, 2).unwrap();
        let table = [
            ("rfm.F", Some("rfm.f")),
            ("rmf.r", None),
            ("rfn.r", Some("rfm.r")),
            ("last_order", Some("last_order_at")),
            ("lastorderat", Some("last_order_at")),
            ("birthday", None),
        ];
        for (written, nearest) in table {
            assert_eq!(schema.nearest(written), nearest, "{written}");
        }
        assert_eq!(schema.nearest(&"x".repeat(65)), None);
    }
}
