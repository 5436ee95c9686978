use super::{Batch, BatchId, Outcome};
use crate::store::rejects;
use crate::store::town::{TENANT, Town, order, person};
use quintile_proto::ingestion::{IngestResponse, Order, Reject, Row, row};
use quintile_store::StoreError;
use sea_orm::ConnectionTrait;

/// An order of a day as it is told otherwise.
fn otherwise(id: &str, at: u32) -> Row {
    let Row { fact: Some(row::Fact::Order(told)) } = order(id, at) else { unreachable!() };
    let told = Order { channel: "store".to_owned(), ..told };
    Row { fact: Some(row::Fact::Order(told)) }
}

fn acknowledged(outcomes: &[Outcome]) -> Vec<(i64, i64, Vec<i32>)> {
    let answer = |outcome: &Outcome| match outcome {
        Outcome::Acknowledged(IngestResponse { applied, duplicates, rejects, .. }) => {
            (*applied, *duplicates, rejects.iter().map(|reject| reject.row).collect())
        }
        other => panic!("{other:?}"),
    };
    outcomes.iter().map(answer).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_batches_that_come_together_the_first_holds() {
    for _ in 0..20 {
        let mut town = Town::new().await;
        let many: Vec<Row> =
            (0..500).flat_map(|customer| [1, 2].map(|day| order(&format!("c{customer}"), day))).collect();
        let batches = vec![
            town.batch(many),
            town.batch(vec![person("new", None), otherwise("c7", 1), order("c7", 2), order("c7", 3)]),
            town.batch(vec![otherwise("c7", 3), order("c7", 3)]),
        ];
        let outcomes = town.take_in(batches).await.unwrap();
        assert_eq!(acknowledged(&outcomes), [(1_000, 0, vec![]), (2, 1, vec![1]), (0, 1, vec![0])]);
        assert_eq!(town.touched().await.len(), 501);
    }
}

/// Batches that together do not fit on a full disk, one of them with a row that is refused.
fn too_many(town: &mut Town, first: u32) -> Vec<Batch> {
    let orders = |from: u32, to: u32| (from..to).map(|customer| order(&format!("c{customer}"), 1)).collect::<Vec<_>>();
    let refused = Reject { row: 0, ..Reject::default() };
    let some = Batch { rejects: vec![refused], ..town.batch(orders(0, first)) };
    vec![some, town.batch(orders(first, 600)), town.batch(orders(600, 900))]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_failed_is_told_and_nothing_is_kept_of_what_came_with_it() {
    for (first, is_request) in [(1, false), (300, false), (300, true)] {
        let mut town = Town::new().await;
        town.take(vec![person("there", None)]).await;
        // No page more than there are: as on a full disk.
        town.database.writer().execute_unprepared("PRAGMA max_page_count = 1").await.unwrap();
        let mut batches = too_many(&mut town, first);
        if is_request {
            let request_id = "0b6f3c6e-0e4e-4a5b-9f6e-0d7f8c1a2b3c".to_owned();
            batches = vec![Batch { id: BatchId::Request { request_id, body: Vec::new() }, ..batches.remove(1) }];
        }
        let refused = town.take_in(batches).await;
        assert!(matches!(refused, Err(StoreError::Full)), "{first}: {refused:?}");
        town.database.writer().execute_unprepared("PRAGMA max_page_count = 1000000").await.unwrap();
        assert_eq!(town.touched().await, [0_u32; 0]);
        town.again_from(1);
        assert_eq!(town.take(vec![order("new", 1)]).await, [2], "numbers are given again");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_reject_is_seen_to_once_however_many_see_to_it_together() {
    let mut town = Town::new().await;
    let refused = Reject { row: 0, ..Reject::default() };
    let batch = Batch { facts: Vec::new(), rejects: vec![refused], ..town.batch(vec![order("a", 1)]) };
    town.take_in(vec![batch]).await.unwrap();
    let kept = rejects::page(town.database.reader(), TENANT, 0, 10).await.unwrap();
    let id = || BatchId::Reject { reject_id: kept[0].reject_id };
    let replays = [order("a", 1), order("a", 2)].map(|row| Batch { id: id(), ..town.batch(vec![row]) });
    let outcomes = town.take_in(replays.into()).await.unwrap();
    assert!(matches!(outcomes.as_slice(), [Outcome::Acknowledged(_), Outcome::Gone]), "{outcomes:?}");
}
