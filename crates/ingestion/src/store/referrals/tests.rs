use crate::features::CustomerFacts;
use crate::store::town::{TENANT, Town, day, order, person};
use crate::store::{erasures, facts, rejects};
use quintile_domain::ids::CustomerId;
use quintile_proto::ingestion::{Customer, Reject, Row, row};
use quintile_store::numbers::Numbers;
use sea_orm::{ConnectionTrait, DbBackend, QueryTrait, Statement};

#[tokio::test]
async fn a_referrer_is_touched_by_what_can_change_its_number_and_by_nothing_else() {
    let mut town = Town::new().await;
    assert_eq!(town.take(vec![person("a", None)]).await, [1]);
    assert_eq!(town.take(vec![person("b", Some("a"))]).await, [2], "b has not bought");
    assert_eq!(town.take(vec![order("b", 5)]).await, [1, 2]);
    assert_eq!(town.take(vec![order("b", 6)]).await, [2], "not the first");
    assert_eq!(town.take(vec![order("b", 3)]).await, [1, 2], "an earlier first");
    assert_eq!(town.take(vec![person("b", Some("a"))]).await, [0_u32; 0], "nothing new");
    assert_eq!(town.take(vec![person("b", Some("a")), order("b", 9)]).await, [2], "nothing new beside an order");
    assert_eq!((town.referrals(1, 31).await, town.referrals(1, 4).await, town.referrals(1, 3).await), (1, 1, 0));
    assert_eq!(town.take(vec![order("c", 7), person("c", Some("a"))]).await, [1, 3]);
    assert_eq!(town.take(vec![person("c", Some("b"))]).await, [1, 2, 3], "re-said");
    assert_eq!((town.referrals(1, 31).await, town.referrals(2, 31).await), (1, 1));
    assert_eq!(town.take(vec![person("c", Some("later"))]).await, [2, 3]);
    assert_eq!(town.take(vec![order("later", 1), person("a", Some("a")), order("a", 1)]).await, [1, 4]);
    assert_eq!((town.referrals(4, 31).await, town.referrals(2, 31).await, town.referrals(1, 31).await), (1, 0, 1));
}

#[tokio::test]
async fn of_a_buyer_one_order_from_before_is_looked_for() {
    let town = Town::new().await;
    for numbers in [Numbers::List(vec![5, 7]), Numbers::Range(5, 900)] {
        let asked = super::with_order_before(TENANT, &numbers, day(1)).build(DbBackend::Sqlite);
        assert!(asked.sql.contains("LIMIT"), "{}", asked.sql);
        let plan = format!("EXPLAIN QUERY PLAN {}", asked.sql);
        let plan = Statement::from_sql_and_values(DbBackend::Sqlite, plan, asked.values.unwrap());
        let rows = town.database.reader().query_all_raw(plan).await.unwrap();
        let steps: Vec<String> = rows.iter().map(|row| row.try_get("", "detail").unwrap()).collect();
        let place = steps.iter().position(|step| step.starts_with("CORRELATED SCALAR SUBQUERY")).unwrap();
        let order = &steps[place + 1];
        assert!(order.contains("order_fact") && order.contains("(tenant_id=? AND subject_id=?)"), "{steps:?}");
    }
}

#[tokio::test]
async fn merges_move_referrals_and_parting_moves_them_back() {
    let mut town = Town::new().await;
    town.take(vec![person("a", None), person("b", None)]).await;
    town.take(vec![person("c", Some("a"))]).await;
    town.take(vec![person("d", Some("b")), order("d", 2)]).await;
    assert_eq!((town.referrals(1, 31).await, town.referrals(2, 31).await), (0, 1));
    // Of those who were sent, the one who said last whom by holds, and one has bought.
    assert_eq!(town.regroup(3, 4, true).await, [1, 2]);
    assert_eq!((town.referrals(1, 31).await, town.referrals(2, 31).await), (0, 1));
    // Of those who have sent them.
    assert_eq!(town.regroup(1, 2, true).await, [0_u32; 0]);
    assert_eq!(town.referrals(1, 31).await, 1);
    // Nobody has sent himself.
    assert_eq!(town.regroup(2, 3, true).await, [1]);
    assert_eq!(town.referrals(1, 31).await, 0);
    for (one, other) in [(2, 3), (1, 2), (3, 4)] {
        town.regroup(one, other, false).await;
    }
    assert_eq!((town.referrals(1, 31).await, town.referrals(2, 31).await), (0, 1));
}

#[tokio::test]
async fn who_is_erased_is_named_by_no_record_and_counts_with_nobody() {
    let mut town = Town::new().await;
    town.take(vec![person("a", None), person("b", Some("a")), order("b", 2), person("c", Some("a"))]).await;
    town.take(vec![person("d", Some("b")), order("d", 2)]).await;
    town.regroup(2, 3, true).await;
    town.take(vec![person("c", Some("d"))]).await;
    assert_eq!((town.referrals(1, 31).await, town.referrals(2, 31).await, town.referrals(4, 31).await), (0, 1, 1));
    for (gone, touched) in [(1, vec![1]), (4, vec![2, 4])] {
        assert_eq!(town.erase(gone).await, touched);
        let left = erasures::rows_left(town.database.reader(), TENANT, CustomerId(gone)).await.unwrap();
        assert_eq!(left, 0);
    }
    let named = town.customer(2).await;
    assert!(named.records().iter().all(|record| record.person.referrer.is_none()));
    assert_eq!(town.referrals(2, 31).await, 0);
    town.take(vec![person("a", None), person("d", None)]).await;
    assert_eq!((town.referrals(5, 31).await, town.referrals(6, 31).await), (0, 0));
}

#[tokio::test]
async fn refused_rows_that_name_who_is_erased_as_a_referrer_go_too_and_are_not_about_that_one() {
    let mut town = Town::new().await;
    town.take(vec![person("a", None)]).await;
    let said = |id: &str, referrer: &str, source: Option<&str>| {
        let Row { fact: Some(row::Fact::Customer(customer)) } = person(id, Some(referrer)) else { unreachable!() };
        let customer = Customer { referrer_source: source.map(str::to_owned), ..customer };
        Row { fact: Some(row::Fact::Customer(customer)) }
    };
    let rows = [said("b", "a", None), said("b", "a", Some("crm")), said("b", "c", None), said("b", "a", Some("shop"))];
    let refused = (0..4).map(|row| Reject { row, ..Reject::default() }).collect::<Vec<_>>();
    let transaction = town.database.begin().await.unwrap();
    rejects::write(&transaction, TENANT, &town.keys, ("s", 0), &rows, &refused, day(31)).await.unwrap();
    transaction.commit().await.unwrap();
    let customer = town.customer(1).await;
    let about = erasures::rejects_of(town.database.reader(), TENANT, &town.keys, &customer, 0).await.unwrap();
    assert_eq!(about.0, [], "they say who another is");
    town.erase(1).await;
    let left = rejects::page(town.database.reader(), TENANT, 0, 10).await.unwrap();
    assert_eq!(left.iter().map(|reject| reject.row_index).collect::<Vec<_>>(), [1, 2]);
}

#[tokio::test]
async fn whom_an_erasure_brings_to_light_is_touched_by_it() {
    let mut town = Town::new().await;
    town.take(vec![person("a", None), person("q", None)]).await;
    // Said at one instant: the one with the lower number is shown.
    town.take(vec![person("b", Some("a")), person("c", Some("q")), order("b", 2)]).await;
    town.regroup(3, 4, true).await;
    assert_eq!((town.referrals(1, 31).await, town.referrals(2, 31).await), (1, 0));
    town.touched().await;
    assert_eq!(town.erase(1).await, [1, 2]);
    assert_eq!(town.referrals(2, 31).await, 1);
}

#[tokio::test]
async fn who_is_named_is_heavy_by_all_who_name_it_and_their_orders() {
    let mut town = Town::new().await;
    town.take(vec![person("a", None), person("b", Some("a")), person("c", Some("a"))]).await;
    town.take(vec![order("c", 2), order("c", 3), person("d", Some("nobody")), order("d", 2)]).await;
    let read = facts::of_customers(town.database.reader(), &town.tenant, &[1, 2, 3].map(CustomerId)).await.unwrap();
    let read = [1, 2, 3].map(|number| read.get(&CustomerId(number)).map_or(0, CustomerFacts::read));
    assert_eq!(read, [4, 0, 2]);
    assert_eq!(town.referrals(1, 31).await, 1);
}
