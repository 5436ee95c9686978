//! What each class keeps when it is shown in part. Everything counts characters, not bytes; the number of asterisks is a
//! constant of the preset, so that it tells nothing of the length; and a value of which a preset would hide too little, or
//! that does not look like its class, is hidden whole.

use super::Sensitivity;
use crate::phone::Phone;

/// What stands for a text that is hidden whole.
pub const REDACTED: &str = "****";

/// The least number of characters that a preset must hide.
const LEAST_HIDDEN: usize = 4;

/// The partial form of a value of a class.
pub fn partial(class: Sensitivity, value: &str) -> String {
    let kept = match class {
        Sensitivity::Phone => phone(value),
        Sensitivity::Name => keep(value, 1, 0, 2, 1),
        Sensitivity::Email => email(value),
        Sensitivity::Address => address(value),
        Sensitivity::IdNumber if is_alphanumeric(value) => keep(value, 6, 4, 8, LEAST_HIDDEN),
        Sensitivity::BankCard => bank_card(value),
        Sensitivity::LicensePlate => keep(value, 3, 1, 3, 3),
        Sensitivity::IpAddress => ip_address(value),
        _ => None,
    };
    kept.unwrap_or_else(|| REDACTED.to_owned())
}

/// The first `first` and the last `last` characters around `stars` asterisks, if at least `least_hidden` are hidden.
fn keep(value: &str, first: usize, last: usize, stars: usize, least_hidden: usize) -> Option<String> {
    let characters: Vec<char> = value.chars().collect();
    let hidden = characters.len().checked_sub(first + last)?;
    if hidden < least_hidden {
        return None;
    }
    let head: String = characters[..first].iter().collect();
    let tail: String = characters[characters.len() - last..].iter().collect();
    Some(format!("{head}{}{tail}", "*".repeat(stars)))
}

fn is_alphanumeric(value: &str) -> bool {
    value.chars().all(|c| c.is_ascii_alphanumeric())
}

fn phone(value: &str) -> Option<String> {
    let phone = Phone::parse(value)?;
    let digits = phone.national_digits();
    if phone.is_landline() { keep(&digits, 4, 2, 5, LEAST_HIDDEN) } else { keep(&digits, 3, 4, 4, LEAST_HIDDEN) }
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
            assert_eq!(partial(*class, value), *shown, "{class:?}");
        }
    }

    #[test]
    fn what_would_be_hidden_too_little_is_hidden_whole() {
        for (class, value) in HIDDEN_WHOLE {
            assert_eq!(partial(*class, value), REDACTED, "{class:?}");
        }
    }

    proptest! {
        #[test]
        fn a_name_never_shows_more_than_its_first_character(name in "\\PC{0,40}") {
            let shown = partial(Sensitivity::Name, &name);
            prop_assert!(shown == REDACTED || shown.chars().skip(1).all(|c| c == '*'));
        }

        #[test]
        fn no_text_of_any_shape_breaks_a_preset(value in any::<String>()) {
            for class in Sensitivity::ALL {
                let _ = partial(class, &value);
            }
        }
    }
}
