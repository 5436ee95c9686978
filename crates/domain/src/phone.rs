//! Telephone numbers: one spelling to store and look up by, and the national form to show.

use phonenumber::{Mode, PhoneNumber, Type};

/// A telephone number of a known country.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phone {
    number: PhoneNumber,
    kind: Type,
}

impl Phone {
    /// Reads a number with its country code (`+86 138 0013 8000`). `None`: it is not a possible number of that country.
    pub fn parse(text: &str) -> Option<Self> {
        let number = phonenumber::parse(None, text).ok()?;
        // What the library's own check comes to; the type is wanted anyway, and costs as much again.
        let kind = number.number_type(&phonenumber::metadata::DATABASE);
        (kind != Type::Unknown).then_some(Self { number, kind })
    }

    /// The one spelling, `+8613800138000` (ITU-T E.164).
    pub fn e164(&self) -> String {
        self.number.format().mode(Mode::E164).to_string()
    }

    /// The digits as dialled within the country, the trunk prefix included, without spaces.
    pub fn national_digits(&self) -> String {
        let national = self.number.format().mode(Mode::National).to_string();
        national.chars().filter(char::is_ascii_digit).collect()
    }

    /// Whether it is a land line and nothing else. Countries that do not tell give mobile.
    pub fn is_landline(&self) -> bool {
        self.kind == Type::FixedLine
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_number_are_one_number() {
        for spelling in ["+86 138 0013 8000", "+8613800138000", "+86-138-0013-8000"] {
            assert_eq!(Phone::parse(spelling).unwrap().e164(), "+8613800138000");
        }
        assert_eq!(Phone::parse("+8613800138000").unwrap().national_digits(), "13800138000");
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for wrong in ["", "138", "hello", "+86", "13800138000", "+999 1", "+"] {
            assert_eq!(Phone::parse(wrong), None, "{wrong:?}");
        }
    }
}
