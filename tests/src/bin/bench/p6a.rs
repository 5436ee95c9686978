//! P6a: what the access path costs, within one process: a call with a token that was verified before through the edge and masking,
//! against the same handler without them; and the mask decision alone.
//!
//! There is no network and no disk, and neither side decodes the request or encodes the answer.

use crate::access::{Access, SUBJECT};
use crate::generator;
use crate::report::{Measurement, Report, Target};
use crate::stage::Stage;
use alloc_counter::count_alloc;
use anyhow::{Context, bail};
use futures::FutureExt;
use hdrhistogram::Histogram;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, Response, Uri};
use prost_types::Timestamp;
use quintile_domain::ids::CustomerId;
use quintile_domain::masking::Sensitivity;
use quintile_proto::google_type::Money;
use quintile_proto::ingestion::{Customer, CustomerFeatures};
use quintile_proto::types::{ChannelActivity, CustomerAttributes, Features, Watermark, WindowActivity};
use quintile_rpc::role::Rights;
use quintile_rpc::{ApiError, Caller};
use std::convert::Infallible;
use std::future::ready;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service, service_fn};

const ID: &str = "P6a";
/// A method that both roles may call.
const PATH: &str = "/quintile.ingestion.v1.CustomerService/GetCustomer";
const CUSTOMER: CustomerId = CustomerId(42);
/// The one sees every customer's fields in the same forms, the other those of its own customers in others.
const ROLES: [(&str, &str); 2] = [("support", "forms for all customers"), ("sales", "forms by customer")];
const MOST_MICROSECONDS: f64 = 10.0;
const MOST_NANOSECONDS: f64 = 1_000.0;
const CALLS_IN_BATCH: u32 = 20;
const DECISIONS_IN_BATCH: u32 = 1_000;
const WARM_UP: Duration = Duration::from_millis(200);
/// How often the two sides take turns: a disturbance then hits both.
const ROUNDS: u32 = 3;
const LONGEST: Duration = Duration::from_mins(1);

/// Measures the row.
pub fn measure(stage: &Stage, report: &mut Report) -> anyhow::Result<()> {
    let access = Access::new()?;
    for (role, forms) in ROLES {
        let (ours, theirs) = calls(stage, &access, role)?;
        report.add(Measurement {
            id: ID,
            what: format!("warm call as {role}, authorised, masked ({forms})"),
            ours: ours / 1e3,
            theirs: Some(theirs / 1e3),
            unit: "µs",
            scale: stage.scale,
            target: Some(Target::AtMost(MOST_MICROSECONDS)),
        })?;
    }
    for (role, forms) in ROLES {
        let (nanoseconds, allocations) = decisions(stage, &access.rights(role)?)?;
        let measurement = |what: &str, ours, unit, most| Measurement {
            id: ID,
            what: format!("mask decision as {role} ({forms}){what}"),
            ours,
            theirs: None,
            unit,
            scale: stage.scale,
            target: Some(Target::AtMost(most)),
        };
        report.add(measurement("", nanoseconds, "ns", MOST_NANOSECONDS))?;
        report.add(measurement(", memory", allocations, "allocations", 0.0))?;
    }
    Ok(())
}

/// The nanoseconds of a call through the edge and masking, and of one without them.
fn calls(stage: &Stage, access: &Access, role: &str) -> anyhow::Result<(f64, f64)> {
    let authorization = access.authorization(role)?;
    let known = Arc::new(Known::new());
    let behind = known.clone();
    let mut guarded = access.edge.layer(service_fn(move |request: Request<Body>| {
        ready(Ok::<_, Infallible>(response(behind.answer_masked(&request))))
    }));
    let mut bare = service_fn(move |request: Request<Body>| {
        black_box(request);
        known.answer_as_it_is();
        ready(Ok::<_, Infallible>(response(Ok(()))))
    });
    Samples::new(CALLS_IN_BATCH)?.take(WARM_UP, || call(&mut guarded, &authorization))?;
    Samples::new(CALLS_IN_BATCH)?.take(WARM_UP, || call(&mut bare, &authorization))?;
    let (mut ours, mut theirs) = (Samples::new(CALLS_IN_BATCH)?, Samples::new(CALLS_IN_BATCH)?);
    for _ in 0..ROUNDS {
        ours.take(stage.call_time / ROUNDS, || call(&mut guarded, &authorization))?;
        theirs.take(stage.call_time / ROUNDS, || call(&mut bare, &authorization))?;
    }
    Ok((ours.nanoseconds(), theirs.nanoseconds()))
}

/// Makes a call. One that waits, or is refused, measures something else.
fn call<S>(service: &mut S, authorization: &HeaderValue) -> anyhow::Result<()>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = Uri::from_static(PATH);
    request.headers_mut().insert(AUTHORIZATION, authorization.clone());
    let Ok(response) = service.call(request).now_or_never().context("the call waited")?;
    if let Some(status) = Status::from_header_map(response.headers()) {
        bail!("the call was refused: {status}");
    }
    Ok(())
}

fn response(answered: Result<(), ApiError>) -> Response<Body> {
    match answered {
        Ok(()) => Response::new(Body::empty()),
        Err(error) => Status::from(error).into_http(),
    }
}

/// The nanoseconds of a mask decision, and the times that it takes memory.
fn decisions(stage: &Stage, rights: &Rights) -> anyhow::Result<(f64, f64)> {
    let attributes = Known::new().attributes;
    let once = || {
        black_box(shown_classes(black_box(rights), black_box(&attributes)));
        Ok(())
    };
    Samples::new(DECISIONS_IN_BATCH)?.take(WARM_UP, once)?;
    let mut samples = Samples::new(DECISIONS_IN_BATCH)?;
    samples.take(stage.call_time / ROUNDS, once)?;
    let ((new, grown, _), ended) = count_alloc(|| (0..DECISIONS_IN_BATCH).try_for_each(|_| once()));
    ended?;
    Ok((samples.nanoseconds(), (new + grown) as f64 / f64::from(DECISIONS_IN_BATCH)))
}

/// The mask decision: whether a customer is reached, and in which form each class of its fields is seen. Returns of how many classes
/// something is shown.
fn shown_classes(rights: &Rights, customer: &CustomerAttributes) -> usize {
    if !rights.reaches(customer) {
        return 0;
    }
    let own = rights.forms_for(customer);
    let forms = own.as_ref().unwrap_or(&rights.forms);
    Sensitivity::ALL.into_iter().filter(|class| forms.form(*class).reveals()).count()
}

/// How long something takes, batch by batch.
struct Samples {
    batch: u32,
    nanoseconds: Histogram<u64>,
}

impl Samples {
    fn new(batch: u32) -> anyhow::Result<Self> {
        Ok(Self { batch, nanoseconds: Histogram::new_with_bounds(1, LONGEST.as_nanos() as u64, 3)? })
    }

    /// Does it until the time is over.
    fn take(&mut self, time: Duration, mut once: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<()> {
        let until = Instant::now() + time;
        loop {
            let begun = Instant::now();
            if begun >= until {
                return Ok(());
            }
            for _ in 0..self.batch {
                once()?;
            }
            self.nanoseconds.saturating_record(begun.elapsed().as_nanos() as u64);
        }
    }

    /// Once, in the median batch: what else had the processor in between does not count.
    fn nanoseconds(&self) -> f64 {
        self.nanoseconds.value_at_quantile(0.5) as f64 / f64::from(self.batch)
    }
}

/// What is known of a customer whom the caller looks after.
struct Known {
    attributes: CustomerAttributes,
    customer: Customer,
    features: CustomerFeatures,
}

impl Known {
    fn new() -> Self {
        let time = Some(Timestamp { seconds: 1_767_000_000, nanos: 0 });
        let customer = generator::customer(CUSTOMER.0);
        let attributes =
            CustomerAttributes { owner: SUBJECT.to_owned(), ..customer.attributes.clone().unwrap_or_default() };
        let customer = Customer {
            name: CUSTOMER.to_string(),
            attributes: Some(attributes.clone()),
            create_time: time,
            update_time: time,
            etag: "1".to_owned(),
            ..customer
        };
        let features = CustomerFeatures {
            name: CUSTOMER.part_name("features"),
            features: Some(features(time)),
            watermark: Some(Watermark { facts_position: 1, time }),
        };
        Self { attributes, customer, features }
    }

    /// Answers as the handlers of both parts do.
    fn answer_masked(&self, request: &Request<Body>) -> Result<(), ApiError> {
        let caller = Caller::in_extensions(request.extensions());
        let caller = caller.ok_or_else(|| ApiError::unauthenticated("the call came without a caller"))?;
        let view = caller.view_of(CUSTOMER, &self.attributes)?;
        black_box(view.respond(self.customer.clone()));
        black_box(view.respond(self.features.clone()));
        Ok(())
    }

    fn answer_as_it_is(&self) {
        black_box(tonic::Response::new(self.customer.clone()));
        black_box(tonic::Response::new(self.features.clone()));
    }
}

fn features(time: Option<Timestamp>) -> Features {
    let money = |units| Some(Money { currency_code: "USD".to_owned(), units, nanos: 500_000_000 });
    let window = |days: i32| WindowActivity {
        days,
        orders: i64::from(days / 30),
        revenue: money(i64::from(days)),
        previous_orders: 1,
        previous_revenue: money(40),
        interactions: 3,
        previous_interactions: 1,
    };
    let contacts = |channel: &str| ChannelActivity { channel: channel.to_owned(), contacts: 5 };
    Features {
        as_of: time,
        next_change_time: time,
        first_order_time: time,
        last_order_time: time,
        orders: 10,
        purchase_days: 10,
        net_revenue: money(1_000),
        average_order_value: money(100),
        windows: vec![window(30), window(90), window(365)],
        primary_channel: "online".to_owned(),
        channels: vec![contacts("online"), contacts("store")],
        gap_days: vec![30; 9],
        gap_p80_days: Some(30.0),
        gross_revenue: money(1_000),
        refunded: money(0),
        top_category: "music".to_owned(),
        ..Features::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_decision_takes_no_memory() {
        let ((new, ..), _) = count_alloc(|| black_box(Box::new(7)));
        assert_eq!(new, 1, "memory is counted");
        let own = Known::new().attributes;
        let of_another = CustomerAttributes { owner: "bob".to_owned(), ..own.clone() };
        let access = Access::new().unwrap();
        // All 15 classes, that of what tells nothing included.
        for (role, customer, shown) in [
            ("support", &own, 15),
            ("support", &of_another, 15),
            ("sales", &own, 15),
            ("sales", &of_another, 0),
            ("analyst", &own, 5),
        ] {
            let rights = access.rights(role).unwrap();
            let (memory, classes) = count_alloc(|| shown_classes(&rights, customer));
            assert_eq!((classes, memory), (shown, (0, 0, 0)), "{role} {}", customer.owner);
        }
    }

    #[test]
    fn a_call_is_let_through_by_its_token_alone() {
        let access = Access::new().unwrap();
        let known = Arc::new(Known::new());
        let handler = service_fn(move |request: Request<Body>| {
            ready(Ok::<_, Infallible>(response(known.answer_masked(&request))))
        });
        let mut guarded = access.edge.layer(handler);
        for (role, _) in ROLES {
            call(&mut guarded, &access.authorization(role).unwrap()).unwrap();
        }
        assert!(call(&mut guarded, &access.authorization("auditor").unwrap()).is_err());
        assert!(call(&mut guarded, &HeaderValue::from_static("Bearer none")).is_err());
    }
}
