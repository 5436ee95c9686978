//! Writes, from the sensitivity that every field declares, how each message is masked and how it is shown in logs.

use prost_reflect::{
    Cardinality, DescriptorPool, ExtensionDescriptor, FieldDescriptor, Kind, MessageDescriptor, OneofDescriptor, Value,
};
use std::collections::{HashMap, HashSet};
use std::fmt::Write;

const NONE: &str = "SENSITIVITY_NONE";

struct Options {
    sensitivity: ExtensionDescriptor,
    names_customer: ExtensionDescriptor,
    masked_by_owner: ExtensionDescriptor,
    sensitivity_from: ExtensionDescriptor,
}

impl Options {
    fn of(pool: &DescriptorPool) -> Result<Self, String> {
        let find = |name: &str| {
            pool.get_extension_by_name(&format!("quintile.type.v1.{name}"))
                .ok_or_else(|| format!("option {name} is gone"))
        };
        Ok(Self {
            sensitivity: find("sensitivity")?,
            names_customer: find("names_customer")?,
            masked_by_owner: find("masked_by_owner")?,
            sensitivity_from: find("sensitivity_from")?,
        })
    }

    /// The class that a field declares, as the enum value's name.
    fn class(&self, field: &FieldDescriptor) -> Result<String, String> {
        let options = field.options();
        let number = match options.get_extension(&self.sensitivity).as_ref() {
            Value::EnumNumber(number) => *number,
            _ => 0,
        };
        let Kind::Enum(classes) = self.sensitivity.kind() else {
            return Err("sensitivity is not an enum".to_owned());
        };
        match classes.get_value(number) {
            Some(class) if number != 0 => Ok(class.name().to_owned()),
            _ => {
                Err(format!("{}: declares no sensitivity; say SENSITIVITY_NONE if it tells nothing", field.full_name()))
            }
        }
    }

    /// The field beside a field that holds the class of its value at run time, if one does.
    fn class_holder(&self, field: &FieldDescriptor) -> Result<Option<String>, String> {
        let options = field.options();
        let value = options.get_extension(&self.sensitivity_from);
        let Some(name) = value.as_str().filter(|name| !name.is_empty()) else { return Ok(None) };
        if self.class(field)? == NONE {
            return Err(format!(
                "{}: with sensitivity_from, the class that logs hide by is not NONE",
                field.full_name()
            ));
        }
        let holder = field.parent_message().get_field_by_name(name);
        let holds_a_class = |holder: &FieldDescriptor| {
            let is_class =
                matches!(holder.kind(), Kind::Enum(classes) if classes.full_name() == "quintile.type.v1.Sensitivity");
            is_class && !holder.is_list() && !holder.supports_presence()
        };
        if !holder.as_ref().is_some_and(holds_a_class) {
            return Err(format!("{}: sensitivity_from names no field that holds one Sensitivity", field.full_name()));
        }
        Ok(Some(name.to_owned()))
    }

    fn flag(option: &ExtensionDescriptor, field: &FieldDescriptor) -> bool {
        field.options().get_extension(option).as_bool().unwrap_or(false)
    }

    fn debug_redact(field: &FieldDescriptor) -> bool {
        let options = field.options();
        options.get_field_by_name("debug_redact").and_then(|value| value.as_bool()).unwrap_or(false)
    }
}

/// The source of the impls for all messages. An error names the field that breaks a rule.
pub fn generate(pool: &DescriptorPool, messages: &[MessageDescriptor]) -> Result<String, String> {
    let options = Options::of(pool)?;
    let mut answered = HashSet::new();
    for method in pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
        reach(&method.output(), &mut answered);
    }
    for field in messages.iter().flat_map(|message| message.fields().collect::<Vec<_>>()) {
        options.class_holder(&field)?;
    }
    let mut classified = HashMap::new();
    let mut source = String::from("// Generated from the contracts.\n");
    // Long-running operations carry results without a classified field, packed: see the descriptor test.
    for message in pool.all_messages().filter(|message| message.package_name() == "google.longrunning") {
        if answered.contains(message.full_name()) {
            source.push_str(&mask_impl(&message, &options, &mut classified)?);
        }
    }
    for message in messages {
        source.push_str(&debug_impl(message, &options)?);
        if answered.contains(message.full_name()) {
            source.push_str(&mask_impl(message, &options, &mut classified)?);
        }
    }
    Ok(source)
}

fn reach(message: &MessageDescriptor, answered: &mut HashSet<String>) {
    if answered.insert(message.full_name().to_owned()) {
        for field in message.fields() {
            if let Kind::Message(inner) = field.kind() {
                reach(&inner, answered);
            }
        }
    }
}

/// Whether a message holds a classified field, itself or within.
fn is_classified(
    message: &MessageDescriptor,
    options: &Options,
    known: &mut HashMap<String, bool>,
) -> Result<bool, String> {
    if !message.full_name().starts_with("quintile.") {
        return Ok(false);
    }
    if let Some(answer) = known.get(message.full_name()) {
        return Ok(*answer);
    }
    known.insert(message.full_name().to_owned(), false);
    let mut answer = false;
    for field in message.fields() {
        answer |= options.class(&field)? != NONE;
        if let Kind::Message(inner) = field.kind() {
            answer |= !Options::flag(&options.masked_by_owner, &field) && is_classified(&inner, options, known)?;
        }
    }
    known.insert(message.full_name().to_owned(), answer);
    Ok(answer)
}

fn mask_impl(
    message: &MessageDescriptor,
    options: &Options,
    known: &mut HashMap<String, bool>,
) -> Result<String, String> {
    let named = message.fields().find(|field| Options::flag(&options.names_customer, field));
    let mut body = String::new();
    if is_classified(message, options, known)? {
        for field in message.fields() {
            body.push_str(&mask_field(&field, options, known)?);
        }
        if let Some(field) = named.as_ref().filter(|_| !body.is_empty()) {
            body = with_customer(field, &body)?;
        }
    }
    // The arguments that this message has no use for.
    let argument = |name: &str| if body.contains(name) { name.to_owned() } else { format!("_{name}") };
    let forms = if named.is_some() && !body.is_empty() { "_forms".to_owned() } else { argument("forms") };
    let arguments = format!("{}: &dyn Lens, {forms}: &FieldForms, {}: &mut Shown", argument("lens"), argument("shown"));
    let names_customers = names_customers(message, options, &mut HashSet::new());
    Ok(format!(
        "impl Maskable for {} {{\n    const NAMES_CUSTOMERS: bool = {names_customers};\n\n    fn mask(&mut self, {arguments}) {{\n{body}    }}\n}}\n",
        rust_path(message)
    ))
}

/// Whether a message, or one within it, says whose data it holds. What another service masked was decided there.
fn names_customers(message: &MessageDescriptor, options: &Options, seen: &mut HashSet<String>) -> bool {
    seen.insert(message.full_name().to_owned())
        && message.fields().any(|field| {
            Options::flag(&options.names_customer, &field)
                || matches!(field.kind(), Kind::Message(inner) if names_customers(&inner, options, seen))
        })
}

/// Masks the fields of a message in the forms for the customer that a field names.
fn with_customer(field: &FieldDescriptor, body: &str) -> Result<String, String> {
    let name = field.name();
    let of = match field.kind() {
        Kind::String => format!("DataOf::Name(&self.{name})"),
        Kind::Int64 => format!("DataOf::Number(self.{name})"),
        _ => return Err(format!("{}: a customer is named by a text or an int64", field.full_name())),
    };
    Ok(format!(
        "        let of = {of};\n        let outer = shown.enter(of.customer());\n        let forms = lens.forms(of);\n{body}        shown.leave(outer);\n"
    ))
}

fn mask_field(field: &FieldDescriptor, options: &Options, known: &mut HashMap<String, bool>) -> Result<String, String> {
    let (name, class) = (field.name(), options.class(field)?);
    if let Some(holder) = options.class_holder(field)? {
        return mask_by_holder(field, &holder);
    }
    if class != NONE {
        return mask_classified(field, &class);
    }
    let Kind::Message(inner) = field.kind() else {
        return Ok(String::new());
    };
    if Options::flag(&options.masked_by_owner, field) || !is_classified(&inner, options, known)? {
        return Ok(String::new());
    }
    if let Some(oneof) = field.containing_oneof().filter(|oneof| !oneof.is_synthetic()) {
        let variant = format!("{}::{}", oneof_path(field.parent_message(), &oneof), upper_camel_case(name));
        return Ok(format!(
            "        if let Some({variant}(inner)) = &mut self.{} {{\n            inner.mask(lens, forms, shown);\n        }}\n",
            oneof.name()
        ));
    }
    let each = if field.is_list() {
        format!("for inner in &mut self.{name}")
    } else {
        format!("if let Some(inner) = &mut self.{name}")
    };
    Ok(format!("        {each} {{\n            inner.mask(lens, forms, shown);\n        }}\n"))
}

/// Masks a field by the class that the field `holder` has at run time.
fn mask_by_holder(field: &FieldDescriptor, holder: &str) -> Result<String, String> {
    let optional = field.supports_presence() && field.containing_oneof().is_none_or(|oneof| oneof.is_synthetic());
    if !optional || field.is_list() {
        return Err(format!("{}: sensitivity_from is for an `optional` field", field.full_name()));
    }
    let (name, class) = (field.name(), format!("Sensitivity::of_number(self.{holder})"));
    if field.kind() == Kind::String {
        return Ok(format!("        forms.mask_text_of_declared({class}, &mut self.{name}, shown);\n"));
    }
    let known = masking_call(field, "class")?;
    Ok(format!(
        "        match {class} {{\n            Some(class) => {known},\n            None => self.{name} = None,\n        }}\n"
    ))
}

fn mask_classified(field: &FieldDescriptor, class: &str) -> Result<String, String> {
    Ok(format!("        {};\n", masking_call(field, &rust_class(class))?))
}

/// The call that brings a field into the form of a class.
fn masking_call(field: &FieldDescriptor, class: &str) -> Result<String, String> {
    let name = field.name();
    let optional = field.supports_presence() && field.containing_oneof().is_none_or(|oneof| oneof.is_synthetic());
    let arguments = format!("{class}, &mut self.{name}, shown");
    Ok(match field.kind() {
        Kind::String if field.is_list() => format!("forms.mask_texts({arguments})"),
        Kind::String if optional => format!("forms.mask_text({arguments})"),
        Kind::Message(inner) if inner.full_name() == "google.type.Date" && optional => {
            format!("forms.mask_date({arguments}, crate::parts::keep_date_part)")
        }
        Kind::Message(inner) if inner.full_name() == "google.type.Money" && optional => {
            format!("forms.mask_number({arguments}, crate::parts::floor_money)")
        }
        Kind::Int64 if optional => format!("forms.mask_number({arguments}, crate::parts::floor_int64)"),
        _ if optional && field.cardinality() != Cardinality::Repeated => format!("forms.mask_value({arguments})"),
        _ => return Err(format!("{}: a classified field of an answer must be `optional`", field.full_name())),
    })
}

fn debug_impl(message: &MessageDescriptor, options: &Options) -> Result<String, String> {
    let path = rust_path(message);
    let mut body = format!("        f.debug_struct({:?})", message.name());
    let mut oneofs = String::new();
    for field in message.fields() {
        if field.containing_oneof().is_none_or(|oneof| oneof.is_synthetic()) {
            let shown = match hidden_as(&field, options)? {
                Some(placeholder) => format!("&format_args!({placeholder:?})"),
                None => format!("&self.{}", rust_field(&field)),
            };
            write!(body, "\n            .field({:?}, {shown})", field.name()).map_err(|e| e.to_string())?;
        }
    }
    for oneof in message.oneofs().filter(|oneof| !oneof.is_synthetic()) {
        write!(body, "\n            .field({0:?}, &self.{0})", oneof.name()).map_err(|e| e.to_string())?;
        oneofs.push_str(&oneof_debug_impl(message, &oneof, options)?);
    }
    Ok(format!(
        "impl fmt::Debug for {path} {{\n    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {{\n{body}\n            .finish()\n    }}\n}}\n{oneofs}"
    ))
}

fn oneof_debug_impl(message: &MessageDescriptor, oneof: &OneofDescriptor, options: &Options) -> Result<String, String> {
    let path = oneof_path(message, oneof);
    let mut arms = String::new();
    for field in oneof.fields() {
        let variant = upper_camel_case(field.name());
        let (pattern, shown) = match hidden_as(&field, options)? {
            Some(placeholder) => ("_", format!("&format_args!({placeholder:?})")),
            None => ("value", "value".to_owned()),
        };
        writeln!(arms, "            Self::{variant}({pattern}) => f.debug_tuple({variant:?}).field({shown}).finish(),")
            .map_err(|e| e.to_string())?;
    }
    Ok(format!(
        "impl fmt::Debug for {path} {{\n    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {{\n        match self {{\n{arms}        }}\n    }}\n}}\n"
    ))
}

/// What stands in a log for a field that must not be in one.
fn hidden_as(field: &FieldDescriptor, options: &Options) -> Result<Option<String>, String> {
    let class = options.class(field)?;
    Ok(if Options::debug_redact(field) {
        Some("<secret>".to_owned())
    } else if class == NONE {
        None
    } else {
        Some(format!("<{}>", class.trim_start_matches("SENSITIVITY_").to_lowercase()))
    })
}

/// A field's name in Rust, where `trait` needs an escape.
fn rust_field(field: &FieldDescriptor) -> String {
    let name = field.name();
    if name == "trait" { format!("r#{name}") } else { name.to_owned() }
}

fn oneof_path(message: &MessageDescriptor, oneof: &OneofDescriptor) -> String {
    format!("{}::{}::{}", package_path(message), snake_case(message.name()), upper_camel_case(oneof.name()))
}

fn package_path(message: &MessageDescriptor) -> String {
    let modules: Vec<_> =
        message.package_name().split('.').map(|part| if part == "type" { "r#type" } else { part }).collect();
    format!("crate::{}", modules.join("::"))
}

fn rust_path(message: &MessageDescriptor) -> String {
    format!("{}::{}", package_path(message), message.name())
}

fn rust_class(class: &str) -> String {
    format!("Sensitivity::{}", upper_camel_case(&class.trim_start_matches("SENSITIVITY_").to_lowercase()))
}

fn upper_camel_case(name: &str) -> String {
    name.split('_')
        .map(|word| {
            let (first, rest) = word.split_at(1);
            first.to_uppercase() + rest
        })
        .collect()
}

fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for (index, c) in name.char_indices() {
        if c.is_uppercase() && index > 0 {
            snake.push('_');
        }
        snake.extend(c.to_lowercase());
    }
    snake
}
