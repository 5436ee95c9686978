//! The reference of all settings, made from their types.

use super::Config;
use std::fmt::Write;

/// The reference of all settings in Markdown, from the types.
pub fn reference() -> String {
    let schema = schemars::schema_for!(Config);
    let defaults = serde_json::to_value(Config::default()).unwrap_or_default();
    let mut text = String::from(
        "# Configuration\n\nSettings come from the defaults, then the file of `--config`, then the environment, then flags. \
         A setting `a.b` is `QUINTILE_A__B` in the environment. Keys that are not known are refused. This page is made by \
         `quintile config reference`.\n\n| setting | default | meaning |\n|---|---|---|\n",
    );
    let root = schema.as_value();
    describe(root, root, "", &defaults, &mut text);
    text
}

fn describe(
    root: &serde_json::Value,
    schema: &serde_json::Value,
    prefix: &str,
    defaults: &serde_json::Value,
    text: &mut String,
) {
    let Some(properties) = schema["properties"].as_object() else { return };
    for (name, property) in properties {
        let path = format!("{prefix}{name}");
        let reference = property["$ref"].as_str().or_else(|| {
            property["anyOf"].as_array().and_then(|options| options.iter().find_map(|option| option["$ref"].as_str()))
        });
        if let Some(target) = reference.and_then(|reference| root.pointer(reference.trim_start_matches('#'))) {
            describe(root, target, &format!("{path}."), &defaults[name], text);
            continue;
        }
        let default = match (&defaults[name], &property["default"]) {
            (serde_json::Value::Null, serde_json::Value::Null) => "-".to_owned(),
            (serde_json::Value::Null, value) | (value, _) => format!("`{value}`"),
        };
        let meaning = property["description"].as_str().unwrap_or_default().replace('\n', " ");
        // Writing to a String does not fail.
        let _ = writeln!(text, "| `{path}` | {default} | {meaning} |");
        let item = property["items"]["$ref"].as_str();
        if let Some(item) = item.and_then(|reference| root.pointer(reference.trim_start_matches('#'))) {
            describe(root, item, &format!("{path}[]."), &serde_json::Value::Null, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_printed_reference_is_the_one_in_the_repository() {
        let written = include_str!("../../../../CONFIGURATION.md");
        assert_eq!(written, reference(), "run `quintile config reference > CONFIGURATION.md`");
    }
}
