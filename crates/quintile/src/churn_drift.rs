//! How the risks of churn models have moved, for people: measured when it is asked for, and by itself.

use crate::churn::Asker;
use crate::commands::CallerArgs;
use crate::output::{self, instant, plain, thousands};
use crate::progress::Progress;
use anyhow::bail;
use quintile_proto::lifecycle::{ChurnDrift, ChurnDriftVerdict, ChurnModel, ChurnProgress, MeasureChurnDriftRequest};

/// Measurements that are told of a model.
const DRIFTS: usize = 10;

/// Measures how risks have moved, and tells how far that is.
pub async fn drift(caller: &CallerArgs) -> anyhow::Result<()> {
    let mut asker = Asker::begin_long(caller).await?;
    let request = asker.session.request(MeasureChurnDriftRequest {});
    let mut stream = asker.models.measure_churn_drift(request).await?.into_inner();
    let mut progress = Progress::new("customers");
    while let Some(response) = stream.message().await? {
        tell(&mut progress, response.progress.as_ref());
        if let Some(drift) = response.drift {
            progress.finish();
            return asker.show(&drift, "ChurnDrift", show_drift);
        }
    }
    bail!("the measuring ended before it was whole")
}

fn tell(progress: &mut Progress, told: Option<&ChurnProgress>) {
    // While it waits for its turn there is nothing to tell.
    if let Some(told) = told.filter(|told| told.customers > 0) {
        let (read, total) = (told.customers_read.unsigned_abs(), told.customers.unsigned_abs());
        progress.at(read, total, read);
    }
}

fn show_drift(drift: &ChurnDrift) {
    let verdict = verdict(drift);
    say!(
        "{verdict}: stability index {:.4} ({:.4} by chance), the mean risk {} from what it was",
        drift.stability_index,
        drift.index_by_chance,
        points(drift)
    );
    say!("{} customers have a risk by {}.", thousands(drift.customers.unsigned_abs()), drift.model);
    if drift.verdict() == ChurnDriftVerdict::Shifted {
        say!("Train a new model: quintile churn train");
    }
}

fn verdict(drift: &ChurnDrift) -> String {
    if drift.problem.is_empty() {
        plain(drift.verdict().as_str_name(), "CHURN_DRIFT_VERDICT_")
    } else {
        "failed".to_owned()
    }
}

/// What the last measurement by itself came to; `-`: there was none, or it is not told.
pub fn last(model: &ChurnModel) -> String {
    model.drifts.first().map_or("-".to_owned(), verdict)
}

/// What was measured of a model by itself, and the alarm that stands.
pub fn show(model: &ChurnModel) {
    let rows = model.drifts.iter().take(DRIFTS).map(|drift| {
        let found = [format!("{:.4}", drift.stability_index), format!("{:.4}", drift.index_by_chance), points(drift)];
        // One that failed has found nothing.
        let figures = if drift.problem.is_empty() { found } else { found.map(|_| "-".to_owned()) };
        [instant(drift.as_of.as_ref()), verdict(drift)].into_iter().chain(figures).collect()
    });
    let rows: Vec<_> = rows.collect();
    if !rows.is_empty() {
        let header = ["measured as of", "drift", "stability index", "by chance", "mean risk change"];
        say!("{}", output::table(&header, false, rows));
    }
    if let Some(problem) = model.drifts.first().map(|drift| &drift.problem).filter(|problem| !problem.is_empty()) {
        say!("The last measurement failed: {problem}.");
    }
    if model.drift_alarm_time.is_some() {
        let since = instant(model.drift_alarm_time.as_ref());
        say!("ALARM: its risks have shifted, as was measured from {since} on. Train a new model: quintile churn train");
    }
}

/// By how much the mean risk differs, in hundredths.
fn points(drift: &ChurnDrift) -> String {
    format!("{:+.1} points", drift.mean_risk_change * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_measurement_is_told_by_its_verdict_or_as_failed() {
        let of = |drifts| last(&ChurnModel { drifts, ..ChurnModel::default() });
        let shifted = ChurnDrift { verdict: ChurnDriftVerdict::Shifted.into(), ..ChurnDrift::default() };
        let failed = ChurnDrift { problem: "nobody has bought in 365 days".to_owned(), ..ChurnDrift::default() };
        assert_eq!(of(Vec::new()), "-");
        assert_eq!(of(vec![shifted.clone(), failed.clone()]), "shifted");
        assert_eq!(of(vec![failed, shifted]), "failed");
    }
}
