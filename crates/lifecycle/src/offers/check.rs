//! Whether an offer makes sense.

use crate::playbooks::emails::OPENS;
use crate::playbooks::{Checked, text, within, wrong};
use quintile_domain::language;
use quintile_domain::money::Currency;
use quintile_proto::google_type::Money;
use quintile_proto::lifecycle::{Benefit, Offer, OfferText, benefit};
use std::collections::HashSet;

const MAX_TEXTS: usize = 20;
const MAX_TITLE_BYTES: usize = 256;
const MAX_DESCRIPTION_BYTES: usize = 2_048;
/// The most bytes of all texts together: a page of offers is one message.
const MAX_BYTES: usize = 16_384;
const MAX_VALID_DAYS: i32 = 3_650;
const MAX_GRANTS: i64 = 1_000_000_000;
const MAX_PER_CUSTOMER: i32 = 100;

/// Checks an offer of a tenant with a currency, aside from its name and what is output only.
pub fn check(offer: &Offer, currency: Currency) -> Checked {
    let texts: Vec<_> =
        offer.texts.iter().map(|of: &OfferText| (&*of.language, &*of.title, &*of.description)).collect();
    check_texts("description", &texts)?;
    // E-mails put titles where they have placeholders of their own.
    if let Some(index) = offer.texts.iter().position(|text| text.title.contains(OPENS)) {
        return wrong(format!("texts[{index}].title"), format!("must not have {OPENS}"));
    }
    check_benefit(offer.benefit.as_ref(), currency)?;
    within("valid_days", offer.valid_days, 1, MAX_VALID_DAYS)?;
    if !(0..=MAX_GRANTS).contains(&offer.max_grants) {
        return wrong("max_grants", format!("must be 0 to {MAX_GRANTS}"));
    }
    within("max_per_customer", offer.max_per_customer, 0, MAX_PER_CUSTOMER)
}

/// Checks texts by language, each a language, a title and what else there is to know, which is called `rest`.
pub fn check_texts(rest: &str, texts: &[(&str, &str, &str)]) -> Checked {
    if texts.is_empty() || texts.len() > MAX_TEXTS {
        return wrong("texts", format!("must have 1 to {MAX_TEXTS} texts"));
    }
    let mut languages = HashSet::new();
    for (index, (tag, title, more)) in texts.iter().enumerate() {
        let field = format!("texts[{index}]");
        if !tag.is_empty() && !language::is_tag(tag) {
            return wrong(format!("{field}.language"), "must be a BCP 47 tag, such as en or zh-Hant");
        }
        if !languages.insert(tag.to_ascii_lowercase()) {
            return wrong(format!("{field}.language"), "is the language of another text too");
        }
        text(&format!("{field}.title"), title, MAX_TITLE_BYTES, true)?;
        text(&format!("{field}.{rest}"), more, MAX_DESCRIPTION_BYTES, false)?;
    }
    if !languages.contains("") {
        return wrong("texts", "must have one without language, for everybody else");
    }
    if texts.iter().map(|(_, title, more)| title.len() + more.len()).sum::<usize>() > MAX_BYTES {
        return wrong("texts", format!("must have at most {MAX_BYTES} bytes together"));
    }
    Ok(())
}

fn check_benefit(benefit: Option<&Benefit>, currency: Currency) -> Checked {
    match benefit.and_then(|benefit| benefit.kind.as_ref()) {
        None => wrong("benefit", "is required"),
        Some(benefit::Kind::PercentOff(percent)) => within("benefit.percent_off", *percent, 1, 100),
        Some(benefit::Kind::AmountOff(money)) => check_amount(money, currency),
        Some(benefit::Kind::FreeShipping(_)) => Ok(()),
        Some(benefit::Kind::Gift(gift)) => text("benefit.gift", gift, MAX_TITLE_BYTES, true),
    }
}

fn check_amount(money: &Money, currency: Currency) -> Checked {
    if money.currency_code != currency.code() {
        return wrong("benefit.amount_off", format!("must be in the tenant's base currency, {}", currency.code()));
    }
    match currency.minor_from_parts(money.units, money.nanos) {
        Ok(minor) if minor > 0 => Ok(()),
        Ok(_) => wrong("benefit.amount_off", "must be more than nothing"),
        Err(error) => wrong("benefit.amount_off", error.to_string()),
    }
}
