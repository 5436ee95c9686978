//! What each class keeps when it is shown in part. Everything counts characters, not bytes; the number of asterisks is a
//! constant of the preset, so that it tells nothing of the length; and a value of which a preset would hide too little, or
//! that does not look like its class, is hidden whole.

use super::Sensitivity;
use crate::phone::Phone;

/// What stands for a text that is hidden whole.
pub const REDACTED: &str = "****";

/// The least number of characters that a preset must hide.
const LEAST_HIDDEN: usize = 4;
/// The asterisks of the forms that have no preset.
const STARS: usize = 4;

/// The partial form of a value of a class. `None`: it is hidden whole.
pub fn partial(class: Sensitivity, value: &str) -> Option<String> {
    match class {
        Sensitivity::Phone => phone(value),
        Sensitivity::Name => keep(value, 1, 0, 2, 1),
        Sensitivity::Email => email(value),
        Sensitivity::Address => address(value),
        Sensitivity::IdNumber if is_alphanumeric(value) => keep(value, 6, 4, 8, LEAST_HIDDEN),
        Sensitivity::BankCard => bank_card(value),
        Sensitivity::LicensePlate => keep(value, 3, 1, 3, 3),
        Sensitivity::IpAddress => ip_address(value),
        _ => None,
    }
}

/// The stricter partial form of a value of a class: of an identity number the first and the last two, of everything else the partial
/// form.
pub fn partial_strict(class: Sensitivity, value: &str) -> Option<String> {
    match class {
        Sensitivity::IdNumber if is_alphanumeric(value) => keep(value, 1, 2, 8, LEAST_HIDDEN),
        Sensitivity::IdNumber => None,
        _ => partial(class, value),
    }
}

/// The first `first` and the last `last` characters of any text.
pub fn keep_ends(value: &str, first: usize, last: usize) -> Option<String> {
    keep(value, first, last, STARS, LEAST_HIDDEN)
}

/// All but the characters `first` to `last` of any text, counted from 1.
pub fn hide_between(value: &str, first: usize, last: usize) -> Option<String> {
    let characters: Vec<char> = value.chars().collect();
    let (begin, end) = (first.checked_sub(1)?, last.min(characters.len()));
    if end.checked_sub(begin)? < LEAST_HIDDEN {
        return None;
    }
    Some(joined(&characters[..begin], STARS, &characters[end..]))
}

/// What stands behind the first `separator` of any text, itself included.
pub fn hide_before(value: &str, separator: char) -> Option<String> {
    let at = value.find(separator)?;
    (value[..at].chars().count() >= LEAST_HIDDEN).then(|| format!("{}{}", "*".repeat(STARS), &value[at..]))
}

/// What stands before the first `separator` of any text, itself included.
pub fn hide_after(value: &str, separator: char) -> Option<String> {
    let behind = value.find(separator)? + separator.len_utf8();
    (value[behind..].chars().count() >= LEAST_HIDDEN).then(|| format!("{}{}", &value[..behind], "*".repeat(STARS)))
}

fn joined(head: &[char], stars: usize, tail: &[char]) -> String {
    head.iter().copied().chain(std::iter::repeat_n('*', stars)).chain(tail.iter().copied()).collect()
}

/// The first `first` and the last `last` characters around `stars` asterisks, if at least `least_hidden` are hidden.
fn keep(value: &str, first: usize, last: usize, stars: usize, least_hidden: usize) -> Option<String> {
    let characters: Vec<char> = value.chars().collect();
    let hidden = characters.len().checked_sub(first.checked_add(last)?)?;
    (hidden >= least_hidden).then(|| joined(&characters[..first], stars, &characters[characters.len() - last..]))
}

fn is_alphanumeric(value: &str) -> bool {
    value.chars().all(|c| c.is_ascii_alphanumeric())
}

fn phone(value: &str) -> Option<String> {
    let phone = Phone::parse(value)?;
    let digits = phone.national_digits();
    let (first, last, stars) = if phone.is_landline() { (4, 2, 5) } else { (3, 4, 4) };
    let shown = keep(&digits, first, last, stars, LEAST_HIDDEN)?;
    // Some countries' plans add an area code that was not said: of what was, enough has to be hidden.
    let said = value.chars().filter(|c| c.is_numeric()).count();
    let told = shown.chars().filter(char::is_ascii_digit).count();
    (said >= told + LEAST_HIDDEN).then_some(shown)
}

fn email(value: &str) -> Option<String> {
    let (local, domain) = value.rsplit_once('@')?;
    let hidden = local.chars().count().checked_sub(1)?;
    let plain_domain = domain.contains('.') && domain.chars().all(|c| c.is_alphanumeric() || c == '.' || c == '-');
    if hidden < LEAST_HIDDEN || !plain_domain {
        return None;
    }
    Some(format!("{}****@{domain}", local.chars().next()?))
}

// The last 8 characters are hidden, and 4 must be left to be worth showing: a short address is all house number.
fn address(value: &str) -> Option<String> {
    let characters: Vec<char> = value.chars().collect();
    let shown = characters.len().checked_sub(8).filter(|shown| *shown >= 4)?;
    let head: String = characters[..shown].iter().collect();
    Some(format!("{head}********"))
}

fn bank_card(value: &str) -> Option<String> {
    let digits: Vec<char> = value.chars().filter(|c| !c.is_whitespace()).collect();
    if !(12..=19).contains(&digits.len()) || !digits.iter().all(char::is_ascii_digit) {
        return None;
    }
    let head: String = digits[..4].iter().collect();
    let tail: String = digits[digits.len() - 4..].iter().collect();
    Some(format!("{head} **** **** {tail}"))
}

fn ip_address(value: &str) -> Option<String> {
    match value.parse::<std::net::IpAddr>().ok()? {
        std::net::IpAddr::V4(v4) => Some(format!("{}.*.*.*", v4.octets()[0])),
        std::net::IpAddr::V6(v6) => Some(format!("{:x}:*:*:*:*:*:*:*", v6.segments()[0])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The published table of presets.
    const EXAMPLES: &[(Sensitivity, &str, &str)] = &[
        (Sensitivity::Phone, "+8613812341234", "138****1234"),
        (Sensitivity::IdNumber, "110105194912310123", "110105********0123"),
        (Sensitivity::Name, "段正淳", "段**"),
        (Sensitivity::Email, "duanzc@example.cn", "d****@example.cn"),
        (Sensitivity::BankCard, "1101222233333256", "1101 **** **** 3256"),
        (Sensitivity::Address, "北京市海淀区马连洼街道289号", "北京市海淀区马********"),
        (Sensitivity::LicensePlate, "苏D40000", "苏D4***0"),
        (Sensitivity::IpAddress, "192.168.1.1", "192.*.*.*"),
    ];

    /// Values of which too little would be hidden, or that are not of their class.
    const HIDDEN_WHOLE: &[(Sensitivity, &str)] = &[
        (Sensitivity::Phone, "12345"),
        (Sensitivity::Phone, ""),
        (Sensitivity::Phone, "+12025550123"),
        (Sensitivity::Email, "a@b.com"),
        (Sensitivity::Email, "no-at-sign"),
        (Sensitivity::Email, "someone@localhost"),
        (Sensitivity::Name, "段"),
        (Sensitivity::Name, ""),
        (Sensitivity::BankCard, "1234 5678"),
        (Sensitivity::IdNumber, "1101051949"),
        (Sensitivity::Address, "海淀区1号"),
        (Sensitivity::LicensePlate, "苏D400"),
        (Sensitivity::IpAddress, "not an address"),
        (Sensitivity::FreeText, "anything at all"),
        (Sensitivity::Pseudonym, "customer-000042"),
    ];

    #[test]
    fn presets_keep_what_the_table_says() {
        for (class, value, shown) in EXAMPLES {
            assert_eq!(partial(*class, value).as_deref(), Some(*shown), "{class:?}");
        }
    }

    #[test]
    fn what_would_be_hidden_too_little_is_hidden_whole() {
        for (class, value) in HIDDEN_WHOLE {
            assert_eq!(partial(*class, value), None, "{class:?}");
        }
    }

    #[test]
    fn the_strict_preset_of_an_identity_number_keeps_three_characters() {
        let strict = |value| partial_strict(Sensitivity::IdNumber, value);
        assert_eq!(strict("110105194912310123").as_deref(), Some("1********23"));
        assert_eq!(strict("110105"), None);
        assert_eq!(strict("1101051"), Some("1********51".to_owned()));
        assert_eq!(strict("11010519491231012\u{ff13}"), None);
        assert_eq!(partial_strict(Sensitivity::Name, "段正淳").as_deref(), Some("段**"));
    }

    #[test]
    fn forms_without_a_preset_hide_four_characters_at_least() {
        assert_eq!(keep_ends("abcdefgh", 2, 2).as_deref(), Some("ab****gh"));
        assert_eq!(keep_ends("abcdefg", 2, 2), None);
        assert_eq!(keep_ends("abcdefgh", usize::MAX, 1), None);
        assert_eq!(hide_between("abcdefgh", 3, 6).as_deref(), Some("ab****gh"));
        assert_eq!(hide_between("abcdefgh", 3, 99).as_deref(), Some("ab****"));
        assert_eq!(hide_between("abcdefgh", 3, 5), None);
        assert_eq!(hide_between("abcdefgh", 6, 99), None);
        assert_eq!(hide_between("abcdefgh", 0, 8), None);
        assert_eq!(hide_before("secret@host", '@').as_deref(), Some("****@host"));
        assert_eq!(hide_before("me@host", '@'), None);
        assert_eq!(hide_after("host/secret", '/').as_deref(), Some("host/****"));
        assert_eq!(hide_after("host/me", '/'), None);
        assert_eq!(hide_after("host", '/'), None);
    }

    /// How many characters a preset may keep at each end, and its asterisks. Written from the published table, not from the code.
    const PROMISES: [(Sensitivity, usize, usize, usize); 4] = [
        (Sensitivity::Name, 1, 0, 2),
        (Sensitivity::IdNumber, 6, 4, 8),
        (Sensitivity::LicensePlate, 3, 1, 3),
        (Sensitivity::BankCard, 4, 4, 8),
    ];

    fn any_text() -> impl Strategy<Value = String> {
        // Any Unicode, and the shapes that presets look for, so that the kept case is met as often as the hidden one.
        prop_oneof![
            any::<String>(),
            "\\PC{0,40}",
            "[0-9 ]{0,24}",
            "[0-9A-Za-z]{0,24}",
            "\\+[0-9]{4,15}",
            "[\\p{Han}0-9]{0,30}",
            "[\\PC]{0,12}@[a-z]{1,8}(\\.[a-z]{2,3})?",
            "[0-9a-f:.]{2,30}",
        ]
    }

    fn asterisks(text: &str) -> usize {
        text.chars().filter(|c| *c == '*').count()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn a_preset_keeps_no_more_than_its_ends_and_its_asterisks_are_a_constant(value in any_text()) {
            for (class, first, last, stars) in PROMISES {
                let Some(shown) = partial(class, &value) else { continue };
                let value: Vec<char> = value.chars().filter(|c| class != Sensitivity::BankCard || !c.is_whitespace()).collect();
                let expected_head: String = value[..first].iter().collect();
                let expected_tail: String = value[value.len() - last..].iter().collect();
                let bare: String = shown.chars().filter(|c| class != Sensitivity::BankCard || *c != ' ').collect();
                prop_assert_eq!(&bare, &format!("{}{}{}", expected_head, "*".repeat(stars), expected_tail));
                let least = match class { Sensitivity::Name => 1, Sensitivity::LicensePlate => 3, _ => 4 };
                prop_assert!(value.len() >= first + last + least, "{:?}", class);
            }
        }

        #[test]
        fn an_email_shows_one_character_and_the_domain(value in any_text()) {
            if let Some(shown) = partial(Sensitivity::Email, &value) {
                let (local, domain) = value.rsplit_once('@').unwrap();
                prop_assert_eq!(shown, format!("{}****@{}", local.chars().next().unwrap(), domain));
                prop_assert!(local.chars().count() >= 5);
            }
        }

        #[test]
        fn an_address_hides_its_last_eight_characters(value in any_text()) {
            if let Some(shown) = partial(Sensitivity::Address, &value) {
                let kept = value.chars().count() - 8;
                let head: String = value.chars().take(kept).collect();
                prop_assert_eq!(shown, head + "********");
            }
        }

        #[test]
        fn a_phone_shows_seven_digits_at_most_and_four_asterisks_or_five(value in any_text()) {
            if let Some(shown) = partial(Sensitivity::Phone, &value) {
                let digits = shown.chars().filter(char::is_ascii_digit).count();
                prop_assert!((asterisks(&shown) == 4 && digits == 7) || (asterisks(&shown) == 5 && digits == 6), "{}", shown);
                prop_assert_eq!(shown.chars().count(), digits + asterisks(&shown));
                prop_assert!(value.chars().filter(|c| c.is_numeric()).count() >= digits + 4);
            }
        }

        #[test]
        fn a_phone_of_a_plan_that_adds_an_area_code_is_not_shown(
            local in prop_oneof![4_730_000..4_740_000_u32, 2_000_000..10_000_000_u32],
        ) {
            // Seven digits are a number in Grenada, whose area 473 is added: what is hidden would be of the area in part.
            prop_assert_eq!(partial(Sensitivity::Phone, &format!("+1{local}")), None);
        }

        #[test]
        fn an_ip_address_shows_its_first_group(value in any_text(), bits in any::<u128>(), v4 in any::<u32>()) {
            let v4 = std::net::Ipv4Addr::from(v4);
            prop_assert_eq!(partial(Sensitivity::IpAddress, &v4.to_string()), Some(format!("{}.*.*.*", v4.octets()[0])));
            let v6 = std::net::Ipv6Addr::from(bits);
            let shown = partial(Sensitivity::IpAddress, &v6.to_string()).unwrap();
            prop_assert_eq!(shown, format!("{:x}:*:*:*:*:*:*:*", bits >> 112));
            if let Some(shown) = partial(Sensitivity::IpAddress, &value) {
                prop_assert!(value.parse::<std::net::IpAddr>().is_ok() && (asterisks(&shown) == 3 || asterisks(&shown) == 7));
            }
        }

        #[test]
        fn other_classes_have_no_partial_form(value in any_text()) {
            for class in [
                Sensitivity::None, Sensitivity::BirthDate, Sensitivity::FreeText, Sensitivity::Financial,
                Sensitivity::Location, Sensitivity::Demographic, Sensitivity::Pseudonym,
            ] {
                prop_assert_eq!(partial(class, &value), None);
            }
        }

        #[test]
        fn forms_without_a_preset_keep_what_they_state(value in any_text(), first in 0_usize..12, last in 0_usize..12) {
            let characters: Vec<char> = value.chars().collect();
            if let Some(shown) = keep_ends(&value, first, last) {
                let head: String = characters[..first].iter().collect();
                let tail: String = characters[characters.len() - last..].iter().collect();
                prop_assert_eq!(shown, format!("{head}****{tail}"));
                prop_assert!(characters.len() >= first + last + 4);
            }
            if let Some(shown) = hide_between(&value, first, last) {
                let hidden = last.min(characters.len()) + 1 - first;
                prop_assert!(hidden >= 4);
                prop_assert_eq!(shown.chars().count(), characters.len() - hidden + 4);
            }
            for shown in [hide_before(&value, 'a'), hide_after(&value, 'a')].into_iter().flatten() {
                prop_assert!(shown.contains("****"));
            }
        }
    }
}
