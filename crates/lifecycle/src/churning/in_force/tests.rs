//! Steps of risk, against risks day by day.

use super::*;
use crate::churn::{Boosting, Calibration, Model, Penalty, Settings, Table};
use crate::store::churn_models::Measured;
use prost_types::Timestamp;
use quintile_domain::masking::Sensitivity;
use quintile_domain::money::Currency;
use quintile_domain::revenue::RevenuePolicy;
use quintile_domain::seeded::Seeded;
use quintile_domain::time::TimeZone;
use quintile_proto::lifecycle::{ChurnLabel, ChurnModelState};
use quintile_proto::types::{Features, WindowActivity};

const DAY_MICROS: i64 = 86_400_000_000;
/// 2023-01-01, so that the days that follow have both changes of clocks.
const TODAY: i64 = 19_358;

fn tenant() -> Tenant {
    Tenant {
        id: TenantId(1),
        name: "acme".to_owned(),
        zone: TimeZone::from_name("Europe/Berlin").unwrap(),
        currency: Currency::from_code("EUR").unwrap(),
        revenue: RevenuePolicy::Net,
        pseudonyms: None,
    }
}

fn noon(day: i64) -> Instant {
    Instant::from_micros(day * DAY_MICROS + DAY_MICROS / 2)
}

fn timestamp(day: i64) -> Timestamp {
    convert::timestamp(noon(day))
}

/// A customer who has bought so many days ago, and otherwise anyhow.
fn customer(random: &mut Seeded, silent_days: i64) -> CustomerRecord {
    let (orders, gap) = (1 + random.below(12) as i64, 1.0 + random.below(60) as f64);
    let last = TODAY - silent_days;
    let contacted = random.below(3) > 0;
    let features = Features {
        first_order_time: Some(timestamp(last - (orders - 1) * gap as i64)),
        last_order_time: Some(timestamp(last)),
        last_interaction_time: contacted.then(|| timestamp(last - random.below(30) as i64)),
        orders,
        purchase_days: orders,
        gap_mean_days: (orders > 1).then_some(gap),
        windows: vec![WindowActivity { days: 90, orders: random.below(4) as i64, ..WindowActivity::default() }],
        ..Features::default()
    };
    CustomerRecord { customer_id: 1, features: Some(features), ..CustomerRecord::default() }
}

/// A model of customers who leave the likelier the longer they are silent.
fn model(settings: &Settings) -> InForce {
    let (mut random, tenant) = (Seeded::new(7), tenant());
    let (mut table, mut labels) = (Table::new(features::all()).unwrap(), Vec::new());
    for _ in 0..2_000 {
        let silent_days = random.below(300) as i64;
        let record = customer(&mut random, silent_days);
        let seen = Seen::active(&record, noon(TODAY), &tenant.zone, tenant.currency).unwrap();
        table.push(&seen.row()).unwrap();
        labels.push(random.unit() * 300.0 < silent_days as f64);
    }
    let model = Model::fit(&table, &labels, settings).unwrap();
    let model = ChurnModel { model, calibration: Calibration::None };
    let profile = RiskProfile::new(&model.risks(&table).unwrap()).unwrap();
    InForce::new(&stored_model(), &Learnt { model, profile }.to_bytes().unwrap()).unwrap()
}

fn stored_model() -> Stored {
    Stored {
        number: 1,
        state: ChurnModelState::Published,
        body: quintile_proto::lifecycle::ChurnModel { horizon_days: 90, ..Default::default() },
        created_at: noon(TODAY),
        published_at: None,
        revision: 1,
        stands_since: None,
        measured: Measured::default(),
    }
}

/// The step of a day by the risk of that day, and the next day of another one, or of none.
fn by_days(model: &InForce, record: &CustomerRecord) -> (i32, i64) {
    let tenant = tenant();
    let on = |day: i64| {
        let risk = model.risk(record, noon(day), &tenant, false).unwrap();
        risk.map(|risk| (risk.risk * 20.0).floor() as i32 * 5)
    };
    let now = on(TODAY).unwrap();
    (now, (TODAY + 1..TODAY + 400).find(|day| on(*day) != Some(now)).unwrap())
}

#[test]
fn a_step_lasts_until_the_first_day_whose_risk_is_at_another_one() {
    let boosted = Settings::Boosted(Boosting { trees: 60, ..Boosting::new(1) });
    for settings in [boosted, Settings::Logistic(Penalty::default())] {
        let (model, mut random) = (model(&settings), Seeded::new(11));
        let mut found = Vec::new();
        for _ in 0..300 {
            let silent_days = random.below(366) as i64;
            let record = customer(&mut random, silent_days);
            let step = model.step(&record, noon(TODAY), &tenant()).unwrap().unwrap();
            assert_eq!((step.percent, i64::from(step.turns_on)), by_days(&model, &record), "{record:?}");
            found.push(step);
        }
        // Not all the same, and not only because they end.
        assert!(found.iter().any(|step| step.percent < 30) && found.iter().any(|step| step.percent > 70));
        assert!(found.iter().filter(|step| i64::from(step.turns_on) < TODAY + 30).count() > 50);
    }
}

#[test]
fn who_has_left_already_is_at_no_step() {
    let model = model(&Settings::Logistic(Penalty::default()));
    let step = |silent_days| {
        let record = customer(&mut Seeded::new(3), silent_days);
        model.step(&record, noon(TODAY), &tenant()).unwrap()
    };
    assert_eq!((step(365).map(|step| i64::from(step.turns_on)), step(366)), (Some(TODAY + 1), None));
}

#[test]
fn by_a_model_of_a_label_nobody_is_at_a_step() {
    let label = Label { told: ChurnLabel::default(), class: Sensitivity::None, classes: Vec::new() };
    let model = InForce { label: Some(label), ..model(&Settings::Logistic(Penalty::default())) };
    let record = customer(&mut Seeded::new(3), 10);
    assert_eq!(model.step(&record, noon(TODAY), &tenant()).unwrap(), None);
    assert!(model.risk(&record, noon(TODAY), &tenant(), false).unwrap().is_none());
}

#[test]
fn a_model_that_can_not_be_read_is_none_and_an_outage_is_not() {
    let unread = InForce::new(&stored_model(), b"{}").map(|model| Some(Arc::new(model)));
    assert!(matches!(unread, Err(StoreError::Sealed(_))));
    assert!(matches!(readable(TenantId(1), unread), Ok(None)));
    assert!(matches!(readable(TenantId(1), Err(StoreError::Full)), Err(StoreError::Full)));
}

#[test]
fn steps_are_of_five_hundredths() {
    let of = [0.0, 0.049, 0.05, 0.35, 0.55, 0.699, 0.7, 0.999, 1.0].map(percent);
    assert_eq!(of, [0, 0, 5, 35, 55, 65, 70, 95, 100]);
}
