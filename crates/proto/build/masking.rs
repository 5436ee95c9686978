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
    let mut classified = HashMap::new();
    let mut source = String::from("// Generated from the contracts.\n");
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
    let mut body = String::new();
    if is_classified(message, options, known)? {
        for field in message.fields().filter(|field| Options::flag(&options.names_customer, field)) {
            writeln!(body, "        let forms = lens.forms(Some(&self.{}));", field.name())
                .map_err(|e| e.to_string())?;
        }
        for field in message.fields() {
            body.push_str(&mask_field(&field, options, known)?);
        }
    }
    // The arguments that this message has no use for.
    let names_customer = body.contains("let forms");
    let lens = if body.contains("lens") { "lens" } else { "_lens" };
    let forms = if body.is_empty() || names_customer { "_forms" } else { "forms" };
    let arguments = format!("{lens}: &dyn Lens, {forms}");
    Ok(format!(
        "impl Maskable for {} {{\n    fn mask(&mut self, {arguments}: &FieldForms) {{\n{body}    }}\n}}\n",
        rust_path(message)
    ))
}

fn mask_field(field: &FieldDescriptor, options: &Options, known: &mut HashMap<String, bool>) -> Result<String, String> {
    let (name, class) = (field.name(), options.class(field)?);
    if class != NONE {
        return mask_classified(field, &class);
    }
    let Kind::Message(inner) = field.kind() else {
        return Ok(String::new());
    };
    if Options::flag(&options.masked_by_owner, field) || !is_classified(&inner, options, known)? {
        return Ok(String::new());
    }
    if field.containing_oneof().is_some_and(|oneof| !oneof.is_synthetic()) {
        return Err(format!("{}: a oneof of an answer can't hold classified messages yet", field.full_name()));
    }
    let each = if field.is_list() {
        format!("for inner in &mut self.{name}")
    } else {
        format!("if let Some(inner) = &mut self.{name}")
    };
    Ok(format!("        {each} {{\n            inner.mask(lens, forms);\n        }}\n"))
}

fn mask_classified(field: &FieldDescriptor, class: &str) -> Result<String, String> {
    let (name, class) = (field.name(), rust_class(class));
    let optional = field.supports_presence() && field.containing_oneof().is_none_or(|oneof| oneof.is_synthetic());
    let call = match field.kind() {
        Kind::String if field.is_list() => format!("forms.mask_texts({class}, &mut self.{name});"),
        Kind::String if optional => format!("forms.mask_text({class}, &mut self.{name});"),
        Kind::Message(inner) if inner.full_name() == "google.type.Date" && optional => {
            format!("forms.mask_date({class}, &mut self.{name}, |date| (date.month, date.day) = (0, 0));")
        }
        _ if optional && field.cardinality() != Cardinality::Repeated => {
            format!("forms.mask_value({class}, &mut self.{name});")
        }
        _ => return Err(format!("{}: a classified field of an answer must be `optional`", field.full_name())),
    };
    Ok(format!("        {call}\n"))
}

fn debug_impl(message: &MessageDescriptor, options: &Options) -> Result<String, String> {
    let path = rust_path(message);
    let mut body = format!("        f.debug_struct({:?})", message.name());
    let mut oneofs = String::new();
    for field in message.fields() {
        if field.containing_oneof().is_none_or(|oneof| oneof.is_synthetic()) {
            let shown = match hidden_as(&field, options)? {
                Some(placeholder) => format!("&format_args!({placeholder:?})"),
                None => format!("&self.{}", field.name()),
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
    let path = format!("{}::{}::{}", package_path(message), snake_case(message.name()), upper_camel_case(oneof.name()));
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
