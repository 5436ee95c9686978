//! Sorted facts into rows: lines with the same customer and event id become one order or refund, and customers that say the same
//! again are left out.

use crate::error::ImportError;
use crate::facts::Kind;
use crate::reject::Problem;
use crate::report::Facts;
use crate::sort::{Entry, Sorted};
use prost::Message;
use quintile_domain::money::Currency;
use quintile_proto::google_type::Money;
use quintile_proto::ingestion::{Order, OrderLine, Refund, Row, row};
use quintile_rpc::convert;

/// The most lines of an order that the contract allows.
const MAX_LINES: usize = 200;
/// Lines that are held before the smallest are put together.
const HELD_LINES: usize = 4_096;
/// The product of the line that the smallest lines of a long order become.
const OTHER: &str = "other";
/// The most bytes of a row: no field of a contract is as long.
const MAX_ROW_BYTES: usize = 1024 * 1024;

/// Where a row came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The table of the mapping, from 0.
    pub table: u16,
    /// The line of its file, from 1; of a fact of several lines, the first.
    pub line: u64,
}

impl Place {
    /// The place as bytes that sort as places do.
    pub fn to_bytes(self) -> [u8; 10] {
        let mut bytes = [0; 10];
        bytes[..2].copy_from_slice(&self.table.to_be_bytes());
        bytes[2..].copy_from_slice(&self.line.to_be_bytes());
        bytes
    }

    /// The place of such bytes.
    pub fn from_bytes(bytes: [u8; 10]) -> Self {
        let [first, second, line @ ..] = bytes;
        Self { table: u16::from_be_bytes([first, second]), line: u64::from_be_bytes(line) }
    }
}

/// What makes the key of a fact: facts of a customer are together, by kind, and those to combine are neighbours.
pub struct FactKey<'a> {
    /// The source of the identity. Empty: the fact is about no customer.
    pub source: &'a str,
    /// The customer's id there.
    pub customer: &'a str,
    /// The fact's kind.
    pub kind: Kind,
    /// The event id by which facts are combined. `None`: this one is not.
    pub combined_by: Option<&'a str>,
    /// Where it came from.
    pub place: Place,
    /// Which of the table's facts it is.
    pub fact: u16,
}

/// Whom a fact is about that is about no customer.
const NOBODY: &[u8] = &[0, 0];
/// Bytes at the end of a key that tell lines apart.
const PLACE_BYTES: usize = 12;

impl FactKey<'_> {
    /// Writes the key. No text in it holds a NUL.
    pub fn write(&self, key: &mut Vec<u8>) {
        key.clear();
        for text in [self.source, self.customer] {
            key.extend_from_slice(text.as_bytes());
            key.push(0);
        }
        // Never 0, which ends an event id.
        key.push(self.kind as u8 + 1);
        if let Some(event_id) = self.combined_by {
            key.extend_from_slice(event_id.as_bytes());
            key.push(0);
        }
        key.extend_from_slice(&self.place.to_bytes());
        key.extend_from_slice(&self.fact.to_be_bytes());
    }
}

/// The part of a key that facts to combine share, and the place.
fn split(key: &[u8]) -> Option<(&[u8], Place)> {
    let (shared, place) = key.split_at_checked(key.len().checked_sub(PLACE_BYTES)?)?;
    Some((shared, Place::from_bytes(*place.first_chunk()?)))
}

/// The part of a key that says whom it is about.
fn customer(key: &[u8]) -> Option<&[u8]> {
    let source = key.iter().position(|byte| *byte == 0)? + 1;
    let id = key.get(source..)?.iter().position(|byte| *byte == 0)? + 1;
    key.get(..source + id)
}

/// What comes of sorted facts: a row, or why their lines are none together.
pub type Combined = Result<Row, Problem>;

/// Rows in the order in which they are sent.
pub struct Rows {
    sorted: Sorted,
    next: Option<Entry>,
    last_customer: Option<Vec<u8>>,
    about: Vec<u8>,
    begins_customer: bool,
    facts: Facts,
    done: u64,
}

impl Rows {
    /// Rows of sorted facts.
    pub fn new(sorted: Sorted) -> Self {
        Self {
            sorted,
            next: None,
            last_customer: None,
            about: Vec::new(),
            begins_customer: true,
            facts: Facts::default(),
            done: 0,
        }
    }

    /// Whether the row that was given last is about another customer than the one before it, or about none.
    pub const fn begins_customer(&self) -> bool {
        self.begins_customer
    }

    /// What the rows that have gone by amount to.
    pub fn into_facts(self) -> Facts {
        self.facts
    }

    /// How many of the sorted facts are done, and how many there are.
    pub const fn progress(&self) -> (u64, u64) {
        (self.done, self.sorted.count_at_first())
    }

    fn take(&mut self) -> Result<Option<Entry>, ImportError> {
        match self.next.take() {
            Some(entry) => Ok(Some(entry)),
            None => self.sorted.next().transpose(),
        }
    }

    fn advance(&mut self) -> Result<Option<(Place, Combined)>, ImportError> {
        loop {
            let Some(first) = self.take()? else { return Ok(None) };
            self.done += 1;
            let (shared, place) = split(&first.key).ok_or(ImportError::Damaged)?;
            let row = decode(&first.value)?;
            let about = customer(shared).ok_or(ImportError::Damaged)?;
            self.begins_customer = about != self.about || about == NOBODY;
            if self.begins_customer {
                about.clone_into(&mut self.about);
            }
            match row.fact {
                Some(row::Fact::Customer(_)) => {
                    if self.last_customer.as_ref() == Some(&first.value) {
                        self.facts.repeated_customers += 1;
                        continue;
                    }
                    self.last_customer = Some(first.value);
                    return Ok(Some((place, self.whole(Ok(row)))));
                }
                Some(row::Fact::Order(order)) => {
                    let mut whole = WholeOrder::new(order);
                    while let Some(next) = self.next_of(shared)? {
                        if let Some(row::Fact::Order(order)) = next.fact {
                            whole.add(order);
                        }
                    }
                    self.facts.orders_of_several_instants += u64::from(whole.instants_differ);
                    let row = whole.finish().map(|order| Row { fact: Some(row::Fact::Order(order)) });
                    return Ok(Some((place, self.whole(row))));
                }
                Some(row::Fact::Refund(mut refund)) => {
                    let (mut fault, mut differ) = (None, false);
                    while let Some(next) = self.next_of(shared)? {
                        if let Some(row::Fact::Refund(part)) = next.fact {
                            differ |= part.refund_time != refund.refund_time;
                            fault = fault.or(add_refund(&mut refund, part).err());
                        }
                    }
                    self.facts.refunds_of_several_instants += u64::from(differ);
                    let row = fault.map_or(Ok(Row { fact: Some(row::Fact::Refund(refund)) }), Err);
                    return Ok(Some((place, self.whole(row))));
                }
                _ => return Ok(Some((place, self.whole(Ok(row))))),
            }
        }
    }

    /// The next fact, if it is to be combined with those before it.
    fn next_of(&mut self, shared: &[u8]) -> Result<Option<Row>, ImportError> {
        let Some(next) = self.take()? else { return Ok(None) };
        // A fact that is not combined has nothing behind its kind, and one that is has its event id.
        let is_combined = shared.last() == Some(&0);
        let (next_shared, _) = split(&next.key).ok_or(ImportError::Damaged)?;
        if is_combined && next_shared == shared {
            self.done += 1;
            return decode(&next.value).map(Some);
        }
        self.next = Some(next);
        Ok(None)
    }

    fn whole(&mut self, row: Combined) -> Combined {
        match row {
            Ok(row) if row.encoded_len() > MAX_ROW_BYTES => Err(Problem::new("fact", "has more than 1 MiB")),
            Ok(row) => {
                self.facts.count(&row);
                Ok(row)
            }
            Err(problem) => Err(problem),
        }
    }
}

impl Iterator for Rows {
    type Item = Result<(Place, Combined), ImportError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().transpose()
    }
}

fn decode(bytes: &[u8]) -> Result<Row, ImportError> {
    Row::decode(bytes).map_err(|_| ImportError::Damaged)
}

/// An order that is put together from several lines.
struct WholeOrder {
    order: Order,
    /// Whether a line gave the order's amount or a part of it.
    has_amount: bool,
    other: Option<OrderLine>,
    instants_differ: bool,
    fault: Option<Problem>,
}

impl WholeOrder {
    fn new(order: Order) -> Self {
        let has_amount = order.amount.is_some();
        Self { order, has_amount, other: None, instants_differ: false, fault: None }
    }

    fn add(&mut self, part: Order) {
        self.instants_differ |= part.order_time != self.order.order_time;
        let instant = |order: &Order| order.order_time.as_ref().map(|time| (time.seconds, time.nanos));
        if instant(&part) < instant(&self.order) {
            self.order.order_time = part.order_time;
        }
        if self.order.channel.is_empty() {
            self.order.channel = part.channel;
        }
        self.has_amount |= part.amount.is_some();
        let mut sum = |field, whole: &mut Option<Money>, part| {
            if let Err(message) = add_money(whole, part) {
                self.fault = self.fault.or(Some(Problem::new(field, message)));
            }
        };
        sum("order.amount", &mut self.order.amount, part.amount);
        sum("order.profit", &mut self.order.profit, part.profit);
        self.order.lines.extend(part.lines);
        if self.order.lines.len() > HELD_LINES {
            self.shorten();
        }
    }

    fn finish(mut self) -> Result<Order, Problem> {
        if let Some(problem) = self.fault {
            return Err(problem);
        }
        if !self.has_amount {
            let amounts = self.order.lines.iter().chain(&self.other).map(|line| line.amount.clone());
            let amounts: Option<Vec<_>> = amounts.collect();
            let amounts = amounts.filter(|amounts| !amounts.is_empty());
            for amount in amounts.ok_or(Problem::new("order.amount", "is missing"))? {
                let added = add_money(&mut self.order.amount, Some(amount));
                added.map_err(|message| Problem::new("order.amount", message))?;
            }
        }
        if self.order.lines.len() > MAX_LINES {
            self.shorten();
        }
        if let Some(problem) = self.fault {
            return Err(problem);
        }
        self.order.lines.extend(self.other);
        Ok(self.order)
    }

    /// Keeps the largest lines and puts the others together. It does not matter when, nor how often.
    fn shorten(&mut self) {
        let mut by_size: Vec<usize> = (0..self.order.lines.len()).collect();
        by_size.sort_by_key(|index| (std::cmp::Reverse(minor(self.order.lines[*index].amount.as_ref())), *index));
        let small: std::collections::HashSet<usize> = by_size.into_iter().skip(MAX_LINES - 1).collect();
        for (index, line) in std::mem::take(&mut self.order.lines).into_iter().enumerate() {
            if !small.contains(&index) {
                self.order.lines.push(line);
                continue;
            }
            let Some(other) = &mut self.other else {
                self.other = Some(OrderLine { product: OTHER.to_owned(), category: String::new(), ..line });
                continue;
            };
            other.quantity = other.quantity.saturating_add(line.quantity);
            // What is known of some lines alone is not known of all of them.
            for (whole, part) in [(&mut other.amount, line.amount), (&mut other.cost, line.cost)] {
                match (whole.is_some(), part) {
                    (true, Some(part)) => {
                        if let Err(message) = add_money(whole, Some(part)) {
                            self.fault = self.fault.or(Some(Problem::new("order.line.amount", message)));
                        }
                    }
                    _ => *whole = None,
                }
            }
        }
    }
}

fn add_refund(refund: &mut Refund, part: Refund) -> Result<(), Problem> {
    let instant = |refund: &Refund| refund.refund_time.as_ref().map(|time| (time.seconds, time.nanos));
    if instant(&part) < instant(refund) {
        refund.refund_time = part.refund_time;
    }
    if refund.order_event_id.is_empty() {
        refund.order_event_id = part.order_event_id;
    }
    add_money(&mut refund.amount, part.amount).map_err(|message| Problem::new("refund.amount", message))
}

/// Adds an amount to another of the same currency.
fn add_money(whole: &mut Option<Money>, part: Option<Money>) -> Result<(), &'static str> {
    let Some(part) = part else { return Ok(()) };
    let Some(sum) = whole else {
        *whole = Some(part);
        return Ok(());
    };
    if sum.currency_code != part.currency_code {
        return Err("is in another currency than other lines of the same fact");
    }
    let currency = Currency::from_code(&sum.currency_code).map_err(|_| "has no currency")?;
    let total = minor(Some(sum)).checked_add(minor(Some(&part))).ok_or("is too large")?;
    *sum = convert::money(currency, total);
    Ok(())
}

/// Minor units; of no amount, or of none that a mapping makes, 0.
fn minor(money: Option<&Money>) -> i64 {
    let minor = |money: &Money| {
        let currency = Currency::from_code(&money.currency_code).ok()?;
        currency.minor_from_parts(money.units, money.nanos).ok()
    };
    money.and_then(minor).unwrap_or_default()
}

#[cfg(test)]
mod tests;
