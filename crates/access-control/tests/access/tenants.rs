use crate::installation::{Installation, Process, with_token};
use quintile_proto::access::{CreateTenantRequest, ListTenantsRequest, RevenuePolicy, Tenant};
use tonic::{Code, Status};

async fn create(process: &Process, token: &str, id: &str, tenant: Option<Tenant>) -> Result<Tenant, Status> {
    let request = CreateTenantRequest { tenant_id: id.to_owned(), tenant };
    process.tenants().create_tenant(with_token(token, request)).await.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn a_tenant_is_there_for_the_next_call() {
    let process = Installation::new().start().await;
    let admin = process.token("admin", "").await;
    let asked = Tenant {
        // Both are ours to give.
        name: "tenants/other".to_owned(),
        number: 77,
        time_zone: "Asia/Shanghai".to_owned(),
        base_currency: "CNY".to_owned(),
        revenue_policy: RevenuePolicy::Netted.into(),
        ..Tenant::default()
    };
    let made = create(&process, &admin, "acme", Some(asked.clone())).await.unwrap();
    assert_eq!(made, Tenant { name: "tenants/acme".to_owned(), number: 2, ..asked });
    // A token of the new tenant passes the edge, which knows the tenant by now.
    let token = process.token("admin", "acme").await;
    let listed = process.tenants().list_tenants(with_token(&token, ListTenantsRequest {})).await.unwrap();
    let names: Vec<_> = listed.into_inner().tenants.into_iter().map(|tenant| tenant.name).collect();
    assert_eq!(names, ["tenants/acme"], "who else there is, is not for a tenant to know");
}

#[tokio::test]
async fn a_tenant_is_refused_when_its_id_is_taken_or_a_part_is_wrong() {
    let process = Installation::new().start().await;
    let admin = process.token("admin", "").await;
    assert_eq!(create(&process, &admin, "default", None).await.unwrap_err().code(), Code::AlreadyExists);
    assert_eq!(create(&process, &admin, "No Id", None).await.unwrap_err().code(), Code::InvalidArgument);
    let zone = Tenant { time_zone: "Mars/Olympus".to_owned(), ..Tenant::default() };
    assert_eq!(create(&process, &admin, "acme", Some(zone)).await.unwrap_err().code(), Code::InvalidArgument);
    let service = process.token("service", "").await;
    assert_eq!(create(&process, &service, "acme", None).await.unwrap_err().code(), Code::PermissionDenied);
}
