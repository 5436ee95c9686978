//! Label sets that were found and not written: each customer has the label of the nearest cluster.
//!
//! Who is nearest to what is kept, unlike what rules say: it takes about a microsecond for each customer and cluster set to find out, and everybody
//! is asked about whenever somebody counts. It depends on the features alone, so that it holds whatever becomes of what the definition refers to.

use super::Population;
use crate::cancellation::Cancellation;
use crate::clusters::{Assignment, Choice, MAX_FEATURES, Model};
use crate::engine::{Bitmap, Customers};
use crate::labels::{Label, LabelSet};
use parking_lot::Mutex;
use quintile_domain::time::Instant;
use quintile_expr::{DECIMALS, Field, Now, Row, Rule, Schema, Type, ValueRef};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::thread;

/// The label of who is not clustered.
pub const REST: &str = "not-clustered";
/// Days that nearest clusters are kept for: at midnight those before and those after are asked for.
const KEPT_DAYS: usize = 2;
/// More threads would wait for memory.
const MAX_THREADS: usize = 8;
const BITS: u32 = u64::BITS;

/// Clusters as a definition has them.
#[derive(Clone, Debug, PartialEq)]
pub struct Clustering {
    /// The rule for who is clustered, in its author's words. Empty: everybody is.
    pub within: String,
    /// What was found. Its features are named as rules call the fields.
    pub model: Model,
    /// A label for each cluster in the order of the model, without a rule, and one for everybody else.
    pub labels: LabelSet,
    /// What was tried to find out how many. `None`: it was said how many.
    pub choice: Option<Choice>,
    /// Customers who were looked at.
    pub customers: u64,
    /// The business time when they were.
    pub fitted_at: Instant,
    /// What randomness followed from.
    pub seed: u64,
}

/// The labels of clusters: of each its number and title.
pub fn labels(titles: impl Iterator<Item = (u32, String)>) -> LabelSet {
    let label = |(number, title)| Label { id: format!("cluster-{number}"), title, ..Label::default() };
    let rest = Label { id: REST.to_owned(), title: "Not clustered".to_owned(), ..Label::default() };
    LabelSet { labels: titles.map(label).collect(), rest, overlaps_allowed: false }
}

/// A feature as it is read of a customer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measure {
    /// The field.
    pub field: u16,
    reading: Reading,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Reading {
    /// A number, divided by this.
    Number(f64),
    /// Local days since an instant.
    DaysSince,
}

impl Measure {
    /// How a field is measured. `None`: it is a text, and has no distances.
    pub fn of(field: &Field, minor_digits: u8) -> Option<Self> {
        let reading = match field.ty {
            Type::Int => Reading::Number(1.0),
            Type::Money => Reading::Number(10_f64.powi(minor_digits.into())),
            Type::Decimal => Reading::Number(10_f64.powi(DECIMALS.into())),
            Type::Instant => Reading::DaysSince,
            Type::Text | Type::Bool => return None,
        };
        Some(Self { field: field.id, reading })
    }

    /// The value of a customer; none where it is missing.
    pub fn value(&self, row: &dyn Row, now: &Now<'_>) -> Option<f64> {
        match (self.reading, row.value(self.field)?) {
            (Reading::Number(divisor), ValueRef::Int(number)) => Some(number as f64 / divisor),
            (Reading::DaysSince, ValueRef::Instant(at)) => Some(now.days_since(at) as f64),
            _ => None,
        }
    }
}

/// The features of a customer.
fn read<'v>(
    measures: &[Measure],
    row: &dyn Row,
    now: &Now<'_>,
    values: &'v mut [Option<f64>; MAX_FEATURES],
) -> &'v [Option<f64>] {
    for (value, measure) in values.iter_mut().zip(measures) {
        *value = measure.value(row, now);
    }
    values.get(..measures.len()).unwrap_or_default()
}

/// Tells of a customer the place of its cluster.
type PlaceOf<'a> = dyn Fn(&dyn Row) -> Option<usize> + Sync + 'a;

/// Everybody by the nearest cluster on a local day.
struct Nearest {
    day: i32,
    /// An instant of that day.
    at: i64,
    members: Arc<Vec<Bitmap>>,
}

/// Clusters that are live.
pub struct Clusters {
    clustering: Arc<Clustering>,
    /// None or one.
    within: Vec<Rule>,
    measures: Vec<Measure>,
    nearest: Mutex<Vec<Nearest>>,
}

impl fmt::Debug for Clusters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clusters")
            .field("within", &self.within)
            .field("measures", &self.measures)
            .finish_non_exhaustive()
    }
}

impl Clusters {
    /// Binds clusters to fields. `None`: the rule is none any longer, or a feature is no field that can be measured.
    pub fn bind(clustering: Arc<Clustering>, schema: &Schema) -> Option<Self> {
        let within = match clustering.within.as_str() {
            "" => Vec::new(),
            source => vec![Rule::parse(source, schema).ok()?],
        };
        let columns = &clustering.model.partition().preparation.columns;
        let measure = |name: &str| Measure::of(schema.field(name)?, schema.minor_digits());
        let measures = columns.iter().map(|column| measure(&column.feature.name)).collect::<Option<Vec<_>>>()?;
        Some(Self { clustering, within, measures, nearest: Mutex::default() })
    }

    /// What was found.
    pub fn clustering(&self) -> &Clustering {
        &self.clustering
    }

    /// The rule for who is clustered, where there is one.
    pub fn within(&self) -> &[Rule] {
        &self.within
    }

    /// The features, as they are read.
    pub fn measures(&self) -> &[Measure] {
        &self.measures
    }

    /// The fields of the features.
    pub fn fields(&self) -> impl Iterator<Item = u16> {
        self.measures.iter().map(|measure| measure.field)
    }

    /// Whether midnight moves customers.
    pub fn read_days(&self) -> bool {
        self.measures.iter().any(|measure| measure.reading == Reading::DaysSince)
    }

    /// The place of the cluster that is nearest to a customer.
    pub fn place(&self, row: &dyn Row, now: &Now<'_>) -> Option<usize> {
        let model = &self.clustering.model;
        let mut values = [None; MAX_FEATURES];
        // Numbers of fields are within what a model takes.
        let found: Assignment = model.assign(read(&self.measures, row, now, &mut values)).ok()?;
        model.partition().clusters.iter().position(|cluster| cluster.number == found.cluster)
    }

    /// Everybody by the nearest cluster, in the order of the clusters. Who is nearest by what is supposed is not kept, and is given up when it is
    /// cancelled: what comes back then means nothing.
    pub fn nearest(&self, customers: Customers<'_>, now: &Now<'_>, cancellation: &Cancellation) -> Arc<Vec<Bitmap>> {
        if self.fields().any(|field| customers.supposes(field)) {
            let place = |row: &dyn Row| if cancellation.is_cancelled() { None } else { self.place(row, now) };
            return Arc::new(self.find(customers, &place));
        }
        let day = if self.read_days() { now.today() } else { 0 };
        let mut kept = self.nearest.lock();
        if let Some(found) = kept.iter().find(|nearest| nearest.day == day) {
            return found.members.clone();
        }
        let members = Arc::new(self.find(customers, &|row| self.place(row, now)));
        kept.push(Nearest { day, at: now.micros(), members: members.clone() });
        if kept.len() > KEPT_DAYS {
            kept.sort_by_key(|nearest| nearest.day);
            kept.remove(0);
        }
        members
    }

    /// Everybody by what is told of each as the place of its cluster, in the order of the clusters.
    fn find(&self, customers: Customers<'_>, place: &PlaceOf<'_>) -> Vec<Bitmap> {
        let words = customers.present().words().len();
        let threads = thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
        let share = words.div_ceil(threads).max(1);
        let parts: Vec<Vec<Vec<u64>>> = thread::scope(|scope| {
            let ranges = (0..words).step_by(share).map(|first| first..(first + share).min(words));
            let working: Vec<_> =
                ranges.map(|range| scope.spawn(move || self.find_in(customers, place, range))).collect();
            let joined = working.into_iter().map(thread::ScopedJoinHandle::join);
            joined.map(|found| found.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
        });
        let clusters = self.clustering.model.partition().clusters.len();
        let of = |cluster: usize| parts.iter().filter_map(|part| part.get(cluster)).flatten().copied().collect();
        (0..clusters).map(|cluster| Bitmap::from_words(of(cluster))).collect()
    }

    /// The words of each cluster, of a range of words.
    fn find_in(&self, customers: Customers<'_>, place_of: &PlaceOf<'_>, range: Range<usize>) -> Vec<Vec<u64>> {
        let mut found = vec![vec![0_u64; range.len()]; self.clustering.model.partition().clusters.len()];
        let no_segments = |_: &str| None;
        let present = customers.present().words().iter().enumerate().take(range.end).skip(range.start);
        for (index, (word, present)) in present.enumerate() {
            let mut left = *present;
            while left != 0 {
                let customer = word as u32 * BITS + left.trailing_zeros();
                let row = customers.row(customer, &no_segments);
                if let Some(place) = row.and_then(|row| place_of(&row)) {
                    found[place][index] |= left & left.wrapping_neg();
                }
                left &= left - 1;
            }
        }
        found
    }

    /// Notes that a customer has come or changed.
    pub fn note(&self, customer: u32, row: &dyn Row, local_day: &(dyn Fn(i64) -> i32 + Sync)) {
        for nearest in self.nearest.lock().iter_mut() {
            let place = self.place(row, &Now::new(nearest.at, local_day));
            for (cluster, members) in Arc::make_mut(&mut nearest.members).iter_mut().enumerate() {
                if Some(cluster) == place {
                    members.set(customer)
                } else {
                    members.clear(customer)
                };
            }
        }
    }
}

impl Population {
    /// Goes through the features of some customers as of the population's instant, up to the first that is refused.
    pub fn rows<E>(
        &self,
        customers: impl IntoIterator<Item = u32>,
        measures: &[Measure],
        mut take: impl FnMut(&[Option<f64>]) -> Result<(), E>,
    ) -> Result<(), E> {
        let local_day = |micros: i64| self.zone.local_day(Instant::from_micros(micros));
        let now = Now::new(self.as_of.micros(), &local_day);
        let no_segments = |_: &str| None;
        let mut values = [None; MAX_FEATURES];
        for customer in customers {
            if let Some(row) = self.engine.row(customer, &no_segments) {
                take(read(measures, &row, &now, &mut values))?;
            }
        }
        Ok(())
    }
}
