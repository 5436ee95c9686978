//! Labels: the attribute that tells who has left, and those that are learnt from.

use super::{Churning, refused};
use crate::churn::{MAX_FEATURES, Value};
use quintile_domain::masking::Sensitivity;
use quintile_domain::names::{required_text, resource_id};
use quintile_proto::ingestion::attribute_service_client::AttributeServiceClient;
use quintile_proto::ingestion::{AttributeValues, ListAttributesRequest};
use quintile_proto::lifecycle::{ChurnLabel, ChurnModel};
use quintile_rpc::client::upstream_error;
use quintile_rpc::policy::Tenant;
use quintile_rpc::{ApiError, Caller};
use std::collections::{HashMap, HashSet};
use tonic::Status;

/// What attributes are named by.
const COLLECTION: &str = "attributes/";
/// Attributes of a page: the most that a tenant may declare.
const ATTRIBUTES: i32 = 200;
/// The most bytes of a value.
const MAX_VALUE_BYTES: usize = 1_024;
/// The classes that identify nobody. A model that learnt from others would be about persons, and tell who they are.
const OF_NOBODY: [Sensitivity; 4] =
    [Sensitivity::None, Sensitivity::Financial, Sensitivity::Location, Sensitivity::Demographic];
/// Values of this size and above are no numbers to a model.
const LARGEST: f64 = 1e100;

/// A label, with the classes that its attributes have where a model learns from it.
#[derive(Clone, Debug, PartialEq)]
pub struct Label {
    /// As it is told.
    pub told: ChurnLabel,
    /// The class of what tells who has left.
    pub class: Sensitivity,
    /// Those of the features, in their order.
    pub classes: Vec<Sensitivity>,
}

/// What a label says of a customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has left.
    Left,
    /// It has not.
    Stayed,
    /// Nothing.
    Unknown,
}

/// Refuses a label that can't be one, whatever is declared.
pub fn check(label: &ChurnLabel) -> Result<(), ApiError> {
    let wrong = |field: String, problem: &str| Err(ApiError::invalid_field(field, problem));
    if id_of(&label.attribute).is_none() {
        return wrong("label.attribute".to_owned(), "must be attributes/{id}");
    }
    required_text(&label.left_value, MAX_VALUE_BYTES)
        .map_err(|error| ApiError::invalid_text("label.left_value", error))?;
    if !(1..=MAX_FEATURES).contains(&label.features.len()) {
        return wrong("label.features".to_owned(), &format!("must have 1 to {MAX_FEATURES} attributes"));
    }
    let mut known = HashSet::from([&label.attribute]);
    for (index, feature) in label.features.iter().enumerate() {
        if id_of(feature).is_none() {
            return wrong(feature_field(index), "must be attributes/{id}");
        }
        if !known.insert(feature) {
            return wrong(feature_field(index), "is the label, or there twice");
        }
    }
    Ok(())
}

fn id_of(name: &str) -> Option<&str> {
    name.strip_prefix(COLLECTION).filter(|id| resource_id(id).is_ok())
}

fn feature_field(index: usize) -> String {
    format!("label.features[{index}]")
}

/// The classes of the attributes that a tenant has declared, by their names.
pub async fn declared(churning: &Churning, tenant: &Tenant) -> Result<HashMap<String, Sensitivity>, Status> {
    let request = ListAttributesRequest { page_size: ATTRIBUTES, page_token: String::new() };
    let request = churning.credentials.request(&tenant.name, request).await?;
    let mut client = AttributeServiceClient::new(churning.ingestion.clone());
    let listed = client.list_attributes(request).await?.into_inner().attributes.into_iter();
    Ok(listed.filter_map(|one| Some((one.name, Sensitivity::of_number(one.sensitivity)?))).collect())
}

/// The refusal of an attribute that is another one by now.
fn declared_anew(name: &str) -> ApiError {
    refused(format!("{name} was declared anew, with another class: train a model anew"))
}

impl Label {
    /// A checked label with the classes that its attributes are declared with now.
    pub async fn declared(churning: &Churning, tenant: &Tenant, label: &ChurnLabel) -> Result<Self, ApiError> {
        let declared = declared(churning, tenant).await.map_err(|status| upstream_error(&status))?;
        let class = |field: &str, name: &str| {
            let class = declared.get(name).copied();
            let class = class.ok_or_else(|| ApiError::invalid_field(field, "is not declared"))?;
            let problem = "is of a class that may identify somebody";
            if OF_NOBODY.contains(&class) { Ok(class) } else { Err(ApiError::invalid_field(field, problem)) }
        };
        let features = label.features.iter().enumerate().map(|(index, name)| class(&feature_field(index), name));
        Ok(Self {
            class: class("label.attribute", &label.attribute)?,
            classes: features.collect::<Result<_, _>>()?,
            told: label.clone(),
        })
    }

    /// The label of a model. `None`: it has none, or is malformed.
    pub fn of(model: &ChurnModel) -> Option<Self> {
        let classes = model.feature_sensitivities.iter().map(|class| Sensitivity::of_number(*class));
        let class = Sensitivity::of_number(model.label_sensitivity)?;
        Some(Self { told: model.label.clone()?, class, classes: classes.collect::<Option<_>>()? })
    }

    /// A model that is of it: [`Label::of`] has it back.
    pub fn told_in(&self, model: ChurnModel) -> ChurnModel {
        let class = |class: &Sensitivity| i32::from(*class as u8);
        ChurnModel {
            label: Some(self.told.clone()),
            label_sensitivity: class(&self.class),
            feature_sensitivities: self.classes.iter().map(class).collect(),
            ..model
        }
    }

    /// Whether a caller may train and publish models of it: it reads all of it in clear.
    pub fn check_learnable(&self, caller: &Caller) -> Result<(), ApiError> {
        self.check_foretold(caller)?;
        let hidden = self.classes.iter().position(|class| !caller.reads_in_clear(*class));
        hidden.map_or(Ok(()), |index| Err(ApiError::field_denied(&feature_field(index))))
    }

    /// Whether a caller may hear of risks: that somebody has one says that it has not left.
    pub fn check_foretold(&self, caller: &Caller) -> Result<(), ApiError> {
        if caller.reads_in_clear(self.class) { Ok(()) } else { Err(ApiError::field_denied("label.attribute")) }
    }

    /// The class of a feature by its name.
    pub fn class_of(&self, feature: &str) -> Option<Sensitivity> {
        let place = self.told.features.iter().position(|name| name == feature)?;
        self.classes.get(place).copied()
    }

    /// Refuses what is of attributes one of which is declared no more, or with another class, by what is declared now: values that came before are told
    /// by nobody, and a model would take them for missing.
    pub fn check_declared(&self, declared: &HashMap<String, Sensitivity>) -> Result<(), ApiError> {
        let classes = std::iter::once(&self.class).chain(&self.classes);
        for (name, class) in self.attributes().iter().zip(classes) {
            match declared.get(name) {
                Some(now) if now == class => {}
                Some(_) => return Err(declared_anew(name)),
                None => {
                    let problem = "is not declared any more: declare it with the class that it had, or train a model \
                                   without it";
                    return Err(refused(format!("{name} {problem}")));
                }
            }
        }
        Ok(())
    }

    /// All attributes, by name.
    pub fn attributes(&self) -> Vec<String> {
        std::iter::once(&self.told.attribute).chain(&self.told.features).cloned().collect()
    }

    /// Where a customer stands.
    pub fn standing(&self, customer: &AttributeValues) -> Result<Standing, ApiError> {
        let Some((class, value)) = value_of(customer, &self.told.attribute) else { return Ok(Standing::Unknown) };
        if class != Some(self.class) {
            return Err(declared_anew(&self.told.attribute));
        }
        Ok(if value == self.told.left_value { Standing::Left } else { Standing::Stayed })
    }

    /// A customer's values of the features, in their order.
    pub fn features<'v>(&self, customer: &'v AttributeValues) -> Result<Vec<Option<&'v str>>, ApiError> {
        let each = self.told.features.iter().zip(&self.classes);
        let value = |(name, class): (&String, &Sensitivity)| match value_of(customer, name) {
            // What came under another class is another attribute of the same name.
            Some((found, _)) if found != Some(*class) => Err(declared_anew(name)),
            found => Ok(found.map(|(_, value)| value)),
        };
        each.map(value).collect()
    }
}

fn value_of<'v>(customer: &'v AttributeValues, name: &str) -> Option<(Option<Sensitivity>, &'v str)> {
    let id = id_of(name)?;
    let found = customer.values.iter().find(|value| value.key == id)?;
    Some((Sensitivity::of_number(found.sensitivity), found.text.as_deref()?))
}

/// What a value is as a number, if it reads as a finite one.
pub fn number_of(text: &str) -> Option<f64> {
    // What is no number fails the comparison, too.
    text.trim().parse().ok().filter(|number: &f64| number.abs() < LARGEST)
}

/// A customer's value, as a model has it that knows the feature as a number or as a category.
pub fn value(text: Option<&str>, is_number: bool) -> Value<'_> {
    match text {
        None => Value::Missing,
        Some(text) if is_number => number_of(text).map_or(Value::Missing, Value::Number),
        Some(text) => Value::Category(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quintile_proto::ingestion::CustomAttribute;

    fn label(attribute: &str, left_value: &str, features: &[&str]) -> ChurnLabel {
        ChurnLabel {
            attribute: attribute.to_owned(),
            left_value: left_value.to_owned(),
            features: features.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    #[test]
    fn a_label_is_whole() {
        let many: Vec<String> = (0..65).map(|number| format!("attributes/a{number}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let table = [
            (label("", "Yes", &["attributes/a"]), "label.attribute"),
            (label("churn", "Yes", &["attributes/a"]), "label.attribute"),
            (label("attributes/Churn", "Yes", &["attributes/a"]), "label.attribute"),
            (label("attributes/churn", "", &["attributes/a"]), "label.left_value"),
            (label("attributes/churn", "a\0", &["attributes/a"]), "label.left_value"),
            (label("attributes/churn", "Yes", &[]), "label.features"),
            (label("attributes/churn", "Yes", &many), "label.features"),
            (label("attributes/churn", "Yes", &["attributes/a", "b"]), "label.features[1]"),
            (label("attributes/churn", "Yes", &["attributes/a", "attributes/a"]), "label.features[1]"),
            (label("attributes/churn", "Yes", &["attributes/churn"]), "label.features[0]"),
        ];
        for (label, field) in table {
            assert_eq!(check(&label).unwrap_err().field(), Some(field), "{label:?}");
        }
        assert_eq!(check(&label("attributes/churn", "Yes", &many[..64])), Ok(()));
    }

    #[test]
    fn values_count_that_came_under_the_class_of_the_model() {
        let told = label("attributes/churn", "Yes", &["attributes/pay", "attributes/plan"]);
        let label = Label { told, class: Sensitivity::None, classes: vec![Sensitivity::Financial, Sensitivity::None] };
        let customer = |values: &[(&str, Sensitivity, &str)]| AttributeValues {
            values: values.iter().map(|(key, class, text)| custom(key, *class, text)).collect(),
            ..AttributeValues::default()
        };
        let left = customer(&[("churn", Sensitivity::None, "Yes"), ("pay", Sensitivity::Financial, "9.5")]);
        assert_eq!(label.standing(&left), Ok(Standing::Left));
        assert_eq!(label.features(&left), Ok(vec![Some("9.5"), None]));
        let stayed = customer(&[("churn", Sensitivity::None, "yes"), ("pay", Sensitivity::None, "9.5")]);
        assert_eq!(label.standing(&stayed), Ok(Standing::Stayed));
        let refusal = label.features(&stayed).unwrap_err();
        assert!(refusal.message().starts_with("attributes/pay was declared anew"), "{refusal:?}");
        assert_eq!(label.standing(&customer(&[])), Ok(Standing::Unknown));
        assert!(label.standing(&customer(&[("churn", Sensitivity::Name, "Yes")])).is_err());
    }

    #[test]
    fn a_label_is_of_attributes_as_they_are_declared_now() {
        let told = label("attributes/churn", "Yes", &["attributes/pay"]);
        let label = Label { told, class: Sensitivity::None, classes: vec![Sensitivity::Financial] };
        let declared = |each: &[(&str, Sensitivity)]| {
            let each = each.iter().map(|(name, class)| (format!("attributes/{name}"), *class));
            each.collect::<HashMap<_, _>>()
        };
        let (churn, pay) = (("churn", Sensitivity::None), ("pay", Sensitivity::Financial));
        assert_eq!(label.check_declared(&declared(&[churn, pay, ("plan", Sensitivity::None)])), Ok(()));
        for (now, problem) in [
            (declared(&[pay]), "attributes/churn is not declared any more"),
            (declared(&[churn]), "attributes/pay is not declared any more"),
            (declared(&[("churn", Sensitivity::Demographic), pay]), "attributes/churn was declared anew"),
            (declared(&[churn, ("pay", Sensitivity::None)]), "attributes/pay was declared anew"),
        ] {
            let refusal = label.check_declared(&now).unwrap_err();
            assert!(refusal.message().starts_with(problem), "{refusal:?}");
        }
    }

    fn custom(key: &str, class: Sensitivity, text: &str) -> CustomAttribute {
        CustomAttribute { key: key.to_owned(), sensitivity: class as i32, text: Some(text.to_owned()) }
    }

    #[test]
    fn numbers_are_finite() {
        let table = [("12", Some(12.0)), (" -0.5 ", Some(-0.5)), ("1e3", Some(1_000.0)), ("", None), ("1,5", None)];
        for (text, number) in table {
            assert_eq!(number_of(text), number, "{text}");
        }
        assert!(["NaN", "inf", "-infinity", "1e100", "Yes"].iter().all(|text| number_of(text).is_none()));
        assert_eq!(value(Some("Yes"), true), Value::Missing);
        assert_eq!(value(Some("12"), false), Value::Category("12"));
        assert_eq!(value(None, false), Value::Missing);
    }
}
