//! An opening balance as it is told.

use crate::features::Opening;
use quintile_domain::money::Currency;
use quintile_proto::ingestion::{CategoryRevenue, OpeningBalance, OpeningCase};
use quintile_rpc::convert;

/// The message of a balance.
pub fn message(opening: Opening, currency: Currency) -> OpeningBalance {
    let money = |minor: i64| Some(convert::money(currency, minor));
    let categories =
        opening.categories.into_iter().map(|(category, revenue)| CategoryRevenue { category, revenue: money(revenue) });
    let cases = opening.cases.into_iter().map(|((complaint, (source, about)), (time, resolved))| OpeningCase {
        complaint,
        source,
        about,
        time: Some(convert::timestamp(time)),
        resolved,
    });
    OpeningBalance {
        first_order_time: opening.first_order.map(convert::timestamp),
        last_order_time: opening.last_order.map(convert::timestamp),
        orders: opening.orders,
        gross_revenue: money(opening.gross_minor),
        profit: opening.profit_minor.and_then(money),
        purchase_dates: opening.days.into_iter().map(convert::date).collect(),
        first_date_revenue: opening.first_day.and_then(|(_, revenue)| money(revenue)),
        categories: categories.collect(),
        refunds: opening.refunds,
        refunded: money(opening.counted_minor),
        unmatched_refunds: money(opening.unmatched_minor),
        interactions: opening.interactions,
        last_interaction_time: opening.last_interaction.map(convert::timestamp),
        feedback_count: opening.feedback,
        csat_count: opening.csat_count,
        csat_sum: opening.csat_sum,
        last_nps: opening.nps.map(|(_, score)| score as i32),
        last_nps_time: opening.nps.map(|(time, _)| convert::timestamp(time)),
        cases: cases.collect(),
        last_low_score_time: opening.last_low_score.map(convert::timestamp),
    }
}
