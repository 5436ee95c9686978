//! The column engine and the row evaluator agree on every row, whatever the rows, the changes and the rule.

use super::{Bitmap, Customer, Engine};
use crate::cancellation::Cancellation;
use crate::fields::schema_with;
use crate::own_fields::FIRST_ID;
use proptest::prelude::*;
use quintile_domain::time::{Instant, TimeZone};
use quintile_expr::{Field, Now, Rule, Schema, Type, ValueRef};
use std::collections::BTreeMap;

const DAY_MICROS: i64 = 86_400_000_000;
/// 2006-11-08T12:00:00Z, ten days after St John's set its clock back past midnight.
pub(crate) const NOW_MICROS: i64 = 1_162_987_200_000_000;

/// Few values, so that rows tie with each other and with constants. The empty one is a missing one.
const TEXTS: [&str; 12] = ["", "a", "A", "ab", "é", "e\u{301}", "重要价值", "重要", "online", "🛒", "zz", "\u{10ffff}"];
const NUMBERS: [i64; 12] = [i64::MIN, i64::MIN + 1, -100, -1, 0, 1, 2, 5, 99, 100, i64::MAX - 1, i64::MAX];
const TEXT_FIELDS: [&str; 11] = [
    "trait.text",
    "label",
    "stage",
    "kind",
    "owner",
    "region",
    "department",
    "language",
    "acquisition_channel",
    "channel",
    "top_category",
];
const INT_FIELDS: [&str; 20] = [
    "trait.number",
    "rfm.r",
    "rfm.f",
    "rfm.m",
    "orders",
    "purchase_days",
    "orders_30",
    "orders_90",
    "orders_365",
    "previous_orders_90",
    "interactions",
    "interactions_90",
    "previous_interactions_90",
    "last_nps",
    "open_complaints",
    "open_tickets",
    "grade.value",
    "alive_percent",
    "churn_risk_percent",
    "referrals",
];
const MONEY_FIELDS: [&str; 7] =
    ["net_revenue", "revenue", "average_order_value", "revenue_30", "revenue_90", "revenue_365", "lifetime_value"];
const INSTANT_FIELDS: [&str; 5] =
    ["first_order_at", "last_order_at", "last_interaction_at", "last_low_score_at", "trait.time"];
/// Fields of a tenant's own.
pub(crate) const OWN_FIELDS: [(&str, Type); 4] = [
    ("trait.text", Type::Text),
    ("trait.number", Type::Int),
    ("trait.time", Type::Instant),
    ("trait.mean", Type::Decimal),
];
pub(crate) const ZONES: [&str; 5] = ["UTC", "Asia/Tokyo", "America/St_Johns", "Pacific/Apia", "Pacific/Kiritimati"];

/// Values that follow from a seed alone (`SplitMix64`), so that a case of a hundred rows stays cheap to make and to shrink.
struct Seeded(u64);

impl Seeded {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn text(&mut self) -> String {
        TEXTS[self.below(TEXTS.len())].to_owned()
    }

    fn number(&mut self) -> i64 {
        match self.below(8) {
            0 => self.next() as i64,
            1..4 => self.below(200) as i64,
            _ => NUMBERS[self.below(NUMBERS.len())],
        }
    }

    fn instant(&mut self) -> Option<i64> {
        match self.below(8) {
            0 => None,
            1 => Some(self.number()),
            2 => Some(NOW_MICROS),
            // Around the days that the rules ask about, to the minute.
            _ => Some(NOW_MICROS - self.below(45 * 1440) as i64 * (DAY_MICROS / 1440) + 2 * DAY_MICROS),
        }
    }

    fn score(&mut self) -> Option<u8> {
        [None, Some(0), Some(1), Some(2), Some(3), Some(4), Some(5), Some(255)][self.below(8)]
    }
}

/// The texts of a customer, which it borrows.
pub(crate) struct Owned {
    texts: [String; 13],
    own: [Option<ValueRef<'static>>; 4],
    seed: u64,
}

impl Owned {
    pub(crate) fn new(seed: u64) -> Self {
        let mut seeded = Seeded(seed);
        let mut texts: [String; 13] = std::array::from_fn(|_| seeded.text());
        // So many owners and departments that they have no bitmaps any more.
        texts[3] = format!("owner-{}", seeded.below(150));
        if seeded.below(2) == 0 {
            texts[5] = format!("重-{}", seeded.below(120));
        }
        let text = Some(TEXTS[seeded.below(TEXTS.len())]).filter(|text| !text.is_empty());
        let number = Some(seeded.number()).filter(|number| number % 3 != 0);
        let time = seeded.instant();
        let mean = Some(seeded.number()).filter(|mean| mean % 3 != 0);
        let own =
            [text.map(ValueRef::Text), number.map(ValueRef::Int), time.map(ValueRef::Instant), mean.map(ValueRef::Int)];
        Self { texts, own, seed }
    }

    pub(crate) fn customer(&self) -> Customer<'_> {
        let mut seeded = Seeded(self.seed.rotate_left(32));
        let [label, stage, kind, owner, region, department, language, acquisition_channel, channel, rest @ ..] =
            &self.texts;
        let [acquisition_campaign, country, gender, household] = rest;
        Customer {
            recency: seeded.score(),
            frequency: seeded.score(),
            monetary: seeded.score(),
            label,
            stage,
            kind,
            owner,
            region,
            department,
            language,
            acquisition_channel,
            acquisition_campaign,
            acquired_at: seeded.instant(),
            country,
            currency: country,
            gender,
            income_band: gender,
            household,
            channel,
            first_order_at: seeded.instant(),
            last_order_at: seeded.instant(),
            orders: seeded.number(),
            purchase_days: seeded.number(),
            net_revenue_minor: seeded.number(),
            revenue_minor: seeded.number(),
            average_order_value_minor: Some(seeded.number()).filter(|minor| minor % 3 != 0),
            orders_30: seeded.number(),
            orders_90: seeded.number(),
            orders_365: seeded.number(),
            previous_orders_90: seeded.number(),
            revenue_30_minor: seeded.number(),
            revenue_90_minor: seeded.number(),
            revenue_365_minor: seeded.number(),
            consents: std::array::from_fn(|_| ["", "given", "objected"][seeded.below(3)]),
            top_category: channel,
            interactions: seeded.number(),
            last_interaction_at: seeded.instant(),
            interactions_90: seeded.number(),
            previous_interactions_90: seeded.number(),
            last_nps: Some(seeded.number()).filter(|score| score % 3 != 0),
            last_low_score_time: seeded.instant(),
            open_complaints: seeded.number(),
            open_tickets: seeded.number(),
            grade_value: seeded.score(),
            grade_band: gender,
            grade_tier: label,
            grade_vip: ["", "yes", "no"][seeded.below(3)],
            alive_percent: seeded.score(),
            churn_risk_percent: seeded.score(),
            lifetime_value_minor: Some(seeded.number()).filter(|minor| minor % 3 != 0),
            referrals: seeded.number(),
            warnings: std::array::from_fn(|_| ["", "yes", "no"][seeded.below(3)]),
            own: &self.own,
        }
    }
}

#[derive(Clone, Debug)]
enum Change {
    Put(u32, u64),
    Remove(u32),
    Rebalance,
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let change = prop_oneof![
        20 => (1..200_u32, any::<u64>()).prop_map(|(id, seed)| Change::Put(id, seed)),
        4 => (1..200_u32).prop_map(Change::Remove),
        1 => Just(Change::Rebalance),
    ];
    prop::collection::vec(change, 0..100)
}

/// Added to every id. The second puts them on both sides of a block's end, and is rare because it costs 8,192 rows.
fn offset() -> impl Strategy<Value = u32> {
    prop_oneof![60 => Just(0), 1 => Just(8_090)]
}

pub(crate) fn one_of(choices: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    prop::sample::select(choices)
}

fn order() -> impl Strategy<Value = &'static str> {
    one_of(&["==", "!=", "<", "<=", ">", ">="])
}

fn text() -> impl Strategy<Value = String> {
    let owner = (0..150).prop_map(|number| format!("owner-{number}"));
    let any = prop::sample::select(&TEXTS[..]).prop_map(str::to_owned);
    prop_oneof![4 => any, 1 => owner].prop_map(|text| format!("\"{text}\""))
}

fn int() -> impl Strategy<Value = String> {
    prop_oneof![3 => prop::sample::select(&NUMBERS[..]), 1 => 0..200_i64].prop_map(|number| number.to_string())
}

/// The same numbers in major units, since the rows hold them in hundredths; and whole ones.
fn money() -> impl Strategy<Value = String> {
    let minor = prop_oneof![3 => prop::sample::select(&NUMBERS[..]), 1 => 0..200_i64].prop_map(|minor| {
        let sign = if minor < 0 { "-" } else { "" };
        format!("{sign}{}.{:02}", minor.unsigned_abs() / 100, minor.unsigned_abs() % 100)
    });
    prop_oneof![4 => minor, 1 => (-2..3_i64).prop_map(|major| major.to_string())]
}

/// And with three decimals, since those rows hold them in thousandths; and whole ones.
fn decimal() -> impl Strategy<Value = String> {
    let thousandths = prop_oneof![3 => prop::sample::select(&NUMBERS[..]), 1 => 0..200_i64].prop_map(|units| {
        let sign = if units < 0 { "-" } else { "" };
        format!("{sign}{}.{:03}", units.unsigned_abs() / 1_000, units.unsigned_abs() % 1_000)
    });
    prop_oneof![4 => thousandths, 1 => (-1..2_i64).prop_map(|whole| whole.to_string())]
}

fn instant() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("timestamp(\"2006-11-08T12:00:00Z\")".to_owned()),
        Just("timestamp(\"1970-01-01T00:00:00Z\")".to_owned()),
        (1..29, 0..24).prop_map(|(day, hour)| format!("timestamp(\"2006-10-{day:02}T{hour:02}:31:00Z\")")),
    ]
}

fn days() -> impl Strategy<Value = i64> {
    prop_oneof![
        8 => -2..45_i64,
        1 => prop::sample::select(&[i64::MIN, i64::MAX, -106_700_000, 106_800_000, 13_000, 13_460][..]),
    ]
}

fn list(elements: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    prop::collection::vec(elements, 0..20).prop_map(|elements| elements.join(", "))
}

fn leaf() -> impl Strategy<Value = String> {
    let compare = |(field, op, with): (&str, &str, String)| format!("{field} {op} {with}");
    let fields = |(left, op, right): (&str, &str, &str)| format!("{left} {op} {right}");
    let member = |(field, list): (&str, String)| format!("{field} in [{list}]");
    prop_oneof![
        3 => (one_of(&TEXT_FIELDS), order(), text()).prop_map(compare),
        3 => (one_of(&INT_FIELDS), order(), int()).prop_map(compare),
        3 => (one_of(&MONEY_FIELDS), order(), money()).prop_map(compare),
        1 => (Just("trait.mean"), order(), decimal()).prop_map(compare),
        2 => (one_of(&INSTANT_FIELDS), order(), instant()).prop_map(compare),
        1 => (one_of(&INSTANT_FIELDS), order(), Just("now".to_owned())).prop_map(compare),
        4 => (one_of(&INSTANT_FIELDS), order(), days()).prop_map(|(field, op, days)| format!("days_since({field}) {op} {days}")),
        1 => (one_of(&TEXT_FIELDS), order(), one_of(&TEXT_FIELDS)).prop_map(fields),
        2 => (one_of(&INT_FIELDS), order(), one_of(&INT_FIELDS)).prop_map(fields),
        1 => (one_of(&MONEY_FIELDS), order(), one_of(&MONEY_FIELDS)).prop_map(fields),
        1 => (one_of(&INSTANT_FIELDS), order(), one_of(&INSTANT_FIELDS)).prop_map(fields),
        1 => (one_of(&TEXT_FIELDS), list(text())).prop_map(member),
        1 => (one_of(&INT_FIELDS), list(int())).prop_map(member),
        1 => (one_of(&MONEY_FIELDS), list(money())).prop_map(member),
        1 => (Just("trait.mean"), list(decimal())).prop_map(member),
        1 => (one_of(&INSTANT_FIELDS), list(instant())).prop_map(member),
        1 => one_of(&["rfm.f", "channel", "owner", "last_order_at", "average_order_value", "orders"])
            .prop_map(|field| format!("has({field})")),
        1 => (one_of(&TEXT_FIELDS), one_of(&["startsWith", "contains"]), text())
            .prop_map(|(field, function, text)| format!("{field}.{function}({text})")),
        1 => one_of(&["segment(\"odd\")", "segment(\"short\")", "segment(\"gone\")"]).prop_map(str::to_owned),
        1 => one_of(&["true", "false"]).prop_map(str::to_owned),
    ]
}

pub(crate) fn rule() -> impl Strategy<Value = String> {
    leaf().prop_recursive(4, 12, 3, |inner| {
        let joined = |with: &'static str| {
            move |parts: Vec<String>| parts.iter().map(|part| format!("({part})")).collect::<Vec<_>>().join(with)
        };
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4).prop_map(joined(" && ")),
            prop::collection::vec(inner.clone(), 2..4).prop_map(joined(" || ")),
            inner.prop_map(|part| format!("!({part})")),
        ]
    })
}

pub(crate) fn own_schema() -> Schema {
    let fields = OWN_FIELDS.iter().zip(FIRST_ID..).map(|((name, ty), id)| Field {
        id,
        name: (*name).into(),
        ty: *ty,
        description: "".into(),
    });
    schema_with(2, fields.collect()).unwrap()
}

/// The engine after the changes, and the customers that are then there, kept apart from it.
fn play(changes: &[Change], offset: u32) -> (Engine, BTreeMap<u32, Owned>) {
    let (mut engine, mut customers) = (Engine::new(), BTreeMap::new());
    for (_, ty) in OWN_FIELDS {
        engine.add_field(ty);
    }
    for change in changes {
        match *change {
            Change::Put(id, seed) => {
                let id = id + offset;
                let owned = Owned::new(seed);
                engine.apply(id, Some(&owned.customer())).unwrap();
                customers.insert(id, owned);
            }
            Change::Remove(id) => {
                let id = id + offset;
                engine.apply(id, None).unwrap();
                customers.remove(&id);
            }
            Change::Rebalance => engine.rebalance(),
        }
    }
    (engine, customers)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn the_engine_selects_exactly_the_rows_that_match(changes in changes(), offset in offset(), source in rule(), zone in one_of(&ZONES)) {
        let (engine, customers) = play(&changes, offset);
        let rule = Rule::parse(&source, &own_schema()).unwrap();
        let zone = TimeZone::from_name(zone).unwrap();
        let local_day = |micros| zone.local_day(Instant::from_micros(micros));
        let now = Now::new(NOW_MICROS, &local_day);
        let odd: Bitmap = (offset + 1..offset + 300).step_by(2).collect();
        let short: Bitmap = (offset + 10..offset + 70).collect();
        let segments = |name: &str| match name {
            "odd" => Some(&odd),
            "short" => Some(&short),
            _ => None,
        };
        let expected: Vec<u32> = customers
            .iter()
            .filter(|(id, owned)| rule.matches(&owned.customer().row(**id, &segments), &now))
            .map(|(id, _)| *id)
            .collect();
        let selected = engine.select(&rule, &now, &segments);
        prop_assert_eq!(engine.count(&rule, &now, &segments, &Cancellation::default()), expected.len() as u64);
        prop_assert_eq!(selected.iter().collect::<Vec<_>>(), expected.clone(), "{}", source);
        prop_assert_eq!(engine.population(), customers.len() as u64);
        for id in offset..offset + 210 {
            let row = engine.row(id, &segments);
            prop_assert_eq!(row.is_some(), customers.contains_key(&id));
            prop_assert_eq!(row.is_some_and(|row| rule.matches(&row, &now)), selected.contains(id), "{}", id);
        }
    }
}
