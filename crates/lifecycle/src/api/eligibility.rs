//! Whether playbooks are for a customer now, as far as a caller may know: by the code that refuses runs, with segments asked under the caller's own token.

use crate::playbooks::{Customer, Run};
use crate::running::Playbooks;
use crate::store::playbooks::Stored;
use crate::store::runs;
use futures::{StreamExt, TryStreamExt, stream};
use quintile_domain::ids::CustomerId;
use quintile_domain::time::Instant;
use quintile_proto::lifecycle::RunRefusal;
use quintile_proto::segmentation::CheckMembersRequest;
use quintile_proto::types::CustomerRecord;
use quintile_rpc::client::upstream_error;
use quintile_rpc::{ApiError, Caller};
use std::collections::{BTreeSet, HashMap};
use tonic::Code;

/// Segments that are asked about at once.
const AT_ONCE: usize = 8;

/// Whether a customer is in a segment, as far as a caller may know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Membership {
    Known(bool),
    /// There is no such segment.
    Gone,
    /// The caller may not use it.
    Denied,
}

/// Whether a customer is in some segments, by their names.
pub type Memberships = HashMap<String, Membership>;

/// The segments that a playbook is meant for, and not meant for.
fn meant(stored: &Stored) -> impl Iterator<Item = &str> {
    let segments = [stored.playbook.audience.as_str(), stored.playbook.excluded.as_str()];
    segments.into_iter().filter(|segment| !segment.is_empty())
}

/// Whether a customer is in the segments that some playbooks are meant for, or not.
pub async fn memberships(
    playbooks: &Playbooks,
    caller: &Caller,
    customer: CustomerId,
    of: &[Stored],
) -> Result<Memberships, ApiError> {
    let segments: BTreeSet<String> = of.iter().flat_map(|stored| meant(stored).map(str::to_owned)).collect();
    let ask = |segment: String| async move {
        let message = CheckMembersRequest { parent: segment.clone(), customers: vec![customer.to_string()] };
        let request = playbooks.credentials.request_for(caller, message).await;
        let request = request.map_err(|status| upstream_error(&status))?;
        let membership = match playbooks.segments().check_members(request).await {
            Ok(answer) => Membership::Known(!answer.get_ref().members.is_empty()),
            Err(status) if status.code() == Code::NotFound => Membership::Gone,
            Err(status) if status.code() == Code::PermissionDenied => Membership::Denied,
            Err(status) => return Err(upstream_error(&status)),
        };
        Ok((segment, membership))
    };
    stream::iter(segments.into_iter().map(ask)).buffer_unordered(AT_ONCE).try_collect().await
}

/// A customer of whom it is asked, and what is known of it.
pub struct Asked<'a> {
    /// The customer.
    pub customer: CustomerId,
    /// Its record.
    pub record: &'a CustomerRecord,
    /// Its runs of all playbooks.
    pub runs: &'a [runs::Stored],
    /// Whether it is in the segments of the playbooks.
    pub memberships: Memberships,
    /// The business time.
    pub now: Instant,
}

impl Asked<'_> {
    /// Why a run of a playbook that was triggered now would be refused. `None`: the playbook goes by a segment that the caller may not use.
    pub fn refusal_by(&self, stored: &Stored) -> Option<RunRefusal> {
        if meant(stored).any(|segment| self.memberships.get(segment) == Some(&Membership::Denied)) {
            return None;
        }
        let is_member = |segment: &str| match self.memberships.get(segment) {
            Some(Membership::Known(is_member)) => Some(*is_member),
            _ => None,
        };
        let number = self.customer.as_i64().unsigned_abs();
        let customer = Customer { number, record: Some(self.record), is_member: &is_member };
        let earlier: Vec<&Run> =
            self.runs.iter().filter(|run| run.playbook == stored.number).map(|run| &run.run).collect();
        Some(Run::triggered(self.now).refusal_of(&stored.playbook, &customer, &earlier))
    }
}
