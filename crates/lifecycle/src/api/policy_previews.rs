//! Dry runs of stage policies.

use crate::churning::InForce;
use crate::stages::{PopulationGaps, StagePolicy};
use crate::store::stage_policies::Version;
use crate::worker::{churn_values_now, stage_values};
use quintile_chain::context::Runtime;
use quintile_chain::listening::{self, Listener, Stopped};
use quintile_chain::{feed, store_error};
use quintile_domain::time::Instant;
use quintile_proto::lifecycle::{
    PreviewStagePolicyVersionResponse, StageMove, StagePolicyPreview, StagePreviewProgress, WarningCount,
};
use quintile_proto::types::{CustomerRecord, StageValues, WarningKind};
use quintile_rpc::policy::Tenant;
use quintile_rpc::{AnswerStream, Caller, convert};
use quintile_store::{StoreError, records};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Records that are read at once.
const SCAN_RECORDS: u64 = 5_000;
/// The kinds of warnings, in the order of their numbers.
const KINDS: [WarningKind; 6] = [
    WarningKind::Silence,
    WarningKind::FewerPurchases,
    WarningKind::FewerInteractions,
    WarningKind::Complaint,
    WarningKind::ChurnRisk,
    WarningKind::LowScore,
];

/// Begins a dry run of a version beside the policy in force; whoever stops reading ends it.
pub fn preview(
    runtime: Runtime,
    caller: Caller,
    version: Version,
    (in_force, model): (StagePolicy, Option<Arc<InForce>>),
) -> AnswerStream<PreviewStagePolicyVersionResponse> {
    let tenant = caller.tenant().clone();
    let work = |listener| async move { DryRun { runtime, version, in_force, model }.run(&tenant, listener).await };
    listening::stream(caller, progress, work)
}

fn progress(progress: StagePreviewProgress) -> PreviewStagePolicyVersionResponse {
    PreviewStagePolicyVersionResponse { progress: Some(progress), preview: None }
}

struct DryRun {
    runtime: Runtime,
    version: Version,
    in_force: StagePolicy,
    model: Option<Arc<InForce>>,
}

impl DryRun {
    async fn run(
        self,
        tenant: &Tenant,
        mut listener: Listener<PreviewStagePolicyVersionResponse, StagePreviewProgress>,
    ) -> Result<(), Stopped> {
        let failed = |error: StoreError| Some(store_error(&error));
        let database = self.runtime.database.reader();
        let customers = records::last(database, tenant.id).await.map_err(failed)?;
        let as_of = self.runtime.business.now();
        let mut counts = Counts::default();
        let mut after = 0;
        loop {
            let rows = records::scan(database, tenant.id, after, SCAN_RECORDS).await.map_err(failed)?;
            let Some(last) = rows.last() else { break };
            after = last.customer.0;
            for row in rows.iter().filter(|row| !row.is_tombstone()) {
                let mut record = feed::decode(row).map_err(failed)?;
                record.churn = churn_values_now(self.model.as_deref(), tenant, &record, as_of);
                counts.add(&record, [&self.in_force, &self.version.policy], tenant, as_of);
            }
            if !listener.tell(StagePreviewProgress { customers_read: i64::from(after), customers }) {
                return Err(None);
            }
        }
        let preview = counts.preview(&self.version, tenant, as_of);
        listener.send(PreviewStagePolicyVersionResponse { progress: None, preview: Some(preview) }).await
    }
}

/// Customers, and their revenue in minor units.
#[derive(Default)]
struct Sum {
    customers: i64,
    revenue: i64,
}

#[derive(Default)]
struct Counts {
    /// By the stages by the policy in force and by the version.
    moves: BTreeMap<(i32, i32), Sum>,
    /// Of each kind of warning, by the policy in force and by the version.
    warnings: [[i64; 2]; KINDS.len()],
    gaps: PopulationGaps,
}

impl Counts {
    /// Counts a customer, by the policy in force and by the version.
    fn add(&mut self, record: &CustomerRecord, policies: [&StagePolicy; 2], tenant: &Tenant, as_of: Instant) {
        let [before, after]: [StageValues; 2] = policies.map(|policy| stage_values(policy, tenant, record, as_of).0);
        let features = record.features.as_ref();
        let revenue = features.and_then(|features| convert::sent_minor(features.revenue.as_ref(), tenant.currency));
        let sum = self.moves.entry((before.stage, after.stage)).or_default();
        sum.customers += 1;
        sum.revenue = sum.revenue.saturating_add(revenue.unwrap_or(0));
        for (counts, kind) in self.warnings.iter_mut().zip(KINDS) {
            for (count, values) in counts.iter_mut().zip([&before, &after]) {
                *count += i64::from(values.warnings().any(|shown| shown == kind));
            }
        }
        self.gaps.add(features.map_or(&[], |features| &features.gap_days));
    }

    fn preview(&self, version: &Version, tenant: &Tenant, as_of: Instant) -> StagePolicyPreview {
        let moves = self.moves.iter().map(|((from, to), sum)| StageMove {
            from: *from,
            to: *to,
            customers: sum.customers,
            revenue: Some(convert::money(tenant.currency, sum.revenue)),
        });
        let warnings = self.warnings.iter().zip(KINDS).map(|([before, after], kind)| WarningCount {
            kind: kind.into(),
            customers: *after,
            customers_in_force: *before,
        });
        let changed = self.moves.iter().filter(|((from, to), _)| from != to);
        StagePolicyPreview {
            version: Some(version.message()),
            customers: self.moves.values().map(|sum| sum.customers).sum(),
            changed_customers: changed.map(|(_, sum)| sum.customers).sum(),
            moves: moves.collect(),
            warnings: warnings.collect(),
            population_p80_days: self.gaps.p80_days(),
            as_of: Some(convert::timestamp(as_of)),
        }
    }
}
