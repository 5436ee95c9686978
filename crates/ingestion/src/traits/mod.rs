//! Traits: features that a tenant defines itself, an aggregate of one kind of fact with a filter and a window. Pure: a definition, facts,
//! an instant and a zone in, a value out, whatever the order in which the facts arrived.

mod aggregate;
mod fields;

pub use aggregate::Amount;

use crate::features::{CustomerFacts, leaves_window};
use fields::{FactRow, class_of, fields_of, rows};
use quintile_domain::masking::Sensitivity;
use quintile_domain::time::{Instant, TimeZone};
use quintile_expr::{Field, Now, Rule, Schema, Type};
use quintile_proto::ingestion::{TraitAggregate, TraitFact};

/// The longest window, in days: ten years.
pub const MAX_WINDOW_DAYS: i32 = 3_653;

/// What a tenant says of a trait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// What it is computed from.
    pub fact: TraitFact,
    /// How facts become one value.
    pub aggregate: TraitAggregate,
    /// The field that is aggregated. Empty: none.
    pub value: String,
    /// Which facts count. Empty: all.
    pub filter: String,
    /// The window in local calendar days. 0: all facts so far.
    pub window_days: i32,
}

/// What is wrong with a definition; it shows none of the filter's literals.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} {problem}")]
pub struct DefinitionError {
    /// The field of the definition.
    pub field: &'static str,
    /// The problem, as it follows the field's name in a sentence.
    pub problem: String,
}

fn wrong(field: &'static str, problem: impl Into<String>) -> DefinitionError {
    DefinitionError { field, problem: problem.into() }
}

/// A trait that can be computed.
#[derive(Clone, Debug)]
pub struct Trait {
    fact: TraitFact,
    aggregate: TraitAggregate,
    value: Option<Field>,
    filter: Option<Rule>,
    window_days: i32,
}

impl Trait {
    /// Checks a definition, for a currency of so many decimals.
    pub fn new(definition: &Definition, minor_digits: u8) -> Result<Self, DefinitionError> {
        let Definition { fact, aggregate, .. } = *definition;
        if fact == TraitFact::Unspecified {
            return Err(wrong("fact", "is required"));
        }
        if aggregate == TraitAggregate::Unspecified {
            return Err(wrong("aggregate", "is required"));
        }
        if !(0..=MAX_WINDOW_DAYS).contains(&definition.window_days) {
            return Err(wrong("window_days", format!("must be 0 to {MAX_WINDOW_DAYS}")));
        }
        let schema = Schema::new(fields_of(fact), minor_digits).map_err(|error| wrong("fact", error.to_string()))?;
        let value = value_of(definition, &schema)?;
        let filter = match definition.filter.as_str() {
            "" => None,
            source => Some(filter_of(source, &schema)?),
        };
        Ok(Self { fact, aggregate, value, filter, window_days: definition.window_days })
    }

    /// What its values tell about a person: what the fields that it reads tell. No two fields have different classes but none.
    pub fn class(&self) -> Sensitivity {
        let classes = self.fields_read().map(|field| class_of(field.id));
        classes.fold(Sensitivity::None, |class, other| if class == Sensitivity::None { other } else { class })
    }

    /// The name of a field that it reads, in its value or its filter, and that is of a class for which `may_read` says no.
    pub fn forbidden(&self, may_read: impl Fn(Sensitivity) -> bool) -> Option<String> {
        self.fields_read().find(|field| !may_read(class_of(field.id))).map(|field| field.name.into_owned())
    }

    fn fields_read(&self) -> impl Iterator<Item = Field> {
        let filtered = self.filter.iter().flat_map(Rule::fields);
        let read: Vec<u16> = filtered.copied().chain(self.value.iter().map(|field| field.id)).collect();
        fields_of(self.fact).into_iter().filter(move |field| read.contains(&field.id))
    }

    /// What the facts amount to as of an instant. `None`: no value. `facts` are sorted.
    pub fn amount(&self, facts: &CustomerFacts, as_of: Instant, zone: &TimeZone) -> Option<Amount> {
        let counted = self.counted(facts, as_of, zone);
        match &self.value {
            None => Some(Amount::Integer(counted.count() as i64)),
            Some(field) => {
                let values = counted.filter_map(|row| Some((row.at(), row.get(field.id)?)));
                aggregate::of(self.aggregate, field.ty, values)
            }
        }
    }

    /// The earliest instant after `as_of` at which a fact leaves the window, whether it counts or not: the instant is shown to those who must
    /// not learn what the filter reads. What begins to count is known elsewhere: a fact is ahead for every feature. `facts` are sorted.
    pub fn next_change(&self, facts: &CustomerFacts, as_of: Instant, zone: &TimeZone) -> Option<Instant> {
        if self.window_days == 0 {
            return None;
        }
        let oldest = self.in_window(facts, as_of, zone).next()?;
        Some(leaves_window(oldest.at(), self.window_days, as_of, zone))
    }

    /// The facts that count.
    fn counted<'a>(
        &'a self,
        facts: &'a CustomerFacts,
        as_of: Instant,
        zone: &TimeZone,
    ) -> impl Iterator<Item = FactRow<'a>> + 'a {
        self.in_window(facts, as_of, zone).filter(|row| self.matches(row))
    }

    /// The facts of its kind in the window.
    fn in_window<'a>(
        &'a self,
        facts: &'a CustomerFacts,
        as_of: Instant,
        zone: &TimeZone,
    ) -> impl Iterator<Item = FactRow<'a>> + 'a {
        let from = if self.window_days == 0 {
            Instant::from_micros(i64::MIN)
        } else {
            zone.days_before(as_of, self.window_days)
        };
        rows(self.fact, facts, from, as_of)
    }

    fn matches(&self, row: &FactRow<'_>) -> bool {
        // No filter asks what time it is.
        self.filter.as_ref().is_none_or(|rule| rule.matches(row, &Now::new(0, &|_| 0)))
    }
}

fn value_of(definition: &Definition, schema: &Schema) -> Result<Option<Field>, DefinitionError> {
    let name = definition.value.as_str();
    if definition.aggregate == TraitAggregate::Count {
        return if name.is_empty() {
            Ok(None)
        } else {
            Err(wrong("value", "must be empty: facts are counted, not values"))
        };
    }
    if name.is_empty() {
        return Err(wrong("value", "is required"));
    }
    let Some(field) = schema.field(name) else {
        let problem = match schema.nearest(name) {
            Some(nearest) => format!("is no field of this kind of fact; the nearest is {nearest}"),
            None => "is no field of this kind of fact".to_owned(),
        };
        return Err(wrong("value", problem));
    };
    let fits = match definition.aggregate {
        TraitAggregate::Sum | TraitAggregate::Mean => matches!(field.ty, Type::Int | Type::Money),
        TraitAggregate::Min | TraitAggregate::Max => matches!(field.ty, Type::Int | Type::Money | Type::Instant),
        _ => true,
    };
    if fits {
        Ok(Some(field.clone()))
    } else {
        Err(wrong("value", format!("is of type {}, which has no such aggregate", field.ty)))
    }
}

fn filter_of(source: &str, schema: &Schema) -> Result<Rule, DefinitionError> {
    if source.contains('\0') {
        // No database keeps it alike.
        return Err(wrong("filter", "must not hold NUL"));
    }
    let rule = Rule::parse(source, schema).map_err(|error| wrong("filter", error.to_string()))?;
    if !rule.references().is_empty() {
        return Err(wrong("filter", "must not ask for segments: facts belong to none"));
    }
    if rule.depends_on_time() {
        return Err(wrong("filter", "must not depend on the present time: state a window"));
    }
    Ok(rule)
}

#[cfg(test)]
mod tests;
