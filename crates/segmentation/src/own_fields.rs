//! Fields of a tenant's own: what its traits and its score models say of customers. They are known by the records that have them, and stay known.

use quintile_domain::masking::Sensitivity;
use quintile_domain::money::Currency;
use quintile_expr::{DECIMALS, Field, Type, ValueRef, is_reserved};
use quintile_proto::types::{CustomerRecord, ModelScore, TraitValue};
use quintile_rpc::convert;
use std::collections::HashSet;

/// The id of the first; those of built-in fields are below.
pub const FIRST_ID: u16 = 1_000;
/// The most of a tenant. What comes beyond is not known to rules.
pub const MAX_FIELDS: usize = 500;
/// Models whose scores have built-in fields.
const BUILT_IN_MODELS: [&str; 2] = ["rfm", "grade"];

/// Where the value of a field comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// A trait, by its id.
    Trait(String),
    /// The composite of a model, 0 to 100.
    Composite(String),
    /// The band of a model's grade.
    Band(String),
    /// The tier of a model's grade.
    Tier(String),
    /// Whether a model's grade makes a VIP.
    Vip(String),
    /// A model's score in the dimension of this number, from 1.
    Score(String, usize),
}

/// A field of a tenant's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnField {
    /// Where its value comes from.
    pub source: Source,
    /// Its type.
    pub ty: Type,
    /// What its values tell about a person.
    pub sensitivity: Sensitivity,
}

impl Source {
    /// What rules call it. Ids have hyphens, which names in rules can't have, and no underscores; an id that is a word of the language is written large,
    /// as no id is.
    pub fn name(&self) -> String {
        let spelt = |id: &str| if is_reserved(id) { id.to_uppercase() } else { id.replace('-', "_") };
        match self {
            Self::Trait(id) => format!("trait.{}", spelt(id)),
            Self::Composite(model) => format!("score.{}.value", spelt(model)),
            Self::Band(model) => format!("score.{}.band", spelt(model)),
            Self::Tier(model) => format!("score.{}.tier", spelt(model)),
            Self::Vip(model) => format!("score.{}.vip", spelt(model)),
            Self::Score(model, dimension) => format!("score.{}.d{dimension}", spelt(model)),
        }
    }

    fn description(&self) -> String {
        match self {
            Self::Trait(id) => format!("the trait \"{id}\""),
            Self::Composite(model) => format!("composite of the model \"{model}\", 0-100; missing: no grade"),
            Self::Band(model) => format!("band of the grade by the model \"{model}\""),
            Self::Tier(model) => format!("\"low\", \"middle\" or \"high\" value by the model \"{model}\""),
            Self::Vip(model) => format!("\"yes\" or \"no\": a VIP by the model \"{model}\""),
            Self::Score(model, dimension) => {
                format!("score in dimension {dimension} of the model \"{model}\"; missing: none")
            }
        }
    }

    /// The source as a database keeps it.
    pub fn to_text(&self) -> String {
        match self {
            Self::Trait(id) => format!("trait/{id}"),
            Self::Composite(model) => format!("composite/{model}"),
            Self::Band(model) => format!("band/{model}"),
            Self::Tier(model) => format!("tier/{model}"),
            Self::Vip(model) => format!("vip/{model}"),
            Self::Score(model, dimension) => format!("score/{model}/{dimension}"),
        }
    }

    /// The source that a database has kept. `None`: it is none.
    pub fn from_text(text: &str) -> Option<Self> {
        let (kind, id) = text.split_once('/')?;
        let of = |source: fn(String) -> Self| Some(source(id.to_owned()));
        match kind {
            "trait" => of(Self::Trait),
            "composite" => of(Self::Composite),
            "band" => of(Self::Band),
            "tier" => of(Self::Tier),
            "vip" => of(Self::Vip),
            "score" => {
                let (model, dimension) = id.split_once('/')?;
                Some(Self::Score(model.to_owned(), dimension.parse().ok()?))
            }
            _ => None,
        }
    }
}

impl OwnField {
    /// The field as rules know it.
    pub fn field(&self, id: u16) -> Field {
        Field { id, name: self.source.name().into(), ty: self.ty, description: self.source.description().into() }
    }

    /// What a record has in the field, of the field's type; money in minor units of `currency`.
    pub fn value<'a>(&self, record: &'a CustomerRecord, currency: Currency) -> Option<ValueRef<'a>> {
        let model = |id: &str| record.scores.as_ref()?.models.iter().find(|score| model_of(score) == Some(id));
        let grade = |id: &str| model(id)?.grade.as_ref();
        let text = |text: &'a str| Some(ValueRef::Text(text)).filter(|_| !text.is_empty());
        match &self.source {
            Source::Trait(id) => {
                let values = &record.features.as_ref()?.traits;
                values.iter().find(|value| value.key == *id).and_then(|value| self.of_trait(value, currency))
            }
            Source::Composite(id) => grade(id).map(|grade| ValueRef::Int(grade.composite.into())),
            Source::Band(id) => grade(id).and_then(|grade| text(&grade.band)),
            Source::Tier(id) => grade(id).and_then(|grade| text(&grade.tier)),
            Source::Vip(id) => grade(id).map(|grade| ValueRef::Text(if grade.vip { "yes" } else { "no" })),
            Source::Score(id, dimension) => {
                let score = model(id)?.scores.get(dimension.checked_sub(1)?)?;
                Some(ValueRef::Int((*score).into())).filter(|_| *score > 0)
            }
        }
    }

    /// A trait that was deleted and defined anew with another type has no value here.
    fn of_trait<'a>(&self, value: &'a TraitValue, currency: Currency) -> Option<ValueRef<'a>> {
        match self.ty {
            Type::Int => value.integer.map(ValueRef::Int),
            Type::Money => convert::sent_minor(value.money.as_ref(), currency).map(ValueRef::Int),
            Type::Decimal => value.number.map(|number| ValueRef::Int(in_units(number))),
            Type::Text => value.text.as_deref().map(ValueRef::Text).filter(|text| *text != ValueRef::Text("")),
            Type::Instant => convert::sent_instant(value.time.as_ref()).map(|time| ValueRef::Instant(time.micros())),
            Type::Bool => None,
        }
    }
}

/// The id of the model that gave scores.
fn model_of(score: &ModelScore) -> Option<&str> {
    score.model_version.strip_prefix("scoreModels/")?.split('/').next()
}

/// A mean of whole numbers in units of the last decimal that rules know, rounded; what is beyond 64 bits is the last number within.
fn in_units(number: f64) -> i64 {
    (number * 10_f64.powi(DECIMALS.into())).round_ties_even() as i64
}

/// The fields that records have and that are not known yet, each once; or whose values turn out to tell more than was known.
pub fn unknown(records: &[CustomerRecord], known: &[OwnField]) -> Vec<OwnField> {
    let mut sources: HashSet<(Source, bool)> = HashSet::new();
    for field in known {
        sources.insert((field.source.clone(), field.sensitivity != Sensitivity::None));
        // What is known to be money need not be known to be none.
        sources.insert((field.source.clone(), false));
    }
    let mut found = Vec::new();
    let mut note = |source: Source, ty: Type, sensitivity: Sensitivity| {
        let told = (source, sensitivity != Sensitivity::None);
        if !sources.contains(&told) {
            found.push(OwnField { source: told.0.clone(), ty, sensitivity });
            sources.insert(told);
        }
    };
    for record in records {
        for value in record.features.iter().flat_map(|features| &features.traits) {
            if let Some(ty) = type_of(value) {
                note(Source::Trait(value.key.clone()), ty, class_of(value));
            }
        }
        for score in record.scores.iter().flat_map(|scores| &scores.models) {
            let Some(model) = model_of(score).filter(|model| !BUILT_IN_MODELS.contains(model)) else { continue };
            let model = model.to_owned();
            if score.grade.is_some() {
                note(Source::Composite(model.clone()), Type::Int, Sensitivity::None);
                note(Source::Band(model.clone()), Type::Text, Sensitivity::None);
                note(Source::Tier(model.clone()), Type::Text, Sensitivity::None);
                note(Source::Vip(model.clone()), Type::Text, Sensitivity::None);
            }
            for dimension in 1..=score.scores.len() {
                note(Source::Score(model.clone(), dimension), Type::Int, Sensitivity::None);
            }
        }
    }
    found
}

fn type_of(value: &TraitValue) -> Option<Type> {
    if value.integer.is_some() {
        Some(Type::Int)
    } else if value.money.is_some() {
        Some(Type::Money)
    } else if value.number.is_some() {
        Some(Type::Decimal)
    } else if value.text.is_some() {
        Some(Type::Text)
    } else {
        value.time.is_some().then_some(Type::Instant)
    }
}

/// A trait that reads money tells of money, whatever its type.
fn class_of(value: &TraitValue) -> Sensitivity {
    Sensitivity::of_number(value.sensitivity).unwrap_or(Sensitivity::Financial)
}

#[cfg(test)]
mod tests {
    use super::*;
    use quintile_proto::types::{Features, Grade, ScoreValues};

    fn record(traits: Vec<TraitValue>, models: Vec<ModelScore>) -> CustomerRecord {
        CustomerRecord {
            features: Some(Features { traits, ..Features::default() }),
            scores: Some(ScoreValues { models, ..ScoreValues::default() }),
            ..CustomerRecord::default()
        }
    }

    fn trait_value(key: &str, sensitivity: Sensitivity) -> TraitValue {
        TraitValue { key: key.to_owned(), sensitivity: sensitivity as i32, integer: Some(7), ..TraitValue::default() }
    }

    fn model(version: &str, scores: &[i32]) -> ModelScore {
        let grade = Grade { composite: 80, band: "A".to_owned(), tier: "high".to_owned(), vip: true };
        ModelScore { model_version: version.to_owned(), scores: scores.to_vec(), grade: Some(grade) }
    }

    #[test]
    fn records_make_their_fields_known_once() {
        let models =
            vec![model("scoreModels/my-shop/versions/3", &[5, 0]), model("scoreModels/grade/versions/1", &[1])];
        let record = record(vec![trait_value("big-orders", Sensitivity::None)], models);
        let found = unknown(&[record.clone(), record.clone()], &[]);
        let names: Vec<_> = found.iter().map(|field| field.source.name()).collect();
        let expected = [
            "trait.big_orders",
            "score.my_shop.value",
            "score.my_shop.band",
            "score.my_shop.tier",
            "score.my_shop.vip",
            "score.my_shop.d1",
            "score.my_shop.d2",
        ];
        assert_eq!(names, expected);
        assert_eq!(unknown(std::slice::from_ref(&record), &found), []);
        let currency = Currency::from_code("EUR").unwrap();
        let values: Vec<_> = found.iter().map(|field| field.value(&record, currency)).collect();
        let text = |text| Some(ValueRef::Text(text));
        let int = |number| Some(ValueRef::Int(number));
        assert_eq!(values, [int(7), int(80), text("A"), text("high"), text("yes"), int(5), None]);
        for field in &found {
            assert_eq!(Source::from_text(&field.source.to_text()), Some(field.source.clone()));
        }
    }

    #[test]
    fn a_mean_is_a_number_of_thousandths() {
        let mean =
            |number| TraitValue { integer: None, number: Some(number), ..trait_value("mean", Sensitivity::None) };
        let currency = Currency::from_code("EUR").unwrap();
        for (number, thousandths) in [
            (5.0 / 3.0, 1_667),
            (-2.0 / 3.0, -667),
            (4.0, 4_000),
            (0.0625, 62),
            (0.1875, 188),
            (i64::MAX as f64, i64::MAX),
            (i64::MIN as f64, i64::MIN),
        ] {
            let record = record(vec![mean(number)], Vec::new());
            let found = unknown(std::slice::from_ref(&record), &[]);
            assert_eq!(found.iter().map(|field| field.ty).collect::<Vec<_>>(), [Type::Decimal]);
            assert_eq!(found[0].value(&record, currency), Some(ValueRef::Int(thousandths)), "{number}");
        }
        let whole = record(vec![trait_value("mean", Sensitivity::None)], Vec::new());
        let found = unknown(&[record(vec![mean(1.5)], Vec::new())], &[]);
        assert_eq!(found[0].value(&whole, currency), None, "defined anew with another type");
    }

    #[test]
    fn words_of_the_language_are_written_large() {
        let name = |id: &str| Source::Trait(id.to_owned()).name();
        assert_eq!(
            ["in", "true", "in-store", "now"].map(name),
            ["trait.IN", "trait.TRUE", "trait.in_store", "trait.NOW"]
        );
    }

    #[test]
    fn a_trait_that_turns_out_to_tell_of_money_is_found_again() {
        let plain = unknown(&[record(vec![trait_value("t", Sensitivity::None)], Vec::new())], &[]);
        let money = unknown(&[record(vec![trait_value("t", Sensitivity::Financial)], Vec::new())], &plain);
        assert_eq!(money.len(), 1);
        assert_eq!(money[0].sensitivity, Sensitivity::Financial);
        assert_eq!(unknown(&[record(vec![trait_value("t", Sensitivity::None)], Vec::new())], &money), []);
    }
}
