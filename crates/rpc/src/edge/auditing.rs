//! What of a call enters the audit log: changes before and after they are made, sensitive reads before they are answered, denials.

use crate::ApiError;
use crate::audit::AuditSink;
use crate::caller::Caller;
use crate::telemetry::calls::code_name;
use crate::trail::{Marks, Trail};
use http::HeaderMap;
use prost_reflect::{DescriptorPool, ExtensionDescriptor, Kind, MessageDescriptor, MethodDescriptor, Value};
use quintile_domain::ids::TenantId;
use quintile_domain::masking::{DataOf, Sensitivity, Shown};
use quintile_proto::audit::{AuditEvent, AuditKind};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use tonic::{Code, Status};

/// Who acts where nobody has a token: whoever knows the bootstrap secret.
const NOBODY: &str = "anonymous";

/// What the contracts say of a method.
#[derive(Clone, Debug, Default)]
pub(super) struct MethodTraits {
    /// It answers with a stream.
    pub(super) streams: bool,
    /// It changes what the audit log is about.
    changes: bool,
    /// The classes of the fields of its answer.
    classes: Vec<Sensitivity>,
}

/// Writes calls down.
pub(super) struct Auditor {
    sink: Arc<dyn AuditSink>,
    methods: HashMap<String, MethodTraits>,
}

impl Auditor {
    pub(super) fn new(sink: Arc<dyn AuditSink>) -> Self {
        Self { sink, methods: method_traits(&quintile_proto::descriptor_pool()) }
    }

    pub(super) fn traits(&self, path: &str) -> MethodTraits {
        self.methods.get(path).cloned().unwrap_or_default()
    }

    /// The paths of all methods that contracts have.
    pub(super) fn paths(&self) -> impl Iterator<Item = &str> {
        self.methods.keys().map(String::as_str)
    }

    /// Before the handler: a change that can't be written down is not made.
    pub(super) async fn before(
        &self,
        caller: Option<&Caller>,
        path: &str,
        traits: &MethodTraits,
    ) -> Result<(), ApiError> {
        match caller {
            Some(caller) if traits.changes => {
                self.record(Some(caller), path, AuditKind::ChangeAsked, &Marks::default(), "").await
            }
            _ => Ok(()),
        }
    }

    /// After the handler and before the answer goes out.
    pub(super) async fn after(
        &self,
        caller: Option<&Caller>,
        path: &str,
        traits: &MethodTraits,
        trail: &Trail,
        answered: &HeaderMap,
    ) -> Result<(), ApiError> {
        let mut marks = trail.marks();
        let code = Status::from_header_map(answered).map_or(Code::Ok, |status| status.code());
        if traits.changes {
            self.record(caller, path, AuditKind::ChangeEnded, &marks, code_name(code)).await?;
        } else if code == Code::PermissionDenied {
            return self.record(caller, path, AuditKind::Denied, &marks, code_name(code)).await;
        }
        if traits.streams && code == Code::Ok {
            let may_show = |class: &&Sensitivity| caller.is_some_and(|it| it.standing.rights.may_show(**class));
            marks.shown = Shown::of_classes(traits.classes.iter().filter(may_show).copied());
        }
        // A read whose handler says what it is about is written whatever it shows.
        let shows = !marks.shown.is_empty() && code == Code::Ok;
        if !shows && (traits.changes || marks.resource.is_empty()) {
            return Ok(());
        }
        let kind = if traits.streams { AuditKind::StreamOpened } else { AuditKind::Read };
        self.record(caller, path, kind, &marks, code_name(code)).await
    }

    /// Somebody known was not let through.
    pub(super) async fn denied(&self, caller: &Caller, path: &str) {
        let denied = code_name(Code::PermissionDenied);
        if let Err(error) = self.record(Some(caller), path, AuditKind::Denied, &Marks::default(), denied).await {
            // The caller gets nothing either way.
            tracing::warn!(code = ?error.code(), "a denial could not be written into the audit log");
        }
    }

    async fn record(
        &self,
        caller: Option<&Caller>,
        path: &str,
        kind: AuditKind,
        marks: &Marks,
        outcome: &str,
    ) -> Result<(), ApiError> {
        let Some((tenant, mut event)) = actor(caller, marks) else { return Ok(()) };
        event.kind = kind.into();
        path.trim_start_matches('/').clone_into(&mut event.method);
        event.classes = marks.shown.classes().map(|class| class as i32).collect();
        event.customer_ids = marks.shown.customers().to_vec();
        // Who asks about a customer is found by the customer, whatever the answer showed.
        let subject_matter = DataOf::Name(&marks.resource).customer();
        event.customer_ids.extend(subject_matter.filter(|customer| !event.customer_ids.contains(customer)));
        event.resource.clone_from(&marks.resource);
        outcome.clone_into(&mut event.outcome);
        self.sink.record(tenant, event).await
    }
}

/// Who acts, and in which tenant's log that stands. `None`: nobody who is known.
fn actor(caller: Option<&Caller>, marks: &Marks) -> Option<(TenantId, AuditEvent)> {
    let Some(caller) = caller else {
        let (tenant, subject) = marks.actor.as_ref()?;
        let subject = if subject.is_empty() { NOBODY } else { subject.as_str() };
        return Some((*tenant, AuditEvent { subject: subject.to_owned(), ..AuditEvent::default() }));
    };
    let claims = &caller.standing.claims;
    let event = AuditEvent {
        subject: claims.sub.clone(),
        role: claims.role.clone(),
        token_id: claims.jti.clone(),
        through: caller.through.as_ref().map(|service| service.sub.clone()).unwrap_or_default(),
        purpose: caller.purpose().into(),
        ..AuditEvent::default()
    };
    Some((caller.tenant().id, event))
}

/// Methods of contracts that are not ours, and so declare nothing, and that change something.
const PUBLISHED_CHANGES: [&str; 2] =
    ["/google.longrunning.Operations/CancelOperation", "/google.longrunning.Operations/DeleteOperation"];

fn method_traits(pool: &DescriptorPool) -> HashMap<String, MethodTraits> {
    let option = |name: &str| pool.get_extension_by_name(&format!("quintile.type.v1.{name}"));
    let (Some(audited_change), Some(sensitivity)) = (option("audited_change"), option("sensitivity")) else {
        return HashMap::new();
    };
    let methods = pool.services().flat_map(|service| service.methods().collect::<Vec<_>>());
    let traits = |method: MethodDescriptor| {
        let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
        let mut classes = Vec::new();
        classes_of(&method.output(), &sensitivity, &mut classes, &mut HashSet::new());
        let declared = method.options().get_extension(&audited_change).as_bool().unwrap_or(false);
        let changes = declared || PUBLISHED_CHANGES.contains(&path.as_str());
        (path, MethodTraits { streams: method.is_server_streaming(), changes, classes })
    };
    methods.map(traits).collect()
}

fn classes_of(
    message: &MessageDescriptor,
    sensitivity: &ExtensionDescriptor,
    classes: &mut Vec<Sensitivity>,
    seen: &mut HashSet<String>,
) {
    if !seen.insert(message.full_name().to_owned()) {
        return;
    }
    for field in message.fields() {
        if let Value::EnumNumber(number) = field.options().get_extension(sensitivity).as_ref() {
            let class = Sensitivity::of_number(*number);
            classes.extend(class.filter(|class| *class != Sensitivity::None && !classes.contains(class)));
        }
        if let Kind::Message(inner) = field.kind() {
            classes_of(&inner, sensitivity, classes, seen);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contracts_say_of_every_method_what_it_answers_with() {
        let traits = method_traits(&quintile_proto::descriptor_pool());
        let customer = &traits["/quintile.ingestion.v1.CustomerService/GetCustomer"];
        assert!(!customer.streams && customer.classes.contains(&Sensitivity::Phone));
        let feed = &traits["/quintile.scoring.v1.ScoreService/WatchScores"];
        assert!(feed.streams && feed.classes.contains(&Sensitivity::Financial));
        assert!(traits["/quintile.lifecycle.v1.StageService/GetFunnel"].classes.is_empty());
        assert!(PUBLISHED_CHANGES.iter().all(|path| traits[*path].changes));
    }
}
