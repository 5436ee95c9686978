//! Reading what everybody bought, once, from ingestion.

use super::Stopped;
use crate::recommendation::{Gathering, Purchases};
use crate::{MAX_MESSAGE_BYTES, Service, refused};
use quintile_chain::store_error;
use quintile_domain::ids::CustomerId;
use quintile_domain::names;
use quintile_proto::ingestion::export_service_client::ExportServiceClient;
use quintile_proto::ingestion::{CustomerFact, ExportKind, ExportRowsRequest};
use quintile_proto::scoring::PreviewProgress;
use quintile_rpc::client::upstream_error;
use quintile_rpc::convert;
use quintile_rpc::policy::Tenant;
use quintile_store::records;
use std::ops::RangeInclusive;
use tonic::Status;

/// How often a stream that ended without a further row is opened anew.
const MAX_ATTEMPTS: u32 = 3;

/// Reads the lines of all orders of some local days, whosever processing is not restricted; those of days from `held_out_from` on are held out. `tell`
/// hears how far it is, and says whether to go on. Returns how far it came, too.
pub async fn read(
    service: &Service,
    tenant: &Tenant,
    days: RangeInclusive<i32>,
    held_out_from: i32,
    tell: impl FnMut(PreviewProgress) -> bool,
) -> Result<(Purchases, PreviewProgress), Stopped> {
    let customers = records::last(service.runtime.database.reader(), tenant.id).await;
    let customers = customers.map_err(|error| store_error(&error))?;
    let progress = PreviewProgress { customers_read: 0, customers };
    let mut reading = Reading { tenant, days, tell, progress, last: None, purchases: Gathering::new(held_out_from) };
    let (mut cursor, mut attempts) = (String::new(), 0);
    loop {
        let before = cursor.clone();
        match reading.stream(service, &mut cursor).await {
            Ok(()) => return Ok((reading.purchases.finish(), reading.progress)),
            Err(Failed::Stopped(stopped)) => return Err(stopped),
            // A token that ran out, or a replica that went away: another stream goes on behind what was read.
            Err(Failed::Upstream(status)) => {
                attempts = if cursor == before { attempts + 1 } else { 0 };
                if attempts >= MAX_ATTEMPTS {
                    return Err(Some(upstream_error(&status)));
                }
            }
        }
    }
}

/// Why a stream ended before it was complete.
enum Failed {
    Stopped(Stopped),
    Upstream(Status),
}

struct Reading<'a, T> {
    tenant: &'a Tenant,
    days: RangeInclusive<i32>,
    tell: T,
    progress: PreviewProgress,
    /// Whose orders are being read.
    last: Option<CustomerId>,
    purchases: Gathering,
}

impl<T: FnMut(PreviewProgress) -> bool> Reading<'_, T> {
    async fn stream(&mut self, service: &Service, cursor: &mut String) -> Result<(), Failed> {
        let request = ExportRowsRequest { kind: ExportKind::Order.into(), cursor: cursor.clone() };
        let request = service.credentials.request(&self.tenant.name, request).await.map_err(Failed::Upstream)?;
        let mut client =
            ExportServiceClient::new(service.ingestion.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES);
        let mut pages = client.export_rows(request).await.map_err(Failed::Upstream)?.into_inner();
        while let Some(page) = pages.message().await.map_err(Failed::Upstream)? {
            if page.complete {
                return Ok(());
            }
            for fact in &page.facts {
                self.take(fact).map_err(Failed::Stopped)?;
            }
            *cursor = page.cursor;
            if !(self.tell)(self.progress) {
                return Err(Failed::Stopped(None));
            }
        }
        Err(Failed::Upstream(Status::unavailable("the stream of orders ended early")))
    }

    fn take(&mut self, fact: &CustomerFact) -> Result<(), Stopped> {
        let number = fact.customer.strip_prefix("customers/").and_then(names::number);
        let (Some(order), Some(customer)) = (&fact.order, number.and_then(|number| CustomerId::try_from(number).ok()))
        else {
            return Ok(());
        };
        if self.last != Some(customer) {
            self.last = Some(customer);
            self.progress.customers_read = (self.progress.customers_read + 1).min(self.progress.customers);
        }
        let Some(at) = convert::sent_instant(order.order_time.as_ref()) else { return Ok(()) };
        let day = self.tenant.zone.local_day(at);
        if self.days.contains(&day) {
            for line in &order.lines {
                let added = self.purchases.add(customer.0, &line.product, &line.category, day);
                added.map_err(|error| refused(error.to_string()))?;
            }
        }
        Ok(())
    }
}
