//! Checking and normalising customers.

use super::Terms;
use super::custom::CustomValues;
use iso_country::Country;
use quintile_domain::money::Currency;
use quintile_domain::names::{MAX_NAME_BYTES, optional_text, required_text};
use quintile_domain::phone::Phone;
use quintile_domain::time::{TimeZone, days_since_1970};
use quintile_proto::google_type::Date;
use quintile_proto::ingestion::{Customer, SourceIdentity};
use quintile_proto::types::{CustomerAttributes, CustomerKind};
use quintile_rpc::ApiError;
use std::str::FromStr;

/// The most identities of a customer.
const MAX_IDENTITIES: usize = 16;
/// The most interests of a customer, and the most values.
const MAX_TEXTS: usize = 32;
/// The most bytes of an address.
const MAX_ADDRESS_BYTES: usize = 1_024;

/// An identity of a source.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    /// The source.
    pub source: String,
    /// The customer's id in it.
    pub id: String,
}

impl Identity {
    /// Checks an identity.
    pub fn check(identity: Option<&SourceIdentity>, field: &str) -> Result<Self, ApiError> {
        let identity = identity.ok_or_else(|| ApiError::invalid_field(field, "is required"))?;
        let id = identity.id.clone().unwrap_or_default();
        required_text(&identity.source, MAX_NAME_BYTES)
            .map_err(|error| ApiError::invalid_text(format!("{field}.source"), error))?;
        required_text(&id, MAX_NAME_BYTES).map_err(|error| ApiError::invalid_text(format!("{field}.id"), error))?;
        Ok(Self { source: identity.source.clone(), id })
    }
}

/// What identifies a person. Stored as ciphertext.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Person {
    /// The name.
    pub display_name: Option<String>,
    /// The telephone number, in E.164.
    pub phone: Option<String>,
    /// The e-mail address, in lower case.
    pub email: Option<String>,
    /// The address.
    pub address: Option<String>,
    /// The date of birth.
    pub birth_date: Option<Date>,
    /// Who or what sent the customer, as an identity that somebody may be known by.
    pub referrer: Option<Identity>,
    /// The custom attributes.
    pub custom: CustomValues,
}

/// A customer as it came in: absent fields say nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct CustomerPatch {
    /// The identities; one at least.
    pub identities: Vec<Identity>,
    /// What identifies the person.
    pub person: Person,
    /// The attributes. `None`: not given.
    pub attributes: Option<CustomerAttributes>,
}

impl CustomerPatch {
    /// Checks a customer that has to name an identity.
    pub fn check(customer: &Customer, terms: &Terms) -> Result<Self, ApiError> {
        if customer.identities.is_empty() || customer.identities.len() > MAX_IDENTITIES {
            return Err(ApiError::invalid_field("identities", format!("must have 1 to {MAX_IDENTITIES} identities")));
        }
        let mut identities = Vec::with_capacity(customer.identities.len());
        for (index, identity) in customer.identities.iter().enumerate() {
            let identity = Identity::check(Some(identity), &format!("identities[{index}]"))?;
            // Said twice is said.
            if !identities.contains(&identity) {
                identities.push(identity);
            }
        }
        let kind = customer.attributes.as_ref().map_or(0, |attributes| attributes.kind);
        // What is not said stays as it is; a number that is none must not pass for that.
        CustomerKind::try_from(kind).map_err(|_| not_a_kind())?;
        Self::check_fields(customer, identities, terms)
    }

    /// Checks the fields of a customer that is known by name.
    pub fn check_fields(customer: &Customer, identities: Vec<Identity>, terms: &Terms) -> Result<Self, ApiError> {
        let person = Person {
            display_name: text(customer.display_name.as_deref(), "display_name", MAX_NAME_BYTES)?,
            phone: customer.phone.as_deref().map(|phone| normal_phone(phone, "phone")).transpose()?,
            email: customer.email.as_deref().map(|email| normal_email(email, "email")).transpose()?,
            address: text(customer.address.as_deref(), "address", MAX_ADDRESS_BYTES)?,
            birth_date: customer.birth_date.map(|date| past_date(date, "birth_date", terms)).transpose()?,
            referrer: referrer(customer, identities.first())?,
            custom: terms.declared.check(&customer.custom_attributes)?,
        };
        let attributes = customer.attributes.as_ref().map(|attributes| checked(attributes, terms)).transpose()?;
        Ok(Self { identities, person, attributes })
    }

    /// The identity that the customer is found by.
    pub fn first_identity(&self) -> &Identity {
        &self.identities[0]
    }
}

/// Who sent a customer: an id in the source that is named, or else in that of the customer's first identity. The source is empty where neither is
/// given.
fn referrer(customer: &Customer, first: Option<&Identity>) -> Result<Option<Identity>, ApiError> {
    let named = customer.referrer_source.as_deref().unwrap_or_default();
    optional_text(named, MAX_NAME_BYTES).map_err(|error| ApiError::invalid_text("referrer_source", error))?;
    text(customer.referrer.as_deref(), "referrer", MAX_NAME_BYTES)?;
    Ok(referrer_of(customer, first.map_or("", |identity| identity.source.as_str())))
}

/// The referrer as it came, checked or not: in the source that is named, or else in `own`, that of the customer's first identity.
pub fn referrer_of(customer: &Customer, own: &str) -> Option<Identity> {
    let named = customer.referrer_source.as_deref().filter(|source| !source.is_empty());
    let source = named.unwrap_or(own).to_owned();
    customer.referrer.clone().map(|id| Identity { source, id })
}

fn text(value: Option<&str>, field: &str, max: usize) -> Result<Option<String>, ApiError> {
    if let Some(value) = value {
        required_text(value, max).map_err(|error| ApiError::invalid_text(field, error))?;
    }
    Ok(value.map(str::to_owned))
}

/// A telephone number in its one spelling.
pub fn normal_phone(phone: &str, field: &str) -> Result<String, ApiError> {
    let problem =
        || ApiError::invalid_field(field, "must be a telephone number with its country code, such as +86 ...");
    if phone.len() > MAX_NAME_BYTES {
        return Err(problem());
    }
    Phone::parse(&half_width(phone)).map(|phone| phone.e164()).ok_or_else(problem)
}

/// A text with the full-width forms of ASCII characters, as East Asian keyboards give them, in their usual form.
fn half_width(text: &str) -> String {
    let usual = |character: char| match character {
        '\u{3000}' => ' ',
        // The full-width forms lie in the order of ASCII.
        '\u{FF01}'..='\u{FF5E}' => char::from_u32(u32::from(character) - 0xFEE0).unwrap_or(character),
        other => other,
    };
    text.chars().map(usual).collect()
}

/// An e-mail address in its one spelling.
pub fn normal_email(email: &str, field: &str) -> Result<String, ApiError> {
    let email = &half_width(email);
    required_text(email, MAX_NAME_BYTES).map_err(|error| ApiError::invalid_text(field, error))?;
    let well_formed = email.split_once('@').is_some_and(|(local, domain)| {
        !local.is_empty() && !domain.contains('@') && domain.contains('.') && !email.contains(char::is_whitespace)
    });
    if well_formed {
        Ok(email.to_lowercase())
    } else {
        Err(ApiError::invalid_field(field, "must be an e-mail address"))
    }
}

/// A date that has come. Somewhere it is tomorrow already.
fn past_date(date: Date, field: &str, terms: &Terms) -> Result<Date, ApiError> {
    let problem = || ApiError::invalid_field(field, "must be a date between 1850 and today");
    let part = |number: i32| i8::try_from(number).map_err(|_| problem());
    let year = i16::try_from(date.year).map_err(|_| problem())?;
    let day = days_since_1970(year, part(date.month)?, part(date.day)?).ok_or_else(problem)?;
    let tomorrow = TimeZone::UTC.local_day(terms.now).saturating_add(1);
    if year < 1850 || day > tomorrow { Err(problem()) } else { Ok(date) }
}

/// Checks that attributes say what the customer is.
pub fn check_kind(attributes: &CustomerAttributes) -> Result<(), ApiError> {
    if attributes.kind() == CustomerKind::Unspecified {
        return Err(not_a_kind());
    }
    Ok(())
}

fn not_a_kind() -> ApiError {
    ApiError::invalid_field("attributes.kind", "must be one of the kinds")
}

/// Attributes as they are kept: what is said twice is said, and what is empty is not there.
fn checked(attributes: &CustomerAttributes, terms: &Terms) -> Result<CustomerAttributes, ApiError> {
    let within = |field: &str| format!("attributes.{field}");
    let own = attributes;
    let texts = [
        ("owner", Some(&own.owner)),
        ("region", own.region.as_ref()),
        ("department", Some(&own.department)),
        ("language", Some(&own.language)),
        ("acquisition_channel", Some(&own.acquisition_channel)),
        ("acquisition_campaign", Some(&own.acquisition_campaign)),
        ("gender", own.gender.as_ref()),
        ("income_band", own.income_band.as_ref()),
        ("household", own.household.as_ref()),
    ];
    for (field, value) in texts {
        optional_text(value.map_or("", String::as_str), MAX_NAME_BYTES)
            .map_err(|error| ApiError::invalid_text(within(field), error))?;
    }
    let country = own.country.as_deref().unwrap_or_default();
    if !country.is_empty() && Country::from_str(country).is_err() {
        return Err(ApiError::invalid_field(within("country"), "must be the two letters of a country, such as DE"));
    }
    if !own.currency.is_empty() {
        Currency::from_code(&own.currency).map_err(|error| ApiError::invalid_money(within("currency"), error))?;
    }
    if let Some(date) = own.acquisition_date {
        past_date(date, &within("acquisition_date"), terms)?;
    }
    let some = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    Ok(CustomerAttributes {
        region: some(&own.region),
        country: some(&own.country),
        gender: some(&own.gender),
        income_band: some(&own.income_band),
        household: some(&own.household),
        interests: distinct(&own.interests, &within("interests"))?,
        values: distinct(&own.values, &within("values"))?,
        ..attributes.clone()
    })
}

/// Texts, each once, in the order in which they were said first.
fn distinct(texts: &[String], field: &str) -> Result<Vec<String>, ApiError> {
    if texts.len() > MAX_TEXTS {
        return Err(ApiError::invalid_field(field, format!("must have at most {MAX_TEXTS} texts")));
    }
    let mut distinct: Vec<String> = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        required_text(text, MAX_NAME_BYTES)
            .map_err(|error| ApiError::invalid_text(format!("{field}[{index}]"), error))?;
        if !distinct.contains(text) {
            distinct.push(text.clone());
        }
    }
    Ok(distinct)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_contact_are_one_contact() {
        for phone in ["+86 138 0013 8000", "＋８６　１３８００１３８０００", "+86-138-0013-8000"] {
            assert_eq!(normal_phone(phone, "phone").unwrap(), "+8613800138000");
        }
        for email in ["Ann@Example.com", "ａｎｎ＠ｅｘａｍｐｌｅ．ｃｏｍ", "ANN@EXAMPLE.COM"] {
            assert_eq!(normal_email(email, "email").unwrap(), "ann@example.com");
        }
    }
}
