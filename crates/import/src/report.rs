//! What a file is like: counts, ranges and totals. No value of a field that identifies a person is in it.

use crate::combine::Place;
use crate::facts::Kind;
use crate::reject::{NO_CUSTOMER, Problem};
use quintile_domain::money::Currency;
use quintile_domain::time::Instant;
use quintile_proto::google_type::{Date, Money};
use quintile_proto::ingestion::{Row, SourceIdentity, row};
use quintile_rpc::convert;
use serde::Serialize;
use std::collections::BTreeMap;

/// Rejected lines that are shown of a table; the others are counted.
const SHOWN_REJECTS: usize = 10;

/// What the files are like, and what comes of them.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// The files, in the order of the mapping's tables.
    pub tables: Vec<TableReport>,
    /// Event ids of orders or refunds that lines of several customers have; each customer gets a fact of its own.
    pub ids_of_several_customers: u64,
    /// The facts.
    pub facts: Facts,
}

/// What a file is like.
#[derive(Debug, Default, Serialize)]
pub struct TableReport {
    /// The file's name.
    pub file: String,
    /// Its lines, without the header.
    pub lines: u64,
    /// Lines that are the same as another one to the last byte. `None`: not counted.
    pub repeated_lines: Option<u64>,
    /// Lines without a value, by column.
    pub nulls: Vec<(String, u64)>,
    /// Lines that a filter of the mapping left out, by its name.
    pub skipped: Vec<(String, u64)>,
    /// Lines that no fact of the mapping is for.
    pub unused: u64,
    /// Lines from which facts come, by kind.
    pub used: BTreeMap<&'static str, u64>,
    /// Lines that were rejected.
    pub rejected: u64,
    /// Those of them that name no customer.
    pub without_customer: u64,
    /// The reasons of the rejects.
    pub reasons: Vec<Reason>,
    /// The first of the rejects but those without a customer.
    pub first_rejects: Vec<RejectedLine>,
    /// The least and the greatest value of numbers, instants, dates and amounts, by field.
    pub ranges: BTreeMap<String, Range>,
}

/// Why lines were rejected.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// The field at fault, as a path.
    pub field: &'static str,
    /// What is wrong.
    pub message: &'static str,
    /// How many lines.
    pub lines: u64,
}

/// A line that was rejected.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct RejectedLine {
    /// Its number, from 1.
    pub line: u64,
    /// The field at fault, as a path.
    pub field: &'static str,
    /// What is wrong.
    pub message: &'static str,
}

/// The least and the greatest value, as text.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Range {
    /// The least.
    pub min: String,
    /// The greatest.
    pub max: String,
}

/// The facts that come of the files, by kind.
#[derive(Debug, Default, Serialize)]
pub struct Facts {
    /// Counts by kind.
    pub kinds: BTreeMap<&'static str, KindCount>,
    /// Amounts by kind and currency.
    pub totals: BTreeMap<&'static str, BTreeMap<String, Total>>,
    /// Orders whose lines say several instants; the earliest is the order's.
    pub orders_of_several_instants: u64,
    /// Refunds whose lines say several instants; the earliest is the refund's.
    pub refunds_of_several_instants: u64,
    /// Customers that were left out, since they said the same as the one before.
    pub repeated_customers: u64,
    #[serde(skip)]
    last: BTreeMap<&'static str, SourceIdentity>,
}

/// How many facts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct KindCount {
    /// Facts of the kind.
    pub facts: u64,
    /// Customers who have one.
    pub customers: u64,
}

/// An amount of money that may be larger than any one fact's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Total {
    /// In minor units.
    pub minor: i128,
    /// Decimals of one unit.
    pub minor_digits: u32,
}

impl std::fmt::Display for Total {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let per_unit = 10_u128.pow(self.minor_digits);
        let (units, minor) = (self.minor.unsigned_abs() / per_unit, self.minor.unsigned_abs() % per_unit);
        let sign = if self.minor < 0 { "-" } else { "" };
        match self.minor_digits {
            0 => write!(f, "{sign}{units}"),
            digits => write!(f, "{sign}{units}.{minor:0width$}", width = digits as usize),
        }
    }
}

impl Serialize for Total {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Facts {
    /// Counts a row. Rows come sorted by customer.
    pub(crate) fn count(&mut self, row: &Row) {
        let (Some(kind), Some(fact)) = (Kind::of(row), &row.fact) else { return };
        let count = self.kinds.entry(kind.key()).or_default();
        count.facts += 1;
        if let Some(customer) = customer_of(fact)
            && self.last.get(kind.key()) != Some(customer)
        {
            count.customers += 1;
            self.last.insert(kind.key(), customer.clone());
        }
        let amount = match fact {
            row::Fact::Order(order) => order.amount.as_ref(),
            row::Fact::Refund(refund) => refund.amount.as_ref(),
            row::Fact::AcquisitionSpend(spend) => spend.amount.as_ref(),
            _ => None,
        };
        if let Some((minor, currency)) = amount.and_then(minor) {
            let of_kind = self.totals.entry(kind.key()).or_default();
            if !of_kind.contains_key(currency.code()) {
                of_kind.insert(currency.code().to_owned(), Total { minor: 0, minor_digits: currency.minor_digits() });
            }
            if let Some(total) = of_kind.get_mut(currency.code()) {
                total.minor += i128::from(minor);
            }
        }
    }
}

fn customer_of(fact: &row::Fact) -> Option<&SourceIdentity> {
    match fact {
        row::Fact::Customer(customer) => customer.identities.first(),
        row::Fact::Order(order) => order.customer.as_ref(),
        row::Fact::Refund(refund) => refund.customer.as_ref(),
        row::Fact::Interaction(interaction) => interaction.customer.as_ref(),
        row::Fact::Feedback(feedback) => feedback.customer.as_ref(),
        row::Fact::AcquisitionSpend(_) | row::Fact::ExchangeRate(_) => None,
    }
}

fn minor(money: &Money) -> Option<(i64, Currency)> {
    let currency = Currency::from_code(&money.currency_code).ok()?;
    currency.minor_from_parts(money.units, money.nanos).ok().map(|minor| (minor, currency))
}

/// Counts what a file is like, line by line.
#[derive(Default)]
pub(crate) struct Observing {
    pub report: TableReport,
    nulls: Vec<u64>,
    skipped: Vec<u64>,
    reasons: BTreeMap<Problem, u64>,
    numbers: BTreeMap<&'static str, (i64, i64)>,
    instants: BTreeMap<&'static str, (Instant, Instant)>,
    dates: BTreeMap<&'static str, [(i32, i32, i32); 2]>,
    /// By field and currency.
    amounts: BTreeMap<(&'static str, &'static str), (i64, i64)>,
}

impl Observing {
    pub fn new(file: String, columns: usize, skips: usize) -> Self {
        let report = TableReport { file, ..TableReport::default() };
        Self { report, nulls: vec![0; columns], skipped: vec![0; skips], ..Self::default() }
    }

    pub fn null(&mut self, column: usize) {
        self.nulls[column] += 1;
    }

    pub fn skipped(&mut self, skip: usize) {
        self.skipped[skip] += 1;
    }

    pub fn rejected(&mut self, place: Place, problem: Problem) {
        self.report.rejected += 1;
        *self.reasons.entry(problem).or_default() += 1;
        if problem.message == NO_CUSTOMER {
            self.report.without_customer += 1;
        } else if self.report.first_rejects.len() < SHOWN_REJECTS {
            let Problem { field, message } = problem;
            self.report.first_rejects.push(RejectedLine { line: place.line, field, message });
        }
    }

    pub fn used(&mut self, row: &Row) {
        let (Some(kind), Some(fact)) = (Kind::of(row), &row.fact) else { return };
        *self.report.used.entry(kind.key()).or_default() += 1;
        match fact {
            row::Fact::Order(order) => {
                self.instant("order.order_time", order.order_time.as_ref());
                self.amount("order.amount", order.amount.as_ref());
                self.amount("order.profit", order.profit.as_ref());
                for line in &order.lines {
                    self.number("order.line.quantity", line.quantity);
                    self.amount("order.line.amount", line.amount.as_ref());
                    self.amount("order.line.cost", line.cost.as_ref());
                }
            }
            row::Fact::Refund(refund) => {
                self.instant("refund.refund_time", refund.refund_time.as_ref());
                self.amount("refund.amount", refund.amount.as_ref());
            }
            row::Fact::Interaction(interaction) => {
                self.instant("interaction.interaction_time", interaction.interaction_time.as_ref());
            }
            row::Fact::Feedback(feedback) => {
                self.instant("feedback.feedback_time", feedback.feedback_time.as_ref());
                if let Some(score) = feedback.score {
                    self.number("feedback.score", score.into());
                }
            }
            row::Fact::AcquisitionSpend(spend) => {
                self.date("acquisition_spend.start_date", spend.start_date.as_ref());
                self.date("acquisition_spend.end_date", spend.end_date.as_ref());
                self.amount("acquisition_spend.amount", spend.amount.as_ref());
            }
            row::Fact::ExchangeRate(rate) => self.date("exchange_rate.date", rate.date.as_ref()),
            // Whatever a customer has is about a person.
            row::Fact::Customer(_) => {}
        }
    }

    fn number(&mut self, field: &'static str, number: i64) {
        let range = self.numbers.entry(field).or_insert((number, number));
        *range = (range.0.min(number), range.1.max(number));
    }

    fn instant(&mut self, field: &'static str, time: Option<&prost_types::Timestamp>) {
        let Some(instant) = convert::sent_instant(time) else { return };
        let range = self.instants.entry(field).or_insert((instant, instant));
        *range = (range.0.min(instant), range.1.max(instant));
    }

    fn date(&mut self, field: &'static str, date: Option<&Date>) {
        let Some(date) = date.map(|date| (date.year, date.month, date.day)) else { return };
        let range = self.dates.entry(field).or_insert([date, date]);
        *range = [range[0].min(date), range[1].max(date)];
    }

    fn amount(&mut self, field: &'static str, amount: Option<&Money>) {
        let Some((amount, currency)) = amount.and_then(minor) else { return };
        let range = self.amounts.entry((field, currency.code())).or_insert((amount, amount));
        *range = (range.0.min(amount), range.1.max(amount));
    }

    /// The report, with the names of columns and filters.
    pub fn finish<'a>(
        self,
        columns: impl Iterator<Item = &'a String>,
        skips: impl Iterator<Item = &'a String>,
    ) -> TableReport {
        let mut report = self.report;
        report.nulls = columns.cloned().zip(self.nulls).collect();
        report.skipped = skips.cloned().zip(self.skipped).collect();
        let reason =
            |(problem, lines): (Problem, u64)| Reason { field: problem.field, message: problem.message, lines };
        report.reasons = self.reasons.into_iter().map(reason).collect();
        report.reasons.sort_by_key(|reason| std::cmp::Reverse(reason.lines));
        let mut range = |field: String, min: String, max: String| report.ranges.insert(field, Range { min, max });
        for (field, (min, max)) in self.numbers {
            range(field.to_owned(), min.to_string(), max.to_string());
        }
        for (field, (min, max)) in self.instants {
            range(field.to_owned(), min.to_string(), max.to_string());
        }
        for (field, days) in self.dates {
            let [min, max] = days.map(|(year, month, day)| format!("{year:04}-{month:02}-{day:02}"));
            range(field.to_owned(), min, max);
        }
        for ((field, code), (min, max)) in self.amounts {
            let minor_digits = Currency::from_code(code).map_or(0, Currency::minor_digits);
            let [min, max] = [min, max].map(|minor| Total { minor: minor.into(), minor_digits }.to_string());
            range(format!("{field} {code}"), min, max);
        }
        report
    }
}
