//! A field that takes its class from the field beside it, by the one that does: the text of a custom attribute.

use quintile_domain::masking::{
    FieldForms, Form, Masked, PseudonymKey, REDACTED, Sensitivity, Shown, partial, partial_strict,
};
use quintile_proto::ingestion::{CustomAttribute, Customer};

/// A value, for every class, that its presets know.
const VALUES: [(Sensitivity, &str); 15] = [
    (Sensitivity::None, "L"),
    (Sensitivity::Name, "段正淳"),
    (Sensitivity::Phone, "+8613800138000"),
    (Sensitivity::Email, "duan.zc@example.cn"),
    (Sensitivity::Address, "北京市海淀区马甸冠城园7731号"),
    (Sensitivity::IdNumber, "110105199003070123"),
    (Sensitivity::BankCard, "1101222233333256"),
    (Sensitivity::BirthDate, "1990-03-07"),
    (Sensitivity::IpAddress, "192.168.7.31"),
    (Sensitivity::LicensePlate, "苏D4X770"),
    (Sensitivity::FreeText, "calls at night"),
    (Sensitivity::Financial, "owes 7731"),
    (Sensitivity::Location, "north"),
    (Sensitivity::Demographic, "two children"),
    (Sensitivity::Pseudonym, "crm-7731"),
];

fn customer(sensitivity: i32, text: &str) -> Customer {
    let attribute = CustomAttribute { key: "x".to_owned(), sensitivity, text: Some(text.to_owned()) };
    Customer { name: "customers/7".to_owned(), custom_attributes: vec![attribute], ..Customer::default() }
}

/// How a value of a class is shown in these forms, and of which classes that shows something.
fn shown(sensitivity: i32, text: &str, forms: &FieldForms) -> (Option<String>, Shown) {
    let mut shown = Shown::default();
    let masked = Masked::new(customer(sensitivity, text), forms, &mut shown);
    (masked.as_message().custom_attributes[0].text.clone(), shown)
}

fn everything_in(form: &Form) -> FieldForms {
    Sensitivity::ALL.into_iter().fold(FieldForms::nothing(), |forms, class| forms.with(class, form.clone()))
}

#[test]
fn a_value_is_shown_in_the_form_of_the_class_that_stands_beside_it() {
    let key = PseudonymKey::new([7; 32]);
    let redacted = || Some(REDACTED.to_owned());
    for (class, value) in VALUES {
        let table = [
            (Form::Clear, Some(value.to_owned()), true),
            (Form::Partial, Some(partial(class, value).unwrap_or_else(|| REDACTED.to_owned())), true),
            (Form::PartialStrict, Some(partial_strict(class, value).unwrap_or_else(|| REDACTED.to_owned())), true),
            (Form::Hash(key.clone()), Some(key.pseudonym(class, value)), true),
            (Form::Fixed("-".into()), Some("-".to_owned()), false),
            (Form::TypeName, Some(format!("<{}>", class.name())), false),
            (Form::Bucket(10), redacted(), true),
            (Form::Year, redacted(), true),
            (Form::Month, redacted(), true),
            (Form::Absent, None, false),
            (Form::Redacted, redacted(), false),
        ];
        for (form, expected, reveals) in table {
            let (text, noted) = shown(class as i32, value, &everything_in(&form));
            assert_eq!(text, expected, "{class:?} {form:?}");
            let expected: &[i64] = if reveals && class != Sensitivity::None { &[7] } else { &[] };
            assert_eq!(noted.customers(), expected, "{class:?} {form:?}");
            assert!(noted.classes().all(|shown| shown == class), "{class:?} {form:?}");
        }
    }
}

#[test]
fn no_other_class_than_the_one_beside_it_decides() {
    for (class, value) in VALUES {
        let others = Sensitivity::ALL.into_iter().filter(|other| *other != class && *other != Sensitivity::None);
        let forms = others.fold(FieldForms::nothing(), |forms, other| forms.with(other, Form::Clear));
        let expected = if class == Sensitivity::None { value } else { REDACTED };
        assert_eq!(shown(class as i32, value, &forms).0.unwrap(), expected, "{class:?}");
    }
}

#[test]
fn a_value_whose_class_is_not_known_is_hidden_from_everybody() {
    for number in [0, -1, 16, 99, i32::MAX, i32::MIN] {
        for form in [Form::Clear, Form::Partial, Form::Absent, Form::Fixed("-".into())] {
            let (text, noted) = shown(number, "secret-7731", &everything_in(&form));
            assert_eq!((text.as_deref(), noted.is_empty()), (Some(REDACTED), true), "{number} {form:?}");
        }
    }
    let absent = CustomAttribute::default();
    let mut customer = customer(0, "");
    customer.custom_attributes = vec![absent];
    let masked = Masked::new(customer, &everything_in(&Form::Clear), &mut Shown::default());
    assert_eq!(masked.as_message().custom_attributes[0].text, None);
}

#[test]
fn logs_hide_a_value_whatever_class_stands_beside_it() {
    for number in 0..20 {
        let printed = format!("{:?}", customer(number, "secret-7731"));
        assert!(printed.contains("text: <free_text>") && !printed.contains("7731"), "{printed}");
    }
}
