//! Requests that are known again.

use quintile_domain::ids::TenantId;
use quintile_domain::time::Instant;
use quintile_store::idempotency::{Request, body_hash, earlier_result, remember};
use quintile_store::{Database, Result, StoreError};
use quintile_tests::{TENANT, TestStore, on_both_databases};
use std::sync::Arc;
use tokio::sync::Barrier;

on_both_databases! {
    a_request_is_known_by_tenant_method_and_id,
    a_request_that_comes_with_another_body_is_refused,
    a_request_is_remembered_only_with_what_it_made,
    of_two_requests_at_once_exactly_one_is_carried_out,
}

const REQUEST: Request<'static> =
    Request { tenant: TENANT, method: "CreateCustomer", id: "a-1", body: b"name: Zo\xc3\xab" };
const NOW: Instant = Instant::from_micros(1_700_000_000_000_000);

async fn known(database: &Database, request: Request<'_>) -> Option<String> {
    earlier_result(database.reader(), request).await.unwrap()
}

async fn carry_out(database: &Database, request: Request<'_>, resource: &str) -> Result<()> {
    let transaction = database.begin().await?;
    remember(&transaction, request, resource, NOW).await?;
    transaction.commit().await?;
    Ok(())
}

async fn a_request_is_known_by_tenant_method_and_id(store: TestStore) {
    let others = [
        Request { tenant: TenantId(TENANT.0 + 1), ..REQUEST },
        Request { method: "CreateSegment", ..REQUEST },
        Request { method: "createcustomer", ..REQUEST },
        Request { id: "a-2", ..REQUEST },
        Request { id: "A-1", ..REQUEST },
        Request { id: "a-1 ", ..REQUEST },
        Request { id: "", ..REQUEST },
    ];
    assert_eq!(known(&store.database, REQUEST).await, None);
    carry_out(&store.database, REQUEST, "customers/1").await.unwrap();
    for other in others {
        // With another body on purpose: what is not the same request can't conflict with it.
        assert_eq!(known(&store.database, Request { body: b"other", ..other }).await, None, "{other:?}");
    }
    for (number, other) in others.into_iter().enumerate() {
        carry_out(&store.database, other, &format!("others/{number}")).await.unwrap();
    }
    assert_eq!(known(&store.open_again().await, REQUEST).await.as_deref(), Some("customers/1"));
    for (number, other) in others.into_iter().enumerate() {
        assert_eq!(known(&store.database, other).await, Some(format!("others/{number}")));
    }
}

async fn a_request_that_comes_with_another_body_is_refused(store: TestStore) {
    carry_out(&store.database, REQUEST, "customers/1").await.unwrap();
    carry_out(&store.database, Request { id: "empty", body: b"", ..REQUEST }, "customers/2").await.unwrap();
    let conflicts = [
        Request { body: b"", ..REQUEST },
        Request { body: b"name: Zo\xc3\xaa", ..REQUEST },
        Request { body: b"name: Zo\xc3\xab ", ..REQUEST },
        Request { id: "empty", body: &[0], ..REQUEST },
    ];
    for conflict in conflicts {
        let outcome = earlier_result(store.database.reader(), conflict).await;
        assert!(matches!(outcome, Err(StoreError::RequestConflict)), "{conflict:?}: {outcome:?}");
    }
    assert_eq!(known(&store.database, REQUEST).await.as_deref(), Some("customers/1"));
    assert_ne!(body_hash(b"a"), body_hash(b"b"));
}

async fn a_request_is_remembered_only_with_what_it_made(store: TestStore) {
    let transaction = store.database.begin().await.unwrap();
    remember(&transaction, REQUEST, "customers/1", NOW).await.unwrap();
    assert_eq!(earlier_result(&transaction, REQUEST).await.unwrap().as_deref(), Some("customers/1"));
    assert_eq!(known(&store.database, REQUEST).await, None);
    transaction.rollback().await.unwrap();
    assert_eq!(known(&store.database, REQUEST).await, None);
    carry_out(&store.database, REQUEST, "customers/2").await.unwrap();
    assert_eq!(known(&store.database, REQUEST).await.as_deref(), Some("customers/2"));
}

async fn of_two_requests_at_once_exactly_one_is_carried_out(store: TestStore) {
    let replicas = [store.open_again().await, store.open_again().await];
    for round in 0..10 {
        let both_new = Arc::new(Barrier::new(2));
        let callers = [0, 1].map(|caller: usize| {
            let (database, both_new) = (replicas[caller].clone(), both_new.clone());
            tokio::spawn(async move {
                let id = format!("round {round}");
                let request = Request { id: &id, ..REQUEST };
                assert_eq!(known(&database, request).await, None);
                both_new.wait().await;
                carry_out(&database, request, &format!("customers/{caller}")).await
            })
        });
        let mut carried_out = Vec::new();
        for (caller, ended) in callers.into_iter().enumerate() {
            match ended.await.unwrap() {
                Ok(()) => carried_out.push(format!("customers/{caller}")),
                Err(StoreError::Database(_)) => {}
                Err(other) => panic!("the second is told to come again, not {other:?}"),
            }
        }
        let id = format!("round {round}");
        assert_eq!(carried_out.len(), 1, "{id}");
        assert_eq!(known(&store.database, Request { id: &id, ..REQUEST }).await.as_ref(), carried_out.first());
    }
}
