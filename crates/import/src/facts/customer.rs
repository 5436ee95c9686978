//! Customers.

use super::{Word, one_line, text};
use crate::error::ImportError;
use crate::mapping::columns::Line;
use crate::mapping::keys::Keys;
use crate::mapping::value::{Context, Text, Time, of_value};
use crate::reject::{Problem, optional};
use quintile_domain::names::resource_id;
use quintile_proto::ingestion::{CustomAttribute, Customer, SourceIdentity};
use quintile_proto::types::{CustomerAttributes, CustomerKind};

/// Where the fields of a customer come from.
#[derive(Clone, Debug)]
pub struct Fields {
    /// Further identities, by source.
    identities: Vec<(String, Text)>,
    display_name: Option<Text>,
    phone: Option<Text>,
    email: Option<Text>,
    address: Option<Text>,
    birth_date: Option<Time>,
    referrer: Option<Text>,
    referrer_source: Option<Text>,
    attributes: Option<Attributes>,
    /// By the attribute's id.
    custom_attributes: Vec<(String, Text)>,
}

#[derive(Clone, Debug)]
struct Attributes {
    kind: Option<Word>,
    owner: Option<Text>,
    region: Option<Text>,
    department: Option<Text>,
    language: Option<Text>,
    acquisition_channel: Option<Text>,
    acquisition_campaign: Option<Text>,
    acquisition_date: Option<Time>,
    country: Option<Text>,
    currency: Option<Text>,
    gender: Option<Text>,
    income_band: Option<Text>,
    household: Option<Text>,
    interests: Option<Text>,
    values: Option<Text>,
}

/// What parts the texts of a list.
const SEPARATOR: char = ';';

impl Fields {
    /// Reads them.
    pub fn read(keys: &mut Keys, context: &mut Context) -> Result<Self, ImportError> {
        let custom_attributes = named(keys.table("custom_attributes")?, context)?;
        for (id, _) in &custom_attributes {
            resource_id(id).map_err(|error| keys.fault("custom_attributes", format!("names `{id}`, which {error}")))?;
        }
        let has_attributes = keys.has("attributes");
        let attributes = keys.table("attributes")?;
        Ok(Self {
            identities: named(keys.table("identities")?, context)?,
            display_name: Text::read(keys, "display_name", context)?,
            phone: Text::read(keys, "phone", context)?,
            email: Text::read(keys, "email", context)?,
            address: Text::read(keys, "address", context)?,
            birth_date: Time::read(keys, "birth_date", context)?,
            referrer: Text::read(keys, "referrer", context)?,
            referrer_source: Text::read(keys, "referrer_source", context)?,
            attributes: if has_attributes { Some(Attributes::read(attributes, context)?) } else { None },
            custom_attributes,
        })
    }

    /// The customer of a line. What is missing says nothing.
    pub fn row(&self, line: Line, identity: SourceIdentity) -> Result<Customer, Problem> {
        let mut identities = vec![identity];
        for (source, id) in &self.identities {
            let id = text("customer.identities", Some(id), line)?;
            identities.extend(id.map(|id| SourceIdentity { source: source.clone(), id: Some(id) }));
        }
        let mut custom_attributes = Vec::with_capacity(self.custom_attributes.len());
        for (key, value) in &self.custom_attributes {
            let value = one_line("customer.custom_attributes", Some(value), line)?;
            let attribute = |text| CustomAttribute { key: key.clone(), text: Some(text), ..CustomAttribute::default() };
            custom_attributes.extend(value.map(attribute));
        }
        let birth_date = self.birth_date.as_ref().map(|date| optional("customer.birth_date", date.date_of(line)));
        Ok(Customer {
            identities,
            display_name: one_line("customer.display_name", self.display_name.as_ref(), line)?,
            phone: text("customer.phone", self.phone.as_ref(), line)?,
            email: text("customer.email", self.email.as_ref(), line)?,
            address: one_line("customer.address", self.address.as_ref(), line)?,
            birth_date: birth_date.transpose()?.flatten(),
            referrer: text("customer.referrer", self.referrer.as_ref(), line)?,
            referrer_source: text("customer.referrer_source", self.referrer_source.as_ref(), line)?,
            attributes: self.attributes.as_ref().map(|attributes| attributes.row(line)).transpose()?,
            custom_attributes,
            ..Customer::default()
        })
    }
}

impl Attributes {
    fn read(mut keys: Keys, context: &mut Context) -> Result<Self, ImportError> {
        let kind = |name: &str| CustomerKind::from_str_name(name).map(i32::from);
        let attributes = Self {
            kind: Word::read(&mut keys, "kind", context, "CUSTOMER_KIND_", kind)?,
            owner: Text::read(&mut keys, "owner", context)?,
            region: Text::read(&mut keys, "region", context)?,
            department: Text::read(&mut keys, "department", context)?,
            language: Text::read(&mut keys, "language", context)?,
            acquisition_channel: Text::read(&mut keys, "acquisition_channel", context)?,
            acquisition_campaign: Text::read(&mut keys, "acquisition_campaign", context)?,
            acquisition_date: Time::read(&mut keys, "acquisition_date", context)?,
            country: Text::read(&mut keys, "country", context)?,
            currency: Text::read(&mut keys, "currency", context)?,
            gender: Text::read(&mut keys, "gender", context)?,
            income_band: Text::read(&mut keys, "income_band", context)?,
            household: Text::read(&mut keys, "household", context)?,
            interests: Text::read(&mut keys, "interests", context)?,
            values: Text::read(&mut keys, "values", context)?,
        };
        keys.finish()?;
        Ok(attributes)
    }

    fn row(&self, line: Line) -> Result<CustomerAttributes, Problem> {
        let kind = self.kind.as_ref().map(|kind| kind.of("customer.attributes.kind", line)).transpose()?.flatten();
        let some = |field, value: &Option<Text>| text(field, value.as_ref(), line);
        let or_empty = |field, value: &Option<Text>| some(field, value).map(Option::unwrap_or_default);
        let list = |field, value: &Option<Text>| or_empty(field, value).map(|texts| parted(&texts));
        let acquired = self.acquisition_date.as_ref();
        let acquired = acquired.map(|date| optional("customer.attributes.acquisition_date", date.date_of(line)));
        Ok(CustomerAttributes {
            // What the mapping does not say stays as it is.
            kind: kind.unwrap_or_default(),
            owner: or_empty("customer.attributes.owner", &self.owner)?,
            region: some("customer.attributes.region", &self.region)?,
            department: or_empty("customer.attributes.department", &self.department)?,
            language: or_empty("customer.attributes.language", &self.language)?,
            acquisition_channel: or_empty("customer.attributes.acquisition_channel", &self.acquisition_channel)?,
            acquisition_campaign: or_empty("customer.attributes.acquisition_campaign", &self.acquisition_campaign)?,
            acquisition_date: acquired.transpose()?.flatten(),
            country: some("customer.attributes.country", &self.country)?,
            currency: or_empty("customer.attributes.currency", &self.currency)?,
            gender: some("customer.attributes.gender", &self.gender)?,
            income_band: some("customer.attributes.income_band", &self.income_band)?,
            household: some("customer.attributes.household", &self.household)?,
            interests: list("customer.attributes.interests", &self.interests)?,
            values: list("customer.attributes.values", &self.values)?,
            ..CustomerAttributes::default()
        })
    }
}

/// The texts of a list: JSON, as an export has it, or texts with a separator between them.
fn parted(texts: &str) -> Vec<String> {
    if let Ok(list) = serde_json::from_str(texts) {
        return list;
    }
    texts.split(SEPARATOR).map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned).collect()
}

/// Values under names of their own.
fn named(mut keys: Keys, context: &mut Context) -> Result<Vec<(String, Text)>, ImportError> {
    let mut values = Vec::new();
    for (name, value) in keys.rest() {
        let mut own = of_value(keys.at(&name), value)?;
        values.push((name, Text::read_own(&mut own, context)?));
        own.finish()?;
    }
    Ok(values)
}
