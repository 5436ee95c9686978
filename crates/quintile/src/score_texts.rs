//! Scores as people say and read them: amounts in the units of features, what might be, what has changed, and heat maps.

use crate::output;
use anyhow::Context;
use quintile_domain::money::{Currency, with_decimals};
use quintile_proto::google_type::Money;
use quintile_proto::scoring::{
    DimensionExplanation, HypotheticalInput, ScoreCell, ScoreChange, ScoreChangeCause, ScoreModelPreview,
};
use quintile_proto::types::{ModelScore, ScoreValues};
use quintile_rpc::convert;
use std::collections::BTreeMap;

/// The unit of what is no whole number.
const THOUSANDTHS: &str = "thousandths";

/// The currency of a unit that is minor units of one.
fn currency_of(unit: &str) -> Option<Currency> {
    Currency::from_code(unit.strip_suffix(" minor")?).ok()
}

/// A number of a feature with its decimals. Absent: `-`.
pub fn amount(number: Option<i64>, unit: &str) -> String {
    let Some(number) = number else { return "-".to_owned() };
    match currency_of(unit) {
        Some(currency) => with_decimals(number, currency.minor_digits()),
        None if unit == THOUSANDTHS => with_decimals(number, 3),
        None => number.to_string(),
    }
}

/// What an amount that was told with its decimals is of.
pub fn unit_of_amount(unit: &str) -> String {
    match currency_of(unit) {
        Some(currency) => currency.code().to_owned(),
        None if unit == THOUSANDTHS => String::new(),
        None => unit.to_owned(),
    }
}

/// What might be: a feature, and the value that it would have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WhatIf {
    feature: String,
    value: String,
}

impl WhatIf {
    /// Reads `FEATURE=VALUE`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (feature, value) = text.split_once('=').ok_or("must be FEATURE=VALUE, such as orders=5")?;
        Ok(Self { feature: feature.to_owned(), value: value.to_owned() })
    }

    /// As a request says it: the value is in the unit that the explanation of the feature tells.
    pub fn input(&self, dimensions: &[DimensionExplanation]) -> anyhow::Result<HypotheticalInput> {
        let read = dimensions.iter().find(|dimension| dimension.feature == self.feature);
        let unit = read.map(|dimension| dimension.unit.as_str()).unwrap_or_default();
        let input = HypotheticalInput { feature: self.feature.clone(), ..HypotheticalInput::default() };
        if self.value.is_empty() {
            return Ok(input);
        }
        let number = match currency_of(unit) {
            Some(currency) => {
                let read = currency.minor_from_decimal(&self.value);
                let wrong = || format!("{} is an amount in {}, such as 12", self.feature, currency.code());
                Some(read.ok().with_context(wrong)?)
            }
            None if unit == THOUSANDTHS => {
                let read = self.value.parse::<f64>().ok().filter(|number| number.is_finite());
                let number = read.with_context(|| format!("{} is a number, such as 4.5", self.feature))?;
                // What exceeds 64 bits stays at their ends, and is refused for it.
                Some((number * 1_000.0).round() as i64)
            }
            // A text, or a trait, of which only values say what they are.
            None if unit.is_empty() => self.value.parse().ok().filter(|_| self.feature.starts_with("traits/")),
            None => {
                let wrong = || format!("{} is a whole number of {unit}", self.feature);
                Some(self.value.parse().ok().with_context(wrong)?)
            }
        };
        Ok(match number {
            Some(number) => HypotheticalInput { value: Some(number), ..input },
            None => HypotheticalInput { text: Some(self.value.clone()), ..input },
        })
    }
}

/// The rows of a change: one for each model that changed.
pub fn rows_of_change(change: &ScoreChange) -> Vec<Vec<String>> {
    let none = ScoreValues::default();
    let (before, after) = (change.before.as_ref().unwrap_or(&none), change.after.as_ref().unwrap_or(&none));
    let cause = change.cause();
    let cause =
        output::plain(cause.as_str_name(), ScoreChangeCause::Unspecified.as_str_name().trim_end_matches("UNSPECIFIED"));
    let row = |version: &str, from: String, to: String| {
        vec![output::instant(change.valid_at.as_ref()), cause.clone(), version.to_owned(), from, to]
    };
    let mut rows = Vec::new();
    // Where its scores did not change, neither names a version.
    if let Some(version) = [&after.model_version, &before.model_version].into_iter().find(|name| !name.is_empty()) {
        let scores = |values: &ScoreValues| scores_in_words(&[values.recency, values.frequency, values.monetary]);
        rows.push(row(version, scores(before), scores(after)));
    }
    let mut models: BTreeMap<&str, [Option<&ModelScore>; 2]> = BTreeMap::new();
    for (place, values) in [before, after].into_iter().enumerate() {
        for model in &values.models {
            let name = model.model_version.split("/versions/").next().unwrap_or_default();
            models.entry(name).or_default()[place] = Some(model);
        }
    }
    for [from, to] in models.into_values() {
        let version = to.or(from).map(|model| model.model_version.as_str()).unwrap_or_default();
        rows.push(row(version, of_model(from), of_model(to)));
    }
    rows
}

/// Scores in the order of their dimensions. `-`: none.
fn scores_in_words(scores: &[i32]) -> String {
    let each = scores.iter().map(|score| if *score == 0 { "-".to_owned() } else { score.to_string() });
    each.collect::<Vec<_>>().join(" ")
}

fn of_model(score: Option<&ModelScore>) -> String {
    let Some(score) = score else { return "-".to_owned() };
    let grade = score.grade.as_ref().map(|grade| format!(", grade {} ({})", grade.composite, grade.band));
    scores_in_words(&score.scores) + &grade.unwrap_or_default()
}

/// Cells put together.
#[derive(Default)]
struct Heat {
    customers: i64,
    revenue_minor: Option<i128>,
    value_minor: i128,
    valued: i64,
}

impl Heat {
    fn add(&mut self, cell: &ScoreCell, currency: Option<Currency>) {
        let minor = |money: Option<&Money>| convert::sent_minor(money, currency?).map(i128::from);
        self.customers += cell.customers;
        if let Some(revenue) = minor(cell.revenue.as_ref()) {
            *self.revenue_minor.get_or_insert(0) += revenue;
        }
        if let Some(mean) = minor(cell.mean_lifetime_value.as_ref()) {
            self.value_minor += mean * i128::from(cell.valued_customers);
            self.valued += cell.valued_customers;
        }
    }

    /// Customers, their revenue and their mean lifetime value in whole major units, each on a line of its own as far as it is told.
    fn lines(&self, minor_per_major: i128) -> String {
        let whole = |minor: i128| {
            let half = minor_per_major.unsigned_abs() / 2;
            let whole = (minor.unsigned_abs() + half) / minor_per_major.unsigned_abs();
            let sign = if minor < 0 && whole > 0 { "-" } else { "" };
            format!("{sign}{}", output::thousands(u64::try_from(whole).unwrap_or(u64::MAX)))
        };
        let revenue = self.revenue_minor.map(whole);
        let mean = (self.valued > 0).then(|| whole(self.value_minor / i128::from(self.valued)));
        let lines = [Some(output::thousands(self.customers.unsigned_abs())), revenue, mean];
        lines.into_iter().flatten().collect::<Vec<_>>().join("\n")
    }
}

/// The heat map of the first two dimensions of a preview, the best of the first on top: a heading, the header and the rows. `None`: there is only one
/// dimension, or the version has more cells than are told.
pub fn heat_map(found: &ScoreModelPreview) -> Option<(String, Vec<String>, Vec<Vec<String>>)> {
    let [down, across, ..] = found.dimensions.as_slice() else { return None };
    let told = found.cells.first()?;
    let currency = told.revenue.as_ref().and_then(|money| Currency::from_code(&money.currency_code).ok());
    let mut cells: BTreeMap<(i32, i32), Heat> = BTreeMap::new();
    for cell in &found.cells {
        let [first, second, ..] = cell.scores[..] else { return None };
        cells.entry((first, second)).or_default().add(cell, currency);
    }
    let minor_per_major = 10_i128.pow(currency.map_or(0, Currency::minor_digits));
    // Whoever lacks a score is told where there is somebody.
    let first = |lack_one: bool| i32::from(!lack_one);
    let last = |counts: &[i64]| i32::try_from(counts.len()).unwrap_or_default() - 1;
    let rows = first(cells.keys().any(|(down, _)| *down == 0))..=last(&down.customers);
    let columns = first(cells.keys().any(|(_, across)| *across == 0))..=last(&across.customers);
    let spelled = |score: i32| if score == 0 { "none".to_owned() } else { score.to_string() };
    let row = |score: i32| {
        let told = columns
            .clone()
            .map(|column| cells.get(&(score, column)).map(|heat| heat.lines(minor_per_major)).unwrap_or_default());
        std::iter::once(spelled(score)).chain(told).collect()
    };
    let counted = match currency {
        None => "customers".to_owned(),
        Some(currency) => {
            format!("customers, revenue and, where it is known, mean lifetime value in {}", currency.code())
        }
    };
    let heading = format!("{} down, {} across: {counted}", down.dimension, across.dimension);
    let header = std::iter::once(String::new()).chain(columns.clone().map(spelled)).collect();
    Some((heading, header, rows.rev().map(row).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use quintile_proto::scoring::DimensionPreview;

    fn reading(feature: &str, unit: &str) -> DimensionExplanation {
        DimensionExplanation { feature: feature.to_owned(), unit: unit.to_owned(), ..DimensionExplanation::default() }
    }

    #[test]
    fn amounts_are_told_and_read_in_the_units_of_their_features() {
        assert_eq!(
            (amount(Some(-1_205), "USD minor"), unit_of_amount("USD minor")),
            ("-12.05".to_owned(), "USD".to_owned())
        );
        assert_eq!(
            (amount(Some(1_205), "JPY minor"), unit_of_amount("JPY minor")),
            ("1205".to_owned(), "JPY".to_owned())
        );
        assert_eq!(
            (amount(Some(4_333), "thousandths"), unit_of_amount("thousandths")),
            ("4.333".to_owned(), String::new())
        );
        assert_eq!((amount(Some(7), "days"), unit_of_amount("days")), ("7".to_owned(), "days".to_owned()));
        assert_eq!(amount(None, "days"), "-");
        let dimensions = [
            reading("revenue", "USD minor"),
            reading("csat_mean", "thousandths"),
            reading("orders", "orders"),
            reading("department", ""),
            reading("traits/t", ""),
        ];
        let input = |text: &str| WhatIf::parse(text).unwrap().input(&dimensions);
        let number = |text: &str| input(text).unwrap().value;
        assert_eq!(number("revenue=-12.05"), Some(-1_205));
        assert_eq!(number("csat_mean=4.333"), Some(4_333));
        assert_eq!((number("orders=5"), number("traits/t=5")), (Some(5), Some(5)));
        let text = |text: &str| input(text).unwrap().text;
        assert_eq!((text("department=5"), text("traits/t=a=b")), (Some("5".to_owned()), Some("a=b".to_owned())));
        let none = input("orders=").unwrap();
        assert_eq!((none.value, none.text), (None, None));
        for wrong in ["revenue=1.234", "csat_mean=x", "csat_mean=NaN", "orders=1.5", "orders=many"] {
            assert!(input(wrong).is_err(), "{wrong}");
        }
        assert!(WhatIf::parse("orders").is_err());
    }

    #[test]
    fn a_change_is_a_row_for_each_model_that_changed() {
        let of = |version: &str, scores: &[i32]| ModelScore {
            model_version: version.to_owned(),
            scores: scores.to_vec(),
            ..ModelScore::default()
        };
        let rfm = |version: &str, [recency, frequency, monetary]: [i32; 3], models| ScoreValues {
            model_version: version.to_owned(),
            recency,
            frequency,
            monetary,
            models,
            ..ScoreValues::default()
        };
        let change = ScoreChange {
            cause: ScoreChangeCause::Model.into(),
            before: Some(rfm("scoreModels/rfm/versions/1", [5, 2, 3], vec![of("scoreModels/a/versions/1", &[1, 0])])),
            after: Some(rfm("scoreModels/rfm/versions/2", [5, 1, 3], vec![of("scoreModels/b/versions/1", &[10])])),
            ..ScoreChange::default()
        };
        let told: Vec<_> = rows_of_change(&change).into_iter().map(|row| row[1..].join("|")).collect();
        let expected = [
            "model|scoreModels/rfm/versions/2|5 2 3|5 1 3",
            "model|scoreModels/a/versions/1|1 -|-",
            "model|scoreModels/b/versions/1|-|10",
        ];
        assert_eq!(told, expected);
        let only = ScoreChange { before: None, after: Some(rfm("", [0; 3], vec![])), ..change };
        assert!(rows_of_change(&only).is_empty());
    }

    #[test]
    fn a_heat_map_adds_up_what_lies_behind_two_dimensions() {
        let usd = |units| Some(Money { currency_code: "USD".to_owned(), units, nanos: 0 });
        let cell = |scores: [i32; 3], customers, revenue, mean, valued| ScoreCell {
            scores: scores.to_vec(),
            customers,
            revenue: usd(revenue),
            mean_lifetime_value: usd(mean),
            valued_customers: valued,
        };
        let dimension = |name: &str, bins: usize| DimensionPreview {
            dimension: name.to_owned(),
            customers: vec![0; bins + 1],
            ..DimensionPreview::default()
        };
        let mut found = ScoreModelPreview {
            dimensions: vec![dimension("recency", 2), dimension("frequency", 2), dimension("monetary", 5)],
            cells: vec![
                cell([2, 1, 1], 1_000, 500, 10, 100),
                cell([2, 1, 5], 1, -1_500, 211, 1),
                cell([1, 0, 1], 7, 0, 0, 0),
            ],
            ..ScoreModelPreview::default()
        };
        let (heading, header, rows) = heat_map(&found).unwrap();
        assert!(heading.starts_with("recency down, frequency across: ") && heading.ends_with("in USD"), "{heading}");
        assert_eq!(header, ["", "none", "1", "2"]);
        // (10 * 100 + 211) / 101 is 11.99.
        assert_eq!(rows, [["2", "", "1,001\n-1,000\n12", ""], ["1", "7\n0", "", ""]]);
        found.dimensions.truncate(1);
        assert!(heat_map(&found).is_none());
    }
}
