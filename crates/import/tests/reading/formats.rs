//! How files are written: delimiters, headers, quotes, line ends, blanks, numbers, dates.

use crate::{facts_of, fault_of};
use quintile_proto::ingestion::Customer;
use quintile_proto::ingestion::row::Fact;

/// A mapping that takes names in, with these keys of the table.
fn names(layout: &str) -> String {
    format!("source = \"s\"\n[[table]]\n{layout}\ncustomer_id = \"id\"\n[[table.customer]]\ndisplay_name = \"name\"\n")
}

/// (line, id, name) of each customer.
fn customers(content: &[u8], layout: &str) -> Vec<(u64, String, Option<String>)> {
    let (facts, report) = facts_of(content, &names(layout));
    assert_eq!(report.tables[0].rejected, 0, "{:?}", report.tables[0].reasons);
    let customer = |(line, fact)| match fact {
        Fact::Customer(Customer { mut identities, display_name, .. }) => {
            (line, identities.remove(0).id.unwrap(), display_name)
        }
        other => panic!("{other:?}"),
    };
    facts.into_iter().map(customer).collect()
}

fn said(line: u64, id: &str, name: &str) -> (u64, String, Option<String>) {
    (line, id.to_owned(), Some(name.to_owned()))
}

#[test]
fn lines_are_numbered_as_an_editor_numbers_them_whatever_ends_them() {
    for end in ["\n", "\r\n"] {
        let content = ["id,name", "1,Ann", "", "2,\"Bo", "Li\"", "3,Cy"].join(end);
        for trailing in ["", end] {
            let content = format!("{content}{trailing}");
            assert_eq!(
                customers(content.as_bytes(), ""),
                [said(2, "1", "Ann"), said(4, "2", "Bo Li"), said(6, "3", "Cy")],
                "{content:?}"
            );
        }
    }
}

#[test]
fn a_delimiter_a_quote_and_a_line_break_may_stand_in_quotes() {
    let content = b"id;name\n1;\"a;b\"\n2;\"say \"\"hi\"\"\"\n";
    assert_eq!(customers(content, "delimiter = \";\""), [said(2, "1", "a;b"), said(3, "2", "say \"hi\"")]);
    let content = b"name\tid\nAnn\t1\n";
    assert_eq!(customers(content, "delimiter = \"\\t\""), [said(2, "1", "Ann")]);
}

#[test]
fn columns_may_be_named_by_the_mapping_and_lines_above_them_left_out() {
    assert_eq!(customers(b"1,Ann\n", "columns = [\"id\", \"name\"]"), [said(1, "1", "Ann")]);
    let layout = "columns = [\"id\", \"name\"]\nskip_lines = 1";
    assert_eq!(customers(b"whatever,this,is\n1,Ann\n", layout), [said(2, "1", "Ann")]);
    assert_eq!(customers(b"a report\nid,name\n1,Ann\n", "skip_lines = 1"), [said(3, "1", "Ann")]);
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_first_column() {
    assert_eq!(customers(b"\xEF\xBB\xBFid,name\n1,Ann\n", ""), [said(2, "1", "Ann")]);
}

#[test]
fn fields_may_be_apart_by_blanks() {
    let content = b"  id   name \r\n\r\n 1  Ann\r\n\t2 Bo \r\n";
    assert_eq!(customers(content, "format = \"blanks\""), [said(3, "1", "Ann"), said(4, "2", "Bo")]);
}

#[test]
fn blanks_around_a_value_do_not_count_and_nulls_are_no_values() {
    let content = b"id,name\n 1 , Ann \n2,NA\n3,\n";
    let found = customers(content, "null = [\"\", \"NA\"]");
    assert_eq!(found, [said(2, "1", "Ann"), (3, "2".to_owned(), None), (4, "3".to_owned(), None)]);
}

#[test]
fn a_line_that_is_no_text_or_too_short_or_too_long_is_rejected_and_the_others_go_on() {
    let (facts, report) = facts_of(b"id,name\n1,\xFF\n2\n3,c,d\n4,Ann\n", &names(""));
    assert_eq!(facts.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [5]);
    let lines: Vec<_> = report.tables[0].first_rejects.iter().map(|reject| (reject.line, reject.field)).collect();
    assert_eq!(lines, [(2, "line"), (3, "line"), (4, "line")]);
}

#[test]
fn a_quote_that_is_left_open_ends_the_import_before_it_fills_the_memory() {
    let mut content = b"id,name\n1,\"open\n".to_vec();
    content.extend(b"2,Ann\n".repeat(400_000));
    let fault = fault_of(&content, &names(""));
    assert!(fault.contains("line 2: more than 1 MiB"), "{fault}");
}

#[test]
fn a_column_that_is_not_there_is_named_with_the_nearest_one() {
    let fault = fault_of(b"id,nam\n1,Ann\n", &names(""));
    assert_eq!(
        fault,
        "mapping: `table[0].customer[0].display_name.column` names the column `name`, which is not there; did you mean `nam`?"
    );
}

#[test]
fn numbers_dates_and_time_zones_are_read_as_the_mapping_says() {
    let mapping = r#"
        source = "s"
        currency = "EUR"
        decimal = ","
        thousands = "."
        time_zone = "Europe/Berlin"
        [[table]]
        delimiter = ";"
        customer_id = "who"
        [[table.order]]
        event_id = "id"
        order_time = { column = "day", format = "%d.%m.%Y" }
        amount = "paid"
        profit = { column = "lost", negate = true }
    "#;
    let (facts, report) = facts_of(b"who;id;day;paid;lost\n7;a;01.07.1998;1.234,50;0,75\n", mapping);
    let Fact::Order(order) = &facts[0].1 else { panic!("{facts:?}") };
    let money = |units, nanos| quintile_proto::google_type::Money { currency_code: "EUR".to_owned(), units, nanos };
    assert_eq!(order.amount, Some(money(1_234, 500_000_000)));
    assert_eq!(order.profit, Some(money(0, -750_000_000)));
    // Midnight in Berlin is two hours before midnight in UTC in summer.
    assert_eq!(order.order_time.as_ref().unwrap().seconds, 899_244_000);
    assert_eq!(report.tables[0].ranges["order.order_time"].min, "1998-06-30T22:00:00Z");
    assert_eq!(report.tables[0].ranges["order.amount EUR"].max, "1234.50");
}
