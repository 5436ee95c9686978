//! Custom attributes: what a tenant has declared, and values checked and classified by it.

use quintile_domain::masking::Sensitivity;
use quintile_domain::names::required_text;
use quintile_proto::ingestion::{CustomAttribute, Customer};
use quintile_proto::types::Sensitivity as SensitivityMessage;
use quintile_rpc::ApiError;
use std::collections::BTreeMap;

/// The most custom attributes of a customer.
pub const MAX_CUSTOM_ATTRIBUTES: usize = 32;
/// The most bytes of a value.
const MAX_TEXT_BYTES: usize = 1_024;

/// The value of a custom attribute, with the class that it came under.
#[derive(Clone, PartialEq, Eq)]
pub struct CustomValue {
    /// The class that was declared when it came.
    pub class: Sensitivity,
    /// The value.
    pub text: String,
}

impl std::fmt::Debug for CustomValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CustomValue(<{}>)", self.class.name())
    }
}

/// The custom attributes of a customer, by key.
pub type CustomValues = BTreeMap<String, CustomValue>;

/// The custom attributes that a tenant has declared, each with its class.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Declared(BTreeMap<String, Sensitivity>);

impl FromIterator<(String, Sensitivity)> for Declared {
    fn from_iter<I: IntoIterator<Item = (String, Sensitivity)>>(declarations: I) -> Self {
        Self(declarations.into_iter().collect())
    }
}

impl Declared {
    /// Whether an attribute is declared.
    pub fn knows(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// Whether a value is of an attribute as it is declared now. One that came under another class is not: it may tell more than the
    /// present class says.
    pub fn covers(&self, key: &str, class: Sensitivity) -> bool {
        self.0.get(key) == Some(&class)
    }

    /// Checks the custom attributes that a customer came with.
    pub fn check(&self, given: &[CustomAttribute]) -> Result<CustomValues, ApiError> {
        if given.len() > MAX_CUSTOM_ATTRIBUTES {
            return Err(too_many());
        }
        let mut values = CustomValues::new();
        for (index, attribute) in given.iter().enumerate() {
            let field = |name: &str| format!("custom_attributes[{index}].{name}");
            let declared = self.0.get(&attribute.key);
            let class = *declared.ok_or_else(|| ApiError::invalid_field(field("key"), "is no declared attribute"))?;
            let text = attribute.text.clone().ok_or_else(|| ApiError::invalid_field(field("text"), "is required"))?;
            required_text(&text, MAX_TEXT_BYTES).map_err(|error| ApiError::invalid_text(field("text"), error))?;
            if values.insert(attribute.key.clone(), CustomValue { class, text }).is_some() {
                return Err(ApiError::invalid_field(field("key"), "is there twice"));
            }
        }
        Ok(values)
    }

    /// States the class of each value of a customer as it came in: what a client says of it counts for nothing.
    pub fn state_classes(&self, customer: &mut Customer) {
        for attribute in &mut customer.custom_attributes {
            let class = self.0.get(&attribute.key).copied();
            attribute.sensitivity = class.map_or(SensitivityMessage::Unspecified as i32, |class| class as i32);
        }
    }

    /// Takes from the values of a customer that was stored the classes that do not hold any more, so that masking hides those values
    /// from everybody. Every stored customer passes here on its way out.
    pub fn confirm_classes(&self, customer: &mut Customer) {
        for attribute in &mut customer.custom_attributes {
            let class = Sensitivity::of_number(attribute.sensitivity);
            if !class.is_some_and(|class| self.covers(&attribute.key, class)) {
                attribute.sensitivity = SensitivityMessage::Unspecified as i32;
            }
        }
    }
}

/// A customer would have too many custom attributes.
pub fn too_many() -> ApiError {
    ApiError::invalid_field("custom_attributes", format!("must be at most {MAX_CUSTOM_ATTRIBUTES}"))
}

/// The values as messages, each with the class that it came under.
pub fn messages(values: &CustomValues) -> Vec<CustomAttribute> {
    let message = |(key, value): (&String, &CustomValue)| CustomAttribute {
        key: key.clone(),
        sensitivity: value.class as i32,
        text: Some(value.text.clone()),
    };
    values.iter().map(message).collect()
}

/// The values of messages that [`messages`] made. One without a class known here is left out.
pub fn from_messages(attributes: Vec<CustomAttribute>) -> CustomValues {
    let value = |attribute: CustomAttribute| {
        let class = Sensitivity::of_number(attribute.sensitivity)?;
        Some((attribute.key, CustomValue { class, text: attribute.text? }))
    };
    attributes.into_iter().filter_map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared() -> Declared {
        let declarations = [("work-phone", Sensitivity::Phone), ("size", Sensitivity::None)];
        declarations.into_iter().map(|(key, class)| (key.to_owned(), class)).collect()
    }

    fn attribute(key: &str, sensitivity: SensitivityMessage, text: Option<&str>) -> CustomAttribute {
        CustomAttribute { key: key.to_owned(), sensitivity: sensitivity.into(), text: text.map(str::to_owned) }
    }

    fn given(key: &str, text: &str) -> CustomAttribute {
        attribute(key, SensitivityMessage::Unspecified, Some(text))
    }

    #[test]
    fn values_of_declared_attributes_come_under_the_declared_class_whatever_the_client_says() {
        let claimed = attribute("work-phone", SensitivityMessage::None, Some("+8613800138000"));
        let values = declared().check(&[claimed, given("size", "L")]).unwrap();
        let phone = CustomValue { class: Sensitivity::Phone, text: "+8613800138000".to_owned() };
        let size = CustomValue { class: Sensitivity::None, text: "L".to_owned() };
        assert_eq!(values, CustomValues::from([("work-phone".to_owned(), phone), ("size".to_owned(), size)]));
        assert_eq!(from_messages(messages(&values)), values);
        assert!(!format!("{values:?}").contains("138"), "a value was shown");
    }

    #[test]
    fn what_is_wrong_with_a_custom_attribute_is_told_by_field_and_without_the_value() {
        let none = attribute("size", SensitivityMessage::None, None);
        let (longest, too_long) = ("s".repeat(1_024), "s".repeat(1_025));
        let many: Vec<_> = (0..33).map(|_| given("size", "L")).collect();
        assert!(declared().check(&[given("size", &longest)]).is_ok());
        let table = [
            (vec![given("size", "L"), given("secret-7731", "L")], "custom_attributes[1].key"),
            (vec![given("", "L")], "custom_attributes[0].key"),
            (vec![given("Size", "L")], "custom_attributes[0].key"),
            (vec![given("size", "L"), given("size", "M")], "custom_attributes[1].key"),
            (vec![none], "custom_attributes[0].text"),
            (vec![given("size", "")], "custom_attributes[0].text"),
            (vec![given("size", " ")], "custom_attributes[0].text"),
            (vec![given("size", "secret-7731\0")], "custom_attributes[0].text"),
            (vec![given("size", "secret-7731\u{202E}")], "custom_attributes[0].text"),
            (vec![given("size", &too_long)], "custom_attributes[0].text"),
            (many, "custom_attributes"),
        ];
        for (attributes, field) in table {
            let error = declared().check(&attributes).unwrap_err();
            assert_eq!(error.field(), Some(field), "{attributes:?}");
            assert_eq!(error.reason(), quintile_proto::types::ErrorReason::InvalidField);
            assert!(!error.message().contains("7731"), "a value was echoed");
        }
    }

    #[test]
    fn a_class_is_confirmed_while_the_attribute_is_declared_with_it() {
        use SensitivityMessage::{None, Phone, Unspecified};
        let stored = [("work-phone", Phone), ("work-phone", None), ("size", None), ("size", Phone), ("gone", None)];
        let stored = stored.map(|(key, class)| attribute(key, class, Some("x")));
        let classes = |customer: &Customer| -> Vec<i32> {
            customer.custom_attributes.iter().map(|attribute| attribute.sensitivity).collect()
        };
        let mut customer = Customer { custom_attributes: stored.to_vec(), ..Customer::default() };
        declared().confirm_classes(&mut customer);
        assert_eq!(classes(&customer), [Phone, Unspecified, None, Unspecified, Unspecified].map(i32::from));
        declared().state_classes(&mut customer);
        assert_eq!(classes(&customer), [Phone, Phone, None, None, Unspecified].map(i32::from));
        Declared::default().confirm_classes(&mut customer);
        assert_eq!(classes(&customer), [Unspecified; 5].map(i32::from));
    }
}
