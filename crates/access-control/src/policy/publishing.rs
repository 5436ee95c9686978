//! What a tenant may publish, and what it would change.

use quintile_domain::masking::Sensitivity;
use quintile_proto::access::{FieldForm, FormChange, RoleChange, RoleImpact, RolePolicy};
use quintile_rpc::ApiError;
use quintile_rpc::policy::UNCHANGEABLE_ROLES;
use quintile_rpc::role::Role;
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// The most roles of a tenant's own.
const MAX_ROLES: usize = 100;
/// What takes in anybody's facts or drops them, tells who is one person with whom, or counts everybody, and so can't be held to the rows of a scope.
const BEYOND_ROW_SCOPES: [&str; 36] = [
    "quintile.ingestion.v1.IngestService/Ingest",
    "quintile.ingestion.v1.IngestService/IngestBatch",
    "quintile.ingestion.v1.IngestService/ReplayReject",
    "quintile.ingestion.v1.IngestService/DeleteReject",
    "quintile.ingestion.v1.CustomerService/CreateCustomer",
    "quintile.ingestion.v1.IdentityService/MergeCustomers",
    "quintile.ingestion.v1.IdentityService/UnmergeCustomers",
    "quintile.ingestion.v1.IdentityService/ListMerges",
    "quintile.ingestion.v1.IdentityService/ListIdentityConflicts",
    "quintile.ingestion.v1.IdentityService/ResolveIdentityConflict",
    "quintile.lifecycle.v1.ChurnModelService/TrainChurnModel",
    "quintile.lifecycle.v1.ChurnModelService/UpdateChurnTrainingSchedule",
    "quintile.lifecycle.v1.ChurnModelService/PublishChurnModel",
    "quintile.lifecycle.v1.ChurnModelService/RetireChurnModel",
    "quintile.lifecycle.v1.ChurnModelService/MeasureChurnDrift",
    "quintile.lifecycle.v1.LoyaltyService/DeleteLoyaltyTier",
    "quintile.lifecycle.v1.PlaybookService/StartPlaybook",
    "quintile.lifecycle.v1.PlaybookService/UpdateContactPolicy",
    "quintile.lifecycle.v1.StagePolicyService/PreviewStagePolicyVersion",
    "quintile.lifecycle.v1.StagePolicyService/PublishStagePolicyVersion",
    "quintile.scoring.v1.ScoreModelService/PreviewScoreModelVersion",
    "quintile.scoring.v1.ScoreModelService/PublishScoreModelVersion",
    "quintile.scoring.v1.ScoreModelService/RetireScoreModel",
    "quintile.scoring.v1.ValueModelService/FitValueModel",
    "quintile.scoring.v1.ValueModelService/PublishValueModel",
    "quintile.scoring.v1.ValueModelService/RetireValueModel",
    "quintile.scoring.v1.RecommendationModelService/FitRecommendationModel",
    "quintile.scoring.v1.RecommendationModelService/PublishRecommendationModel",
    "quintile.scoring.v1.RefitService/UpdateRefitSchedule",
    "quintile.scoring.v1.EconomicsService/GetUnitEconomics",
    "quintile.segmentation.v1.LabelService/PreviewImpact",
    "quintile.segmentation.v1.AnalysisService/ListSegmentSizes",
    "quintile.segmentation.v1.ClusterService/FitClusters",
    "quintile.segmentation.v1.ClusterService/GetClustering",
    "quintile.segmentation.v1.ClusterService/GetClusterDrift",
    "quintile.segmentation.v1.ClusterService/FindFactors",
];

/// Checks the roles that a tenant would make for itself. The error names the role and the field by their places.
pub fn check(roles: &[RolePolicy]) -> Result<(), ApiError> {
    if roles.len() > MAX_ROLES {
        return Err(ApiError::invalid_field("roles", format!("must have at most {MAX_ROLES} roles")));
    }
    let methods = every_method();
    let mut names = HashSet::new();
    for (index, role) in roles.iter().enumerate() {
        check_role(role, &methods).map_err(|error| error.within(&format!("roles[{index}]")))?;
        if !names.insert(&role.role) {
            return Err(ApiError::invalid_field(format!("roles[{index}].role"), "is the name of another role too"));
        }
    }
    Ok(())
}

fn check_role(role: &RolePolicy, methods: &HashSet<String>) -> Result<(), ApiError> {
    Role::of(role).map_err(|error| ApiError::invalid_field(error.field, error.problem))?;
    if UNCHANGEABLE_ROLES.contains(&role.role.as_str()) {
        return Err(ApiError::invalid_field("role", "must not be admin or service"));
    }
    for (index, form) in role.forms.iter().enumerate() {
        // A service of an older version may not know a class and grants nothing; whoever publishes one has made a mistake.
        if Sensitivity::of_number(form.sensitivity).is_none_or(|class| class == Sensitivity::None) {
            return Err(ApiError::invalid_field(
                format!("forms[{index}].sensitivity"),
                "must be a class of sensitive fields",
            ));
        }
    }
    for (index, method) in role.methods.iter().enumerate() {
        let field = || format!("methods[{index}]");
        if !methods.contains(method) {
            return Err(ApiError::invalid_field(field(), "is not a method of the contracts"));
        }
        if !role.row_scope.is_empty() && BEYOND_ROW_SCOPES.contains(&method.as_str()) {
            return Err(ApiError::invalid_field(
                field(),
                "is about anybody, not the customers of a row scope: a role with one can't have it",
            ));
        }
    }
    Ok(())
}

/// Whether a service of the contracts is one of the suite's: its own, or a published one that it serves.
pub fn is_served(service: &str) -> bool {
    service.starts_with("quintile.") || service == "google.longrunning.Operations"
}

fn every_method() -> HashSet<String> {
    let pool = quintile_proto::descriptor_pool();
    let services = pool.services().filter(|service| is_served(service.full_name()));
    let methods = services.flat_map(|service| {
        let name = service.full_name().to_owned();
        service.methods().map(|method| format!("{name}/{}", method.name())).collect::<Vec<_>>()
    });
    methods.collect()
}

/// The roles of a tenant by name: those that ship, and its own in their places.
pub fn effective<'a>(shipped: &'a [RolePolicy], own: &'a [RolePolicy]) -> BTreeMap<&'a str, &'a RolePolicy> {
    shipped.iter().chain(own).map(|role| (role.role.as_str(), role)).collect()
}

/// What changes between the roles of a tenant before and after, by name. `principals` is left to the caller.
pub fn impact(before: &BTreeMap<&str, &RolePolicy>, after: &BTreeMap<&str, &RolePolicy>) -> Vec<RoleImpact> {
    let names: BTreeSet<_> = before.keys().chain(after.keys()).copied().collect();
    let nothing = RolePolicy::default();
    let changes = names.into_iter().filter_map(|name| {
        let change = match (before.get(name), after.get(name)) {
            (None, _) => RoleChange::Added,
            (_, None) => RoleChange::Removed,
            (Some(before), Some(after)) if before == after => return None,
            _ => RoleChange::Changed,
        };
        let of = |roles: &BTreeMap<&str, &RolePolicy>| {
            roles.get(name).map_or_else(|| nothing.clone(), |role| (*role).clone())
        };
        Some(role_impact(name, change, &of(before), &of(after)))
    });
    changes.collect()
}

fn role_impact(name: &str, change: RoleChange, before: &RolePolicy, after: &RolePolicy) -> RoleImpact {
    let methods = |role: &RolePolicy| role.methods.iter().cloned().collect::<BTreeSet<_>>();
    let (methods_before, methods_after) = (methods(before), methods(after));
    let classes: BTreeSet<_> = before.forms.iter().chain(&after.forms).map(|form| form.sensitivity).collect();
    let of = |role: &RolePolicy, class: i32| -> Vec<FieldForm> {
        role.forms.iter().filter(|form| form.sensitivity == class).cloned().collect()
    };
    let forms = classes.into_iter().filter_map(|sensitivity| {
        let (before, after) = (of(before, sensitivity), of(after, sensitivity));
        (before != after).then_some(FormChange { sensitivity, before, after })
    });
    RoleImpact {
        role: name.to_owned(),
        change: change.into(),
        methods_gained: methods_after.difference(&methods_before).cloned().collect(),
        methods_lost: methods_before.difference(&methods_after).cloned().collect(),
        forms: forms.collect(),
        row_scope_before: before.row_scope.clone(),
        row_scope_after: after.row_scope.clone(),
        principals: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quintile_proto::access::MaskForm;
    use quintile_proto::types::Sensitivity;
    use tonic::Code;

    const GET: &str = "quintile.ingestion.v1.CustomerService/GetCustomer";
    const LIST: &str = "quintile.ingestion.v1.CustomerService/ListCustomers";

    fn role(name: &str, methods: &[&str]) -> RolePolicy {
        let methods = methods.iter().map(|method| (*method).to_owned()).collect();
        RolePolicy { role: name.to_owned(), methods, ..RolePolicy::default() }
    }

    fn form(class: Sensitivity, form: MaskForm) -> FieldForm {
        FieldForm { sensitivity: class.into(), form: form.into(), ..FieldForm::default() }
    }

    #[test]
    fn a_role_with_a_wrong_part_is_refused_by_the_place_of_the_part() {
        let with = |change: &dyn Fn(&mut RolePolicy)| {
            let mut role = role("care", &[GET]);
            change(&mut role);
            vec![role]
        };
        let forms = |form: FieldForm| with(&|role: &mut RolePolicy| role.forms = vec![form.clone()]);
        let phone = |mask| form(Sensitivity::Phone, mask);
        let table: Vec<(Vec<RolePolicy>, &str)> = vec![
            (with(&|role| "Care".clone_into(&mut role.role)), "roles[0].role"),
            (with(&|role| "admin".clone_into(&mut role.role)), "roles[0].role"),
            (with(&|role| "service".clone_into(&mut role.role)), "roles[0].role"),
            (vec![role("care", &[]), role("care", &[])], "roles[1].role"),
            (with(&|role| role.methods.push("quintile.Nothing/Get".to_owned())), "roles[0].methods[1]"),
            (with(&|role| "owner = caller.subject".clone_into(&mut role.row_scope)), "roles[0].row_scope"),
            (with(&|role| "segment(\"vip\")".clone_into(&mut role.row_scope)), "roles[0].row_scope"),
            (with(&|role| role.lookups_per_minute = -1), "roles[0].lookups_per_minute"),
            (forms(phone(MaskForm::Unspecified)), "roles[0].forms[0].form"),
            (forms(phone(MaskForm::Year)), "roles[0].forms[0].form"),
            (forms(phone(MaskForm::Bucket)), "roles[0].forms[0].bucket"),
            (forms(phone(MaskForm::HideBefore)), "roles[0].forms[0].separator"),
            (forms(phone(MaskForm::Fixed)), "roles[0].forms[0].fixed_text"),
            (forms(FieldForm { first: -1, ..phone(MaskForm::Keep) }), "roles[0].forms[0].first"),
            (forms(FieldForm { first: 1, last: 1_001, ..phone(MaskForm::Hide) }), "roles[0].forms[0].last"),
            (
                forms(FieldForm { condition: "rfm.r > 1".to_owned(), ..phone(MaskForm::Clear) }),
                "roles[0].forms[0].condition",
            ),
            (forms(FieldForm { purposes: vec![0], ..phone(MaskForm::Clear) }), "roles[0].forms[0].purposes"),
            (
                with(&|role| {
                    "false".clone_into(&mut role.row_scope);
                    role.methods.push(BEYOND_ROW_SCOPES[0].to_owned());
                }),
                "roles[0].methods[1]",
            ),
            (vec![role("care", &[]); MAX_ROLES + 1], "roles"),
        ];
        for (roles, field) in table {
            let error = check(&roles).unwrap_err();
            assert_eq!((error.code(), error.field()), (Code::InvalidArgument, Some(field)));
        }
        assert_eq!(check(&with(&|_| {})), Ok(()));
        assert_eq!(check(&[]), Ok(()));
    }

    #[test]
    fn an_impact_tells_who_gains_and_loses_what() {
        let shipped = [role("admin", &[GET, LIST]), role("support", &[GET, LIST])];
        let narrower = RolePolicy {
            forms: vec![form(Sensitivity::Phone, MaskForm::Partial)],
            row_scope: "owner == caller.subject".to_owned(),
            ..role("support", &[GET])
        };
        let own_before = [role("care", &[GET]), role("gone", &[LIST])];
        let own_after = [role("care", &[GET]), narrower, role("fresh", &[LIST])];
        let changes = impact(&effective(&shipped, &own_before), &effective(&shipped, &own_after));
        let told: Vec<_> = changes
            .iter()
            .map(|change| {
                (change.role.as_str(), change.change(), change.methods_gained.len(), change.methods_lost.len())
            })
            .collect();
        assert_eq!(
            told,
            [
                ("fresh", RoleChange::Added, 1, 0),
                ("gone", RoleChange::Removed, 0, 1),
                ("support", RoleChange::Changed, 0, 1)
            ]
        );
        let support = &changes[2];
        assert_eq!(support.methods_lost, [LIST]);
        assert_eq!(
            (support.row_scope_before.as_str(), support.row_scope_after.as_str()),
            ("", "owner == caller.subject")
        );
        assert_eq!((support.forms[0].before.len(), support.forms[0].after.len()), (0, 1));
        assert_eq!(impact(&effective(&shipped, &own_before), &effective(&shipped, &own_before)), []);
    }
}
