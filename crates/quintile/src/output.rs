//! What commands print: tables for people, JSON for programs.

use anyhow::Context;
use comfy_table::{CellAlignment, Table, presets};
use prost::Message;
use prost_reflect::{DynamicMessage, SerializeOptions};
use prost_types::Timestamp;
use quintile_proto::google_type::{Date, Money};
use quintile_rpc::convert::sent_instant;
use std::io::Write;
use std::path::Path;

/// Prints a line on standard output. Whoever reads it may have read enough: then the command ends quietly.
macro_rules! say {
    ($($text:tt)*) => { $crate::output::line(format_args!($($text)*)) };
}

/// What [`say`] prints by.
pub fn line(text: std::fmt::Arguments<'_>) {
    if writeln!(std::io::stdout(), "{text}").is_err() {
        std::process::exit(0);
    }
}

/// The form of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A table.
    #[default]
    Table,
    /// The answer as protobuf's JSON.
    Json,
}

/// A message as protobuf's JSON.
pub fn json(message: &impl Message, name: &str) -> anyhow::Result<String> {
    let pool = quintile_proto::descriptor_pool();
    let descriptor = pool.get_message_by_name(name).with_context(|| format!("{name} is no message"))?;
    let dynamic = DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice())?;
    let mut text = Vec::new();
    let mut serializer = serde_json::Serializer::pretty(&mut text);
    dynamic.serialize_with_options(&mut serializer, &SerializeOptions::new().skip_default_fields(false))?;
    Ok(String::from_utf8(text)?)
}

/// The message of a file that holds it as protobuf's JSON; `form` says in words what that is.
pub fn read_json<T: Message + Default>(file: &Path, name: &str, form: &str) -> anyhow::Result<T> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let pool = quintile_proto::descriptor_pool();
    let descriptor = pool.get_message_by_name(name).with_context(|| format!("{name} is no message"))?;
    let mut json = serde_json::Deserializer::from_str(&text);
    let message = DynamicMessage::deserialize(descriptor, &mut json)
        .and_then(|message| json.end().map(|()| message))
        .with_context(|| format!("{} does not hold {form}", file.display()))?;
    Ok(T::decode(message.encode_to_vec().as_slice())?)
}

/// A table with a header; all columns but the first are aligned to the right if `numbers`.
pub fn table(header: &[&str], numbers: bool, rows: Vec<Vec<String>>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(header.to_vec());
    table.add_rows(rows);
    if numbers {
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// An amount such as `1,234.50 USD`. Absent: not for the reader.
pub fn money(money: Option<&Money>) -> String {
    let Some(money) = money else { return "-".to_owned() };
    let sign = if money.units < 0 || money.nanos < 0 { "-" } else { "" };
    let cents = money.nanos.unsigned_abs() / 10_000_000;
    format!("{sign}{}.{cents:02} {}", thousands(money.units.unsigned_abs()), money.currency_code)
}

/// A number with its thousands apart.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A date, or its year alone.
pub fn date(date: Option<&Date>) -> String {
    match date {
        None => "-".to_owned(),
        Some(date) if date.month == 0 => format!("{}", date.year),
        Some(date) => format!("{:04}-{:02}-{:02}", date.year, date.month, date.day),
    }
}

/// An instant. Absent: nothing.
pub fn instant(timestamp: Option<&Timestamp>) -> String {
    sent_instant(timestamp).map(|instant| instant.to_string()).unwrap_or_default()
}

/// The name of a value of an enum as people read it.
pub fn plain(name: &str, prefix: &str) -> String {
    name.trim_start_matches(prefix).to_lowercase().replace('_', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_read_as_people_write_them() {
        let amount = |units, nanos| Money { currency_code: "USD".to_owned(), units, nanos };
        assert_eq!(money(Some(&amount(2_500_315, 630_000_000))), "2,500,315.63 USD");
        assert_eq!(money(Some(&amount(0, -50_000_000))), "-0.05 USD");
        assert_eq!(money(None), "-");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(1_000), "1,000");
    }
}
