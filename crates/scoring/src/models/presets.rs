//! Definitions to begin from.

use super::cut_offs::{CutOffs, Direction, Method, TieRule};
use super::feature::Feature;
use super::grade::Grading;
use super::{Definition, Dimension, GRADE, RFM, RFM_BINS, RFM_DIMENSIONS, Scale};

/// The model whose composite is loyalty.
const LOYALTY: &str = "loyalty";
/// The preset that every tenant starts with.
pub const RETAIL: &str = "retail";
/// No currency of ISO 4217 has more than 4; up to here the greatest cut-off of a preset fits its type.
const MAX_MINOR_DIGITS: u32 = 12;

/// A preset.
pub struct Preset {
    /// Its id.
    pub id: &'static str,
    /// The model that it is meant for.
    pub model: &'static str,
    /// What it defines, for a currency with so many decimals.
    pub definition: fn(u32) -> Definition,
}

/// All presets, by id.
pub const PRESETS: [Preset; 6] = [
    Preset { id: "loyalty", model: LOYALTY, definition: loyalty },
    Preset { id: "luxury", model: RFM, definition: luxury },
    Preset { id: "published-example", model: RFM, definition: published_example },
    Preset { id: RETAIL, model: RFM, definition: retail },
    Preset { id: "subscription", model: RFM, definition: subscription },
    Preset { id: "value-grade", model: GRADE, definition: value_grade },
];

/// At most 30, 90, 180 and 365 days; 2, 3, 5 and 10 orders; 50, 100, 200 and 500 major units of a currency with `minor_digits` decimals (2 for
/// USD, 0 for JPY; more than 12 count as 12).
pub fn retail(minor_digits: u32) -> Definition {
    let description = "Recency, frequency and monetary value for a retailer whose customers buy several times a year";
    rfm(description, [30, 90, 180, 365], [2, 3, 5, 10], [50, 100, 200, 500], minor_digits)
}

/// Customers are charged about once a month: at most one, two, three and six months of 31 days.
fn subscription(minor_digits: u32) -> Definition {
    let description = "Recency, frequency and monetary value where customers are charged about once a month";
    rfm(description, [31, 62, 93, 186], [2, 6, 12, 24], [25, 100, 250, 500], minor_digits)
}

/// Customers buy rarely and much: at most half a year, one, two and three years.
fn luxury(minor_digits: u32) -> Definition {
    let description = "Recency, frequency and monetary value where customers buy rarely and much";
    rfm(description, [183, 365, 730, 1_095], [2, 3, 4, 6], [1_000, 5_000, 20_000, 60_000], minor_digits)
}

/// The published example in which a customer whose last purchase was over three months ago, with 5 purchases and more than 60,000 spent, scores
/// (1, 4, 4).
fn published_example(minor_digits: u32) -> Definition {
    let description = "The published example: over three months ago, 5 purchases and more than 60,000 make (1, 4, 4)";
    rfm(description, [7, 30, 60, 90], [2, 3, 5, 10], [5_000, 20_000, 60_000, 100_000], minor_digits)
}

fn rfm(description: &str, days: [i64; 4], orders: [i64; 4], major: [i64; 4], minor_digits: u32) -> Definition {
    let minor_per_major = 10_i64.pow(minor_digits.min(MAX_MINOR_DIGITS));
    let minor = major.map(|major| major * minor_per_major);
    let parts = [
        ("days_since(last_order_at)", Direction::Lower, days),
        ("orders", Direction::Higher, orders),
        ("revenue", Direction::Higher, minor),
    ];
    let dimensions = RFM_DIMENSIONS.iter().zip(parts).map(|(name, (feature, direction, edges))| {
        dimension(name, feature, Scale::Numbers(CutOffs::fixed(direction, &edges)), 0)
    });
    Definition { description: description.to_owned(), dimensions: dimensions.collect(), grading: None }
}

/// Frequency, amount, average order value, profit and satisfaction, each in quintiles of the tenant's own customers.
fn value_grade(_minor_digits: u32) -> Definition {
    let parts = [
        ("frequency", "orders_365", 30),
        ("amount", "revenue_365", 30),
        ("average-order-value", "average_order_value", 15),
        ("profit", "profit", 15),
        ("satisfaction", "csat_mean", 10),
    ];
    let dimensions = parts.map(|(name, feature, weight)| {
        let quintiles = CutOffs {
            method: Method::Quantile(TieRule::Value),
            direction: Direction::Higher,
            bins: RFM_BINS,
            edges: Vec::new(),
        };
        dimension(name, feature, Scale::Numbers(quintiles), weight)
    });
    Definition {
        description:
            "A grade by frequency, amount, order value, profit and satisfaction, in quintiles of all customers"
                .to_owned(),
        dimensions: dimensions.to_vec(),
        grading: Some(Grading::default()),
    }
}

/// Repurchase, frequency, satisfaction, willingness to recommend and referral, as the literature on loyalty measures it.
fn loyalty(_minor_digits: u32) -> Definition {
    let parts: [(&str, &str, [i64; 4], u32); 5] = [
        ("repurchase", "purchase_days", [2, 3, 5, 8], 30),
        ("frequency", "orders_365", [1, 2, 4, 8], 30),
        // Mean satisfaction in thousandths of 1 to 5, and the promoters of NPS from 9 on.
        ("satisfaction", "csat_mean", [2_000, 3_000, 4_000, 4_500], 20),
        ("recommendation", "last_nps", [3, 5, 7, 9], 20),
        // A fourth of the whole for each referral, up to four.
        ("referral", "referrals", [1, 2, 3, 4], 20),
    ];
    let dimensions = parts.map(|(name, feature, edges, weight)| {
        dimension(name, feature, Scale::Numbers(CutOffs::fixed(Direction::Higher, &edges)), weight)
    });
    Definition {
        description: "Loyalty of 0 to 100: repurchase, frequency, satisfaction, recommendation and referral".to_owned(),
        dimensions: dimensions.to_vec(),
        grading: Some(Grading::default()),
    }
}

fn dimension(name: &str, feature: &str, scale: Scale, weight: u32) -> Dimension {
    // The names in this file are those of built-in features, or a test fails; a trait of nobody would score nobody.
    let feature = Feature::from_name(feature).unwrap_or_else(|_| Feature::Trait(String::new()));
    Dimension { name: name.to_owned(), feature, scale, missing: 0, weight }
}
