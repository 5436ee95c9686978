//! A tenant's own roles: published, in force, explained.

use crate::installation::{Installation, Process, by_secret, with_token};
use quintile_proto::access::{
    ExplainAccessRequest, FieldForm, GetPolicyRequest, GetPolicyVersionRequest, ListPolicyVersionsRequest, MaskForm,
    PolicyVersion, PreviewPolicyRequest, PublishPolicyRequest, RoleChange, RolePolicy,
};
use quintile_proto::types::{CustomerAttributes, Sensitivity};
use tonic::{Code, Status};

const GET: &str = "quintile.ingestion.v1.CustomerService/GetCustomer";

fn care() -> RolePolicy {
    RolePolicy {
        role: "care".to_owned(),
        methods: vec![GET.to_owned()],
        forms: vec![FieldForm {
            sensitivity: Sensitivity::Phone.into(),
            form: MaskForm::Clear.into(),
            condition: "owner == caller.subject".to_owned(),
            ..FieldForm::default()
        }],
        row_scope: "kind == \"customer\"".to_owned(),
        ..RolePolicy::default()
    }
}

async fn publish(
    process: &Process,
    token: &str,
    roles: Vec<RolePolicy>,
    expected: i64,
) -> Result<PolicyVersion, Status> {
    let request = PublishPolicyRequest { roles, comment: "for care".to_owned(), expected_version: expected };
    process.policies().publish_policy(with_token(token, request)).await.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn a_tenants_own_roles_are_previewed_published_and_in_force_for_it_alone() {
    for installation in Installation::on_every_database().await {
        let process = installation.start().await;
        let admin = process.token("admin", "").await;
        let preview = with_token(&admin, PreviewPolicyRequest { roles: vec![care()] });
        let impact = process.policies().preview_policy(preview).await.unwrap().into_inner();
        assert_eq!((impact.present_version, impact.roles.len()), (0, 1));
        assert_eq!(
            (impact.roles[0].change(), impact.roles[0].methods_gained.as_slice()),
            (RoleChange::Added, [GET.to_owned()].as_slice())
        );
        assert_eq!(
            process.tokens().issue_token(by_secret("care", "")).await.unwrap_err().code(),
            Code::InvalidArgument
        );

        let version = publish(&process, &admin, vec![care()], 0).await.unwrap();
        assert_eq!((version.name.as_str(), version.publisher.as_str()), ("policyVersions/1", "admin"));
        let care_token = process.token("care", "").await;
        let denied = process.policies().get_policy(with_token(&care_token, GetPolicyRequest {})).await.unwrap_err();
        assert_eq!(denied.code(), Code::PermissionDenied, "the role is known, and may not");
        let policy = process.policies().get_policy(with_token(&admin, GetPolicyRequest {})).await.unwrap().into_inner();
        assert_eq!(policy.tenant_roles[0].roles, [care()]);

        publish(&process, &admin, Vec::new(), 1).await.unwrap();
        let gone = process.policies().get_policy(with_token(&care_token, GetPolicyRequest {})).await.unwrap_err();
        assert_eq!(gone.code(), Code::Unauthenticated, "a token of a role that is gone");
    }
}

#[tokio::test]
async fn of_two_that_publish_from_one_version_the_second_is_refused_and_history_stays() {
    let process = Installation::new().start().await;
    let admin = process.token("admin", "").await;
    publish(&process, &admin, vec![care()], 0).await.unwrap();
    assert_eq!(publish(&process, &admin, Vec::new(), 0).await.unwrap_err().code(), Code::Aborted);
    publish(&process, &admin, Vec::new(), 1).await.unwrap();
    let mut listed = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListPolicyVersionsRequest { page_size: 1, page_token };
        let page = process.policies().list_policy_versions(with_token(&admin, request)).await.unwrap().into_inner();
        listed.extend(page.versions.into_iter().map(|version| (version.name, version.roles.len())));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(listed, [("policyVersions/2".to_owned(), 0), ("policyVersions/1".to_owned(), 1)]);
    for (name, code) in [
        ("policyVersions/3", Code::NotFound),
        ("policyVersions/01", Code::InvalidArgument),
        ("policyVersions/-1", Code::InvalidArgument),
        ("", Code::InvalidArgument),
    ] {
        let request = with_token(&admin, GetPolicyVersionRequest { name: name.to_owned() });
        assert_eq!(process.policies().get_policy_version(request).await.unwrap_err().code(), code, "{name}");
    }
}

#[tokio::test]
async fn an_explanation_says_what_decides_and_for_whom() {
    let process = Installation::new().start().await;
    let admin = process.token("admin", "").await;
    publish(&process, &admin, vec![care()], 0).await.unwrap();
    let ask = |role: &str, field: &str, owner: &str| ExplainAccessRequest {
        role: role.to_owned(),
        field: field.to_owned(),
        method: GET.to_owned(),
        subject: "ann".to_owned(),
        customer: Some(CustomerAttributes { kind: 1, owner: owner.to_owned(), ..CustomerAttributes::default() }),
        ..ExplainAccessRequest::default()
    };
    let phone = "quintile.ingestion.v1.Customer.phone";
    for (role, owner, form, usable) in [
        ("care", "ann", MaskForm::Clear, false),
        ("care", "bob", MaskForm::Redacted, false),
        ("support", "bob", MaskForm::Partial, false),
        ("admin", "bob", MaskForm::Clear, true),
    ] {
        let request = with_token(&admin, ask(role, phone, owner));
        let told = process.policies().explain_access(request).await.unwrap().into_inner();
        assert_eq!((told.form(), told.usable_in_queries, told.may_call), (form, usable, Some(true)), "{role} {owner}");
        assert_eq!(told.field_class(), Sensitivity::Phone);
        assert!(told.reaches_customer && told.reasons.len() >= 4, "{:?}", told.reasons);
    }
    for (role, field) in [
        ("nobody", phone),
        ("admin", "phone"),
        ("admin", "quintile.ingestion.v1.Customer.fax"),
        ("admin", "google.type.Date.year"),
    ] {
        let refused = process.policies().explain_access(with_token(&admin, ask(role, field, ""))).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{role} {field}");
    }
}
