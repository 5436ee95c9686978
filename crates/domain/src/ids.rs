//! The numbers under which things are kept, and the resource names under which clients know them.

use std::fmt;

/// A tenant's number. It leads the key of every row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TenantId(pub i32);

/// A customer's number: dense per tenant from 1, so that it is also the customer's position in every bitmap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CustomerId(pub u32);

impl CustomerId {
    /// Reads `customers/{number}`, or `customers/{number}/{part}` with the given part. `None`: it is not such a name.
    pub fn from_name(name: &str, part: Option<&str>) -> Option<Self> {
        let mut rest = name.strip_prefix("customers/")?;
        if let Some(part) = part {
            rest = rest.strip_suffix(part)?.strip_suffix('/')?;
        }
        // One spelling per customer: no sign, no leading zero.
        if rest.starts_with(['0', '+']) {
            return None;
        }
        rest.parse().ok().map(Self)
    }

    /// `customers/{number}/{part}`.
    pub fn part_name(self, part: &str) -> String {
        format!("{self}/{part}")
    }

    /// The number as the database keeps it.
    pub fn as_i64(self) -> i64 {
        i64::from(self.0)
    }
}

impl TryFrom<i64> for CustomerId {
    type Error = std::num::TryFromIntError;

    fn try_from(number: i64) -> Result<Self, Self::Error> {
        u32::try_from(number).map(Self)
    }
}

impl fmt::Display for CustomerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "customers/{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_customer_has_one_spelling() {
        assert_eq!(CustomerId::from_name("customers/42", None), Some(CustomerId(42)));
        assert_eq!(CustomerId::from_name("customers/42/score", Some("score")), Some(CustomerId(42)));
        for wrong in [
            "",
            "customers/",
            "customers/042",
            "customers/+42",
            "customers/0",
            "customers/x",
            "customers/42/score",
            "customers/4294967296",
            "customers/42 ",
        ] {
            assert_eq!(CustomerId::from_name(wrong, None), None, "{wrong:?}");
        }
    }
}
