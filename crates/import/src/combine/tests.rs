use super::*;
use crate::sort::Sorter;
use quintile_proto::ingestion::SourceIdentity;
use quintile_proto::ingestion::row::Fact;

fn pounds(minor: i64) -> Money {
    convert::money(Currency::from_code("GBP").unwrap(), minor)
}

fn order_of(customer: &str, event_id: &str, seconds: i64, product: &str, minor: i64) -> Order {
    Order {
        customer: Some(SourceIdentity { source: "shop".to_owned(), id: Some(customer.to_owned()) }),
        event_id: event_id.to_owned(),
        order_time: Some(prost_types::Timestamp { seconds, nanos: 0 }),
        lines: vec![OrderLine {
            product: product.to_owned(),
            quantity: 2,
            amount: Some(pounds(minor)),
            ..OrderLine::default()
        }],
        ..Order::default()
    }
}

/// What comes of orders in the order of a file, sorted with next to no memory.
fn combined(orders: Vec<Order>, combine: bool) -> (Vec<(Place, Combined)>, Facts) {
    let directory = tempfile::tempdir().unwrap();
    let mut sorter = Sorter::new(directory.path(), 512);
    for (index, order) in orders.into_iter().enumerate() {
        let (customer, event_id) = (order.customer.clone().unwrap().id.unwrap(), order.event_id.clone());
        let mut key = Vec::new();
        let fact = FactKey {
            source: "shop",
            customer: &customer,
            kind: Kind::Order,
            combined_by: combine.then_some(event_id.as_str()),
            place: Place { table: 0, line: index as u64 + 2 },
            fact: 0,
        };
        fact.write(&mut key);
        sorter.push(&key, &Row { fact: Some(Fact::Order(order)) }.encode_to_vec()).unwrap();
    }
    let mut rows = Rows::new(sorter.finish().unwrap());
    let all = rows.by_ref().map(|row| row.unwrap()).collect();
    (all, rows.into_facts())
}

fn orders(combined: Vec<(Place, Combined)>) -> Vec<(u64, Order)> {
    let order = |(place, combined): (Place, Combined)| match combined {
        Ok(Row { fact: Some(Fact::Order(order)) }) => (place.line, order),
        other => panic!("{other:?}"),
    };
    combined.into_iter().map(order).collect()
}

#[test]
fn the_lines_of_an_invoice_become_one_order_wherever_they_are_in_the_file() {
    let lines = vec![
        order_of("b", "1", 50, "pen", 100),
        order_of("a", "2", 60, "ink", 250),
        order_of("b", "1", 40, "pad", 5),
        order_of("b", "3", 70, "pen", 7),
        order_of("a", "2", 60, "ink", 250),
    ];
    let (rows, facts) = combined(lines, true);
    let found: Vec<_> = orders(rows)
        .into_iter()
        .map(|(line, order)| {
            let products: Vec<_> = order.lines.iter().map(|line| line.product.clone()).collect();
            (line, order.event_id, order.order_time.unwrap().seconds, order.amount.unwrap(), products.join(" "))
        })
        .collect();
    let expected = [
        (3, "2".to_owned(), 60, pounds(500), "ink ink".to_owned()),
        (2, "1".to_owned(), 40, pounds(105), "pen pad".to_owned()),
        (5, "3".to_owned(), 70, pounds(7), "pen".to_owned()),
    ];
    assert_eq!(found, expected);
    assert_eq!(facts.orders_of_several_instants, 1);
    assert_eq!((facts.kinds["order"].facts, facts.kinds["order"].customers), (3, 2));
    assert_eq!(facts.totals["order"]["GBP"].to_string(), "6.12");
}

#[test]
fn lines_that_are_not_to_be_combined_stay_orders_of_their_own() {
    let (rows, _) = combined(vec![order_of("a", "1", 1, "pen", 1), order_of("a", "1", 1, "pen", 1)], false);
    assert_eq!(orders(rows).len(), 2);
}

#[test]
fn of_more_than_200_lines_the_smallest_become_one_and_the_amount_stays_whole() {
    // 6,000 are more than are held before the smallest are put together the first time.
    for count in [200_i64, 201, 6_000] {
        let lines = (1..=count).map(|minor| order_of("a", "1", 1, &format!("p{minor}"), minor)).collect();
        let mut found = orders(combined(lines, true).0);
        let order = found.pop().unwrap().1;
        assert_eq!(order.amount, Some(pounds(count * (count + 1) / 2)), "{count}");
        assert_eq!(order.lines.len(), 200, "{count}");
        assert_eq!(order.lines.iter().map(|line| line.quantity).sum::<i64>(), 2 * count, "{count}");
        let of_lines: i64 = order.lines.iter().map(|line| minor(line.amount.as_ref())).sum();
        assert_eq!(of_lines, count * (count + 1) / 2, "{count}");
        let last = order.lines.last().unwrap();
        if count == 200 {
            assert_eq!(last.product, "p200");
        } else {
            let small = count - 199;
            assert_eq!((last.product.as_str(), &last.amount), ("other", &Some(pounds(small * (small + 1) / 2))));
            assert_eq!(order.lines[0].product, format!("p{}", small + 1));
        }
    }
}

#[test]
fn an_amount_of_its_own_is_not_the_sum_of_the_lines() {
    let mut paid = order_of("a", "1", 1, "", 0);
    paid.lines.clear();
    paid.amount = Some(pounds(90));
    let (rows, _) = combined(vec![order_of("a", "1", 1, "pen", 100), paid.clone(), paid], true);
    let order = orders(rows).remove(0).1;
    assert_eq!((order.amount, order.lines.len()), (Some(pounds(180)), 1));
}

#[test]
fn an_order_in_two_currencies_or_without_an_amount_is_rejected_and_the_others_are_not() {
    let mut euros = order_of("a", "1", 1, "pen", 100);
    euros.lines[0].amount.as_mut().unwrap().currency_code = "EUR".to_owned();
    let mut nothing = order_of("a", "2", 1, "pen", 100);
    nothing.lines[0].amount = None;
    let (rows, _) =
        combined(vec![order_of("a", "1", 1, "pen", 100), euros, nothing, order_of("a", "3", 1, "pen", 1)], true);
    let fates: Vec<_> = rows
        .iter()
        .map(|(place, combined)| match combined {
            Ok(_) => (place.line, None),
            Err(problem) => (place.line, Some(problem.field)),
        })
        .collect();
    assert_eq!(fates, [(2, Some("order.amount")), (4, Some("order.amount")), (5, None)]);
}

#[test]
fn places_sort_as_their_bytes_do() {
    let places = [(0, 1), (0, 256), (0, 65_537), (1, 1), (256, 0)].map(|(table, line)| Place { table, line });
    assert!(places.map(Place::to_bytes).is_sorted());
    assert_eq!(places.map(|place| Place::from_bytes(place.to_bytes())), places);
}
