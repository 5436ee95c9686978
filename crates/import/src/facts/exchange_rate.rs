//! Exchange rates.

use super::{needed, needed_text};
use crate::error::ImportError;
use crate::mapping::columns::Line;
use crate::mapping::keys::Keys;
use crate::mapping::value::{Context, Number, Text, Time};
use crate::reject::{Problem, required};
use quintile_proto::ingestion::ExchangeRate;

/// Where the fields of a rate come from.
#[derive(Clone, Debug)]
pub struct Fields {
    currency_code: Text,
    date: Time,
    rate: Number,
}

impl Fields {
    /// Reads them.
    pub fn read(keys: &mut Keys, context: &mut Context) -> Result<Self, ImportError> {
        let currency_code = Text::read(keys, "currency_code", context)?;
        let (date, rate) = (Time::read(keys, "date", context)?, Number::read(keys, "rate", context)?);
        Ok(Self {
            currency_code: needed(keys, "currency_code", currency_code)?,
            date: needed(keys, "date", date)?,
            rate: needed(keys, "rate", rate)?,
        })
    }

    /// The rate of a line.
    pub fn row(&self, line: Line) -> Result<ExchangeRate, Problem> {
        Ok(ExchangeRate {
            currency_code: needed_text("exchange_rate.currency_code", &self.currency_code, line)?,
            date: Some(required("exchange_rate.date", self.date.date_of(line))?),
            rate: required("exchange_rate.rate", self.rate.of(line))?.normalize().to_string(),
        })
    }
}
