//! The numbering plans of the countries, as the `phonenumber` library's data give them, their patterns compiled once.
//!
//! The library looks each pattern up by its text in one small cache behind a lock, at a cost above that of the match: a
//! masked number would take 15 µs. The rules below are the library's own (`validator::number_type`, `formatter::format`);
//! the tests compare the two for the example numbers of every country.

use std::sync::OnceLock;

use phonenumber::Metadata;
use phonenumber::metadata::{DATABASE, Descriptor, Format};
use regex::{Regex, RegexBuilder};

/// What kinds of line a number may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    Landline,
    /// Mobile, or of a service, or of a country whose numbers do not tell.
    Other,
}

/// The plan of one country calling code, which several regions may share (+1).
#[derive(Debug)]
pub(super) struct NumberingPlan {
    regions: Vec<Region>,
    formats: Vec<NationalFormat>,
}

/// The plan of a calling code; `None`: nobody has that code.
pub(super) fn of(calling_code: u16) -> Option<&'static NumberingPlan> {
    // Calling codes have at most three digits.
    static PLANS: [OnceLock<Option<NumberingPlan>>; 1000] = [const { OnceLock::new() }; 1000];
    PLANS.get(usize::from(calling_code))?.get_or_init(|| NumberingPlan::compile(calling_code)).as_ref()
}

impl NumberingPlan {
    fn compile(calling_code: u16) -> Option<Self> {
        let regions = DATABASE.by_code(&calling_code)?;
        // Regions that share a code are written as the first of them writes.
        let main = regions.first()?;
        let formats = main.formats().iter().map(|format| NationalFormat::compile(main, format)).collect();
        Some(Self { regions: regions.into_iter().map(Region::compile).collect(), formats })
    }

    /// The kind of line of a national number, without its trunk prefix; `None`: there is no such number.
    pub(super) fn line(&self, national: &str) -> Option<Line> {
        match self.regions.as_slice() {
            [only] => only.line(national),
            shared => shared.iter().find_map(|region| match &region.leading_digits {
                Some(leading) => leading.is_match(national).then(|| region.line(national)),
                None => region.line(national).map(Some),
            })?,
        }
    }

    /// The number as it is dialled within its country: the trunk prefix, if one is due, and no spaces.
    pub(super) fn dialled(&self, national: &str) -> String {
        let Some(format) = self.formats.iter().find(|format| format.applies_to(national)) else {
            return national.to_owned();
        };
        let mut written = format.pattern.replace(national, &*format.template).into_owned();
        written.retain(|character| character.is_ascii_digit());
        written
    }
}

/// The numbers of one region.
#[derive(Debug)]
struct Region {
    leading_digits: Option<Regex>,
    general: Numbers,
    /// Free, premium, of a company, of the net: neither land line nor mobile, whatever else they look like.
    of_services: Vec<Numbers>,
    fixed_line: Option<Numbers>,
    mobile: Option<Numbers>,
}

impl Region {
    fn compile(region: &Metadata) -> Self {
        let known = region.descriptors();
        let of_services = [
            known.premium_rate(),
            known.toll_free(),
            known.shared_cost(),
            known.voip(),
            known.personal_number(),
            known.pager(),
            known.uan(),
            known.voicemail(),
        ];
        Self {
            leading_digits: region.leading_digits().map(|pattern| anchored(pattern.as_str())),
            general: Numbers::compile(known.general()),
            of_services: of_services.into_iter().flatten().map(Numbers::compile).collect(),
            fixed_line: known.fixed_line().map(Numbers::compile),
            mobile: known.mobile().map(Numbers::compile),
        }
    }

    fn line(&self, national: &str) -> Option<Line> {
        let is = |numbers: &Option<Numbers>| numbers.as_ref().is_some_and(|numbers| numbers.contain(national));
        if !self.general.contain(national) {
            return None;
        }
        // First what most numbers of persons are.
        let mobile = is(&self.mobile);
        let fixed_line = is(&self.fixed_line);
        if fixed_line && !mobile && !self.tells_nothing() && !self.is_of_service(national) {
            return Some(Line::Landline);
        }
        (mobile || fixed_line || self.is_of_service(national)).then_some(Line::Other)
    }

    fn is_of_service(&self, national: &str) -> bool {
        self.of_services.iter().any(|numbers| numbers.contain(national))
    }

    /// Whether one pattern stands for land lines and mobiles alike.
    fn tells_nothing(&self) -> bool {
        let pattern = |numbers: &Option<Numbers>| numbers.as_ref().map(|numbers| numbers.pattern.as_str().to_owned());
        pattern(&self.fixed_line) == pattern(&self.mobile)
    }
}

/// The numbers of one kind.
#[derive(Debug)]
struct Numbers {
    lengths: Vec<u16>,
    pattern: Regex,
}

impl Numbers {
    fn compile(descriptor: &Descriptor) -> Self {
        let lengths = descriptor.possible_length().to_vec();
        Self { lengths, pattern: anchored(descriptor.national_number().as_str()) }
    }

    fn contain(&self, national: &str) -> bool {
        let possible =
            self.lengths.is_empty() || self.lengths.iter().any(|length| usize::from(*length) == national.len());
        possible && self.pattern.is_match(national)
    }
}

/// How some numbers of a country are written within it.
#[derive(Debug)]
struct NationalFormat {
    leading_digits: Option<Regex>,
    pattern: Regex,
    /// The replacement of `pattern`, with the trunk prefix.
    template: String,
}

impl NationalFormat {
    fn compile(region: &Metadata, format: &Format) -> Self {
        // The last of the leading patterns is the exact one, the others are for numbers that are still being typed.
        let leading_digits = format.leading_digits().last().map(|pattern| anchored(pattern.as_str()));
        Self { leading_digits, pattern: anchored(format.pattern().as_str()), template: template(region, format) }
    }

    fn applies_to(&self, national: &str) -> bool {
        let matches_whole = || self.pattern.find(national).is_some_and(|found| found.end() == national.len());
        self.leading_digits.as_ref().is_none_or(|leading| leading.is_match(national) && matches_whole())
    }
}

/// The groups of `format` with the first one dressed by the rule for the trunk prefix: `$1 $2` and `$NP$FG` are `0$1 $2`.
fn template(region: &Metadata, format: &Format) -> String {
    let groups = format.format();
    let Some(rule) = format.national_prefix() else { return groups.to_owned() };
    let Some(start) = groups.find('$') else { return groups.to_owned() };
    let (before, rest) = groups.split_at(start);
    let (first, after) = rest.split_at(2.min(rest.len()));
    let dressed =
        rule.replace("$NP", region.national_prefix().unwrap_or_default()).replace("$FG", first).replace("$CC", "");
    format!("{before}{dressed}{after}")
}

/// A pattern that must match from the first digit on.
fn anchored(pattern: &str) -> Regex {
    // The patterns are laid out over several lines, and digits are ASCII by now.
    let compiled = RegexBuilder::new(&format!("^(?:{pattern})")).ignore_whitespace(true).unicode(false).build();
    compiled.expect("the library reads its own patterns before it gives them")
}

#[cfg(test)]
mod tests {
    use super::*;
    use phonenumber::{Mode, Type};
    use proptest::prelude::*;

    const KINDS: &[Type] = &[
        Type::FixedLine,
        Type::Mobile,
        Type::TollFree,
        Type::PremiumRate,
        Type::SharedCost,
        Type::PersonalNumber,
        Type::Voip,
        Type::Pager,
        Type::Uan,
        Type::Voicemail,
    ];

    /// The example numbers of every country and kind, in international form.
    fn examples() -> Vec<String> {
        let of_region = |region: &Metadata| -> Vec<String> {
            let code = region.country_code();
            let known = KINDS.iter().filter_map(|kind| region.descriptors().get(*kind)?.example());
            known.map(|example| format!("+{code}{example}")).collect()
        };
        DATABASE.iter().flat_map(of_region).collect()
    }

    /// Compares plan and library on one number; whether it could be read at all.
    fn agrees_with_the_library(international: &str) -> bool {
        let Ok(number) = phonenumber::parse(None, international) else { return false };
        if number.carrier().is_some() || number.extension().is_some() {
            return false;
        }
        let national = number.national().to_string();
        let plan = of(number.code().value()).unwrap();
        assert_eq!(plan.line(&national).is_some(), phonenumber::is_valid(&number), "{international} is valid");
        // The library drops the leading zeros of a number (Italy) before it looks for the type.
        if number.national().zeros() == 0 {
            let landline = number.number_type(&DATABASE) == Type::FixedLine;
            assert_eq!(plan.line(&national) == Some(Line::Landline), landline, "{international} is a land line");
        }
        let mut written = number.format().mode(Mode::National).to_string();
        written.retain(|character| character.is_ascii_digit());
        assert_eq!(plan.dialled(&national), written, "{international} as dialled");
        true
    }

    #[test]
    fn plans_agree_with_the_library_on_the_example_numbers_of_every_country() {
        let compared = examples().iter().filter(|example| agrees_with_the_library(example)).count();
        assert!(compared > 900, "only {compared} numbers were compared");
    }

    proptest! {
        #[test]
        fn plans_agree_with_the_library_on_neighbours_of_the_examples(
            which in any::<prop::sample::Index>(), position in any::<prop::sample::Index>(), digit in 0..10_u8, longer in any::<bool>(),
        ) {
            let examples = examples();
            let mut number = which.get(&examples).clone();
            let at = 2 + position.index(number.len() - 2);
            let digit = char::from(b'0' + digit).to_string();
            number.replace_range(at..if longer { at } else { at + 1 }, &digit);
            agrees_with_the_library(&number);
        }
    }
}
