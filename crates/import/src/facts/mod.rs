//! The kinds of facts that come out of lines: which fields each has, and how a line becomes its row.

mod acquisition_spend;
mod customer;
mod exchange_rate;
mod feedback;
mod interaction;
mod order;
mod refund;

use crate::error::ImportError;
use crate::mapping::columns::Line;
use crate::mapping::condition::{Condition, conditions};
use crate::mapping::keys::Keys;
use crate::mapping::value::{Context, Text};
use crate::reject::Problem;
use crate::values::Fault;
use quintile_proto::ingestion::{Row, SourceIdentity, row};

/// A kind of fact. Those of one customer are sent in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// An exchange rate.
    ExchangeRate,
    /// What was spent to win customers.
    AcquisitionSpend,
    /// A customer.
    Customer,
    /// An order.
    Order,
    /// A refund.
    Refund,
    /// An interaction.
    Interaction,
    /// Feedback.
    Feedback,
}

impl Kind {
    /// The key of the kind in mappings.
    pub const fn key(self) -> &'static str {
        match self {
            Self::ExchangeRate => "exchange_rate",
            Self::AcquisitionSpend => "acquisition_spend",
            Self::Customer => "customer",
            Self::Order => "order",
            Self::Refund => "refund",
            Self::Interaction => "interaction",
            Self::Feedback => "feedback",
        }
    }

    /// The kind of a row. `None`: it holds no fact.
    pub const fn of(row: &Row) -> Option<Self> {
        Some(match row.fact {
            None => return None,
            Some(row::Fact::ExchangeRate(_)) => Self::ExchangeRate,
            Some(row::Fact::AcquisitionSpend(_)) => Self::AcquisitionSpend,
            Some(row::Fact::Customer(_)) => Self::Customer,
            Some(row::Fact::Order(_)) => Self::Order,
            Some(row::Fact::Refund(_)) => Self::Refund,
            Some(row::Fact::Interaction(_)) => Self::Interaction,
            Some(row::Fact::Feedback(_)) => Self::Feedback,
        })
    }
}

/// What makes facts of one kind out of lines.
#[derive(Clone, Debug)]
pub struct Fact {
    /// For which lines it does: those for which all of this holds.
    pub when: Vec<Condition>,
    /// Whether the lines with the same customer and event id are one fact.
    pub combine: bool,
    fields: Fields,
}

#[derive(Clone, Debug)]
enum Fields {
    ExchangeRate(exchange_rate::Fields),
    AcquisitionSpend(acquisition_spend::Fields),
    Customer(Box<customer::Fields>),
    Order(Box<order::Fields>),
    Refund(refund::Fields),
    Interaction(interaction::Fields),
    Feedback(feedback::Fields),
}

/// Reads all facts of a table, in the order of their kinds.
pub fn read_all(keys: &mut Keys, context: &mut Context) -> Result<Vec<Fact>, ImportError> {
    let mut facts = Vec::new();
    for kind in [
        Kind::ExchangeRate,
        Kind::AcquisitionSpend,
        Kind::Customer,
        Kind::Order,
        Kind::Refund,
        Kind::Interaction,
        Kind::Feedback,
    ] {
        for own in keys.tables(kind.key())? {
            facts.push(Fact::read(kind, own, context)?);
        }
    }
    Ok(facts)
}

impl Fact {
    fn read(kind: Kind, mut keys: Keys, context: &mut Context) -> Result<Self, ImportError> {
        let when = conditions(&mut keys, context)?;
        let combine = match kind {
            Kind::Order | Kind::Refund => keys.flag("combine")?,
            _ => false,
        };
        let own = &mut keys;
        let fields = match kind {
            Kind::ExchangeRate => Fields::ExchangeRate(exchange_rate::Fields::read(own, context)?),
            Kind::AcquisitionSpend => Fields::AcquisitionSpend(acquisition_spend::Fields::read(own, context)?),
            Kind::Customer => Fields::Customer(Box::new(customer::Fields::read(own, context)?)),
            Kind::Order => Fields::Order(Box::new(order::Fields::read(own, context, combine)?)),
            Kind::Refund => Fields::Refund(refund::Fields::read(own, context)?),
            Kind::Interaction => Fields::Interaction(interaction::Fields::read(own, context)?),
            Kind::Feedback => Fields::Feedback(feedback::Fields::read(own, context)?),
        };
        keys.finish()?;
        Ok(Self { when, combine, fields })
    }

    /// Whether the fact is about a customer.
    pub const fn is_about_a_customer(&self) -> bool {
        !matches!(self.fields, Fields::ExchangeRate(_) | Fields::AcquisitionSpend(_))
    }

    /// The row of a line. `customer` is what the line's customer is known by, in `source`.
    pub fn row(&self, line: Line, source: &str, customer: &str) -> Result<Row, Problem> {
        let identity = || SourceIdentity { source: source.to_owned(), id: Some(customer.to_owned()) };
        let fact = match &self.fields {
            Fields::ExchangeRate(fields) => row::Fact::ExchangeRate(fields.row(line)?),
            Fields::AcquisitionSpend(fields) => row::Fact::AcquisitionSpend(fields.row(line, source)?),
            Fields::Customer(fields) => row::Fact::Customer(fields.row(line, identity())?),
            Fields::Order(fields) => row::Fact::Order(fields.row(line, identity())?),
            Fields::Refund(fields) => row::Fact::Refund(fields.row(line, identity())?),
            Fields::Interaction(fields) => row::Fact::Interaction(fields.row(line, identity())?),
            Fields::Feedback(fields) => row::Fact::Feedback(fields.row(line, identity())?),
        };
        Ok(Row { fact: Some(fact) })
    }
}

/// What a fact cannot be without.
pub fn needed<T>(keys: &Keys, key: &str, value: Option<T>) -> Result<T, ImportError> {
    value.ok_or_else(|| keys.fault(key, "is needed"))
}

/// The text of an optional field. `None`: there is none.
pub fn text(field: &'static str, text: Option<&Text>, line: Line) -> Result<Option<String>, Problem> {
    let found: Result<_, Fault> = text.map_or(Ok(None), |text| text.of(line));
    crate::reject::optional(field, found).map(|text| text.map(std::borrow::Cow::into_owned))
}

/// The text of a field that must be there.
pub fn needed_text(field: &'static str, text: &Text, line: Line) -> Result<String, Problem> {
    crate::reject::required(field, text.of(line)).map(std::borrow::Cow::into_owned)
}

/// The text of an optional field on one line: whatever breaks lines, and other control characters, become blanks.
pub fn one_line(field: &'static str, text: Option<&Text>, line: Line) -> Result<Option<String>, Problem> {
    let found = self::text(field, text, line)?;
    Ok(found.map(|text| {
        if !text.contains(char::is_control) {
            return text;
        }
        let words: Vec<_> = text.split(char::is_control).map(str::trim).filter(|part| !part.is_empty()).collect();
        words.join(" ")
    }))
}

/// A field whose values are words, and what each means: `page_view` for `INTERACTION_KIND_PAGE_VIEW`.
#[derive(Clone, Debug)]
pub struct Word {
    text: Text,
    prefix: &'static str,
    number: fn(&str) -> Option<i32>,
}

impl Word {
    /// Reads the word of a key, and checks what it can be as far as the mapping says. `None`: the key is not there.
    pub fn read(
        keys: &mut Keys,
        key: &'static str,
        context: &mut Context,
        prefix: &'static str,
        number: fn(&str) -> Option<i32>,
    ) -> Result<Option<Self>, ImportError> {
        let Some(text) = Text::read(keys, key, context)? else { return Ok(None) };
        let word = Self { text, prefix, number };
        for possible in word.text.possible().unwrap_or_default() {
            if word.number_of(possible).is_none() {
                return Err(keys.fault(key, format!("can be `{possible}`, which the contract does not know")));
            }
        }
        Ok(Some(word))
    }

    fn number_of(&self, word: &str) -> Option<i32> {
        let name = format!("{}{}", self.prefix, word.to_uppercase().replace(['-', ' '], "_"));
        // 0 is UNSPECIFIED, which is nothing to say.
        (self.number)(&name).filter(|number| *number != 0)
    }

    /// The number of a line's word. `None`: there is none.
    pub fn of(&self, field: &'static str, line: Line) -> Result<Option<i32>, Problem> {
        let found = text(field, Some(&self.text), line)?;
        let unknown = Problem::new(field, "is no word that the contract knows: give a `map`");
        found.map(|word| self.number_of(&word).ok_or(unknown)).transpose()
    }
}
