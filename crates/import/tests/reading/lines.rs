//! What comes of lines: filters, kinds, values, rejects and joins.

use crate::{facts_of, fault_of, read};
use quintile_proto::ingestion::row::Fact;
use quintile_proto::ingestion::{FeedbackKind, InteractionKind};

const SHOP: &str = r#"
source = "shop"
currency = "USD"
[[table]]
customer_id = "who"
[[table.skip]]
name = "tests"
when = { column = "note", starts_with = ["test", "demo"], ignore_case = true }
[[table.order]]
when = { column = "pieces", above = 0 }
event_id = { template = "{id}/{#line}" }
order_time = "at"
amount = { product = ["pieces", "price"], round = true }
line.product = { column = "note", default = "unknown", case = "lower" }
line.quantity = "pieces"
line.amount = { product = ["pieces", "price"], round = true }
[[table.refund]]
when = { column = "pieces", below = 0 }
event_id = "id"
refund_time = "at"
amount = { product = ["pieces", "price"], round = true, negate = true }
"#;

#[test]
fn one_line_becomes_an_order_a_refund_nothing_or_a_reject() {
    let content = b"who,id,at,pieces,price,note\n\
        ann,1,2024-01-01,3,0.335,PEN\n\
        ann,2,2024-01-02,-1,0.335,\n\
        ann,3,2024-01-03,0,5,\n\
        ,4,2024-01-04,1,1,\n\
        bo,5,2024-01-05,1,1,Test order\n\
        bo,6,yesterday,1,1,\n\
        bo,7,2024-01-07,one,1,\n\
        bo,8,2024-01-08,1,1,\n";
    let (facts, report) = facts_of(content, SHOP);
    let found: Vec<_> = facts
        .iter()
        .map(|(line, fact)| match fact {
            Fact::Order(order) => {
                let amount = order.amount.as_ref().unwrap();
                (*line, order.event_id.as_str(), amount.units, amount.nanos, order.lines[0].product.as_str())
            }
            Fact::Refund(refund) => {
                let amount = refund.amount.as_ref().unwrap();
                (*line, refund.event_id.as_str(), amount.units, amount.nanos, "")
            }
            other => panic!("{other:?}"),
        })
        .collect();
    // 1.005 is half way between 1.00 and 1.01, and 0 is even; 0.335 is half way between 0.33 and 0.34, and 4 is even.
    let expected = [(2, "1/2", 1, 0, "pen"), (3, "2", 0, 340_000_000, ""), (9, "8/9", 1, 0, "unknown")];
    assert_eq!(found, expected);
    let table = &report.tables[0];
    assert_eq!((table.lines, table.unused, table.rejected, table.without_customer), (8, 1, 3, 1));
    assert_eq!(table.skipped, [("tests".to_owned(), 1)]);
    let rejects: Vec<_> =
        table.first_rejects.iter().map(|reject| (reject.line, reject.field, reject.message)).collect();
    let expected =
        [(7, "order.order_time", "is not an instant of the mapping's format"), (8, "when", "is not a number")];
    assert_eq!(rejects, expected);
    let nulls: Vec<_> = table.nulls.iter().filter(|(_, lines)| *lines > 0).cloned().collect();
    assert_eq!(nulls, [("who".to_owned(), 1), ("note".to_owned(), 6)]);
    assert_eq!(report.facts.totals["order"]["USD"].to_string(), "2.00");
    assert_eq!(report.facts.totals["refund"]["USD"].to_string(), "0.34");
}

#[test]
fn a_finer_amount_is_rejected_where_the_mapping_does_not_round() {
    let mapping = SHOP.replace("round = true", "round = false");
    let (facts, report) = facts_of(b"who,id,at,pieces,price,note\nann,1,2024-01-01,1,0.335,pen\n", &mapping);
    assert!(facts.is_empty());
    assert!(report.tables[0].reasons[0].message.starts_with("has more decimals than the currency"));
}

#[test]
fn repeated_lines_are_counted_and_are_facts_all_the_same() {
    let line = "ann,1,2024-01-01,1,1,pen\n";
    let content = format!("who,id,at,pieces,price,note\n{line}{line}bo,2,2024-01-01,1,1,pen\n{line}");
    let (facts, report) = facts_of(content.as_bytes(), SHOP);
    assert_eq!((facts.len(), report.tables[0].repeated_lines), (4, Some(2)));
}

#[test]
fn an_order_that_lines_of_two_customers_name_is_reported() {
    let mapping = SHOP.replace("event_id = { template = \"{id}/{#line}\" }", "combine = true\nevent_id = \"id\"");
    let content = b"who,id,at,pieces,price,note\n\
        ann,1,2024-01-01,1,1,\nbo,1,2024-01-01,1,1,\nann,2,2024-01-01,1,1,\nann,2,2024-01-01,1,1,\nann,1,2024-01-01,1,1,\n";
    let (facts, report) = facts_of(content, &mapping);
    assert_eq!((facts.len(), report.ids_of_several_customers), (3, 1));
}

#[test]
fn every_kind_of_fact_comes_out_of_a_file() {
    let mapping = r#"
        source = "crm"
        currency = "USD"
        [[table]]
        customer_id = "who"
        [[table.exchange_rate]]
        currency_code = { constant = "EUR" }
        date = "at"
        rate = "n"
        [[table.acquisition_spend]]
        event_id = "id"
        start_date = "at"
        end_date = "at"
        channel = { constant = "search" }
        amount = "n"
        [[table.customer]]
        display_name = "text"
        birth_date = "at"
        attributes.kind = { column = "k", map = { v = "lead" } }
        attributes.region = { constant = "north" }
        identities.shop = "id"
        custom_attributes.plate = "text"
        [[table.interaction]]
        event_id = "id"
        interaction_time = "at"
        kind = { column = "k", map = { v = "page_view" } }
        [[table.feedback]]
        event_id = "id"
        feedback_time = "at"
        kind = { constant = "comment" }
        text = "text"
    "#;
    let (facts, report) = facts_of("who,id,at,n,k,text\nann,1,2024-02-29,1.50,v,\"hé\nllo\"\n".as_bytes(), mapping);
    let facts: Vec<_> = facts.into_iter().map(|(_, fact)| fact).collect();
    let [
        Fact::ExchangeRate(rate),
        Fact::AcquisitionSpend(spend),
        Fact::Customer(customer),
        Fact::Interaction(interaction),
        Fact::Feedback(feedback),
    ] = facts.as_slice()
    else {
        panic!("{facts:?}")
    };
    assert_eq!((rate.rate.as_str(), rate.date.as_ref().unwrap().day), ("1.5", 29));
    assert_eq!((spend.source.as_str(), spend.amount.as_ref().unwrap().nanos), ("crm", 500_000_000));
    let identities: Vec<_> =
        customer.identities.iter().map(|each| (each.source.as_str(), each.id.as_deref())).collect();
    assert_eq!(identities, [("crm", Some("ann")), ("shop", Some("1"))]);
    assert_eq!(customer.display_name.as_deref(), Some("hé llo"));
    assert_eq!(customer.custom_attributes[0].text.as_deref(), Some("hé llo"));
    assert_eq!(interaction.kind(), InteractionKind::PageView);
    assert_eq!((feedback.kind(), feedback.text.as_deref()), (FeedbackKind::Comment, Some("hé llo")));
    // Nothing of a person is in the report: not the birthday, which is a date like the others.
    let shown = format!("{report:?}");
    assert!(!shown.contains("llo") && !shown.contains("ann") && !shown.contains("birth_date"), "{shown}");
}

#[test]
fn columns_of_other_files_are_joined_and_a_line_without_one_has_no_value() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("orders.csv"), "id,c\n1,x\n2,y\n3,z\n").unwrap();
    std::fs::write(folder.path().join("people.csv"), "c,person\nx,p1\ny,p2\nx,late\n").unwrap();
    let mapping = r#"
        source = "s"
        currency = "USD"
        [[table]]
        file = "orders.csv"
        customer_id = "person"
        [[table.join]]
        file = "people.csv"
        on = "c"
        columns = ["person"]
        [[table.order]]
        event_id = "id"
        order_time = { constant = "2024-01-01" }
        amount = { constant = "1" }
    "#;
    let prepared = read(folder.path(), mapping, 4096).unwrap();
    assert_eq!(prepared.report.tables[0].without_customer, 1);
    let customers: Vec<_> = prepared
        .rows
        .map(|row| match row.unwrap().1 {
            Ok(row) => match row.fact.unwrap() {
                Fact::Order(order) => order.customer.unwrap().id.unwrap(),
                other => panic!("{other:?}"),
            },
            Err(problem) => panic!("{problem:?}"),
        })
        .collect();
    assert_eq!(customers, ["p1", "p2"]);
    let twice = mapping.replace("columns = [\"person\"]", "columns = [\"c\"]");
    let fault = read(folder.path(), &twice, 4096).err().unwrap().to_string();
    assert!(fault.contains("`table[0].join[0].columns` adds `c`, which is there already"), "{fault}");
}

#[test]
fn a_mapping_of_several_files_wants_their_folder() {
    let mapping = "source = \"s\"\n[[table]]\nfile = \"a.csv\"\ncustomer_id = \"id\"\n[[table.customer]]\n\
        [[table]]\nfile = \"b.csv\"\ncustomer_id = \"id\"\n[[table.customer]]\n";
    assert!(fault_of(b"id\n1\n", mapping).contains("the mapping reads a.csv, b.csv: name the folder that holds them"));
}
