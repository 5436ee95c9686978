//! Telephone numbers: one spelling to store and look up by, and the national form to show.

mod numbering_plan;

use numbering_plan::{Line, NumberingPlan};
use phonenumber::{Mode, PhoneNumber};

/// A telephone number of a known country.
#[derive(Clone, Debug)]
pub struct Phone {
    number: PhoneNumber,
    national: String,
    plan: &'static NumberingPlan,
    line: Line,
}

impl Phone {
    /// Reads a number with its country code (`+86 138 0013 8000`). `None`: it is not a possible number of that country.
    pub fn parse(text: &str) -> Option<Self> {
        let number = phonenumber::parse(None, text).ok()?;
        let national = number.national().to_string();
        let plan = numbering_plan::of(number.code().value())?;
        let line = plan.line(&national)?;
        Some(Self { number, national, plan, line })
    }

    /// The one spelling, `+8613800138000` (ITU-T E.164).
    pub fn e164(&self) -> String {
        self.number.format().mode(Mode::E164).to_string()
    }

    /// The digits as dialled within the country, the trunk prefix included, without spaces. Neither a carrier nor an
    /// extension is part of them.
    pub fn national_digits(&self) -> String {
        self.plan.dialled(&self.national)
    }

    /// Whether it is a land line and nothing else. Countries that do not tell give mobile.
    pub fn is_landline(&self) -> bool {
        self.line == Line::Landline
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

    /// Numbers from the documentation of the library, of a country with a trunk prefix, and of one whose numbers begin with a zero.
    #[test]
    fn the_national_form_is_what_is_dialled_at_home() {
        for (international, national, landline) in [
            ("+33 6 31 96 65 43", "0631966543", false),
            ("+39 02 3661 8300", "0236618300", true),
            ("+86 10 6552 9988", "01065529988", true),
            ("+1 650 253 0000", "6502530000", false),
        ] {
            let phone = Phone::parse(international).unwrap();
            assert_eq!(
                (phone.national_digits().as_str(), phone.is_landline()),
                (national, landline),
                "{international}"
            );
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for wrong in ["", "138", "hello", "+86", "13800138000", "+999 1", "+"] {
            assert!(Phone::parse(wrong).is_none(), "{wrong:?}");
        }
    }
}
