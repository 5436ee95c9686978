//! Online Retail against its published control totals. The data are not ours to ship: `QUINTILE_DATA` names where they are.

use crate::read;
use quintile_import::bundled;
use std::path::PathBuf;

#[test]
fn online_retail_comes_to_its_control_totals() {
    let Some(data) = std::env::var_os("QUINTILE_DATA") else {
        eprintln!("SKIPPED: QUINTILE_DATA is not set, so there is no online_retail/online_retail.parquet to read");
        return;
    };
    let file = PathBuf::from(data).join("online_retail/online_retail.parquet");
    let mut prepared = read(&file, bundled("online-retail").unwrap(), 4 * 1024 * 1024).unwrap();
    let rejected = prepared.rows.by_ref().filter(|row| row.as_ref().unwrap().1.is_err());
    assert_eq!(rejected.count(), 0);
    let facts = prepared.rows.into_facts();
    let table = &prepared.report.tables[0];
    assert_eq!(table.lines, 541_909);
    assert_eq!((table.rejected, table.without_customer), (135_080, 135_080));
    assert_eq!(table.repeated_lines, Some(5_268));
    assert_eq!((table.used["order"], table.used["refund"]), (396_337, 8_539));
    assert_eq!(facts.kinds["order"].customers, 4_334);
    assert_eq!(facts.totals["order"]["GBP"].to_string(), "8761066.65");
    assert_eq!(facts.totals["refund"]["GBP"].to_string(), "474403.33");
    // Counted with plain Python: invoices among the sale lines, and among the cancellation lines.
    assert_eq!((facts.kinds["order"].facts, facts.kinds["refund"].facts), (18_402, 3_383));
    assert_eq!((facts.orders_of_several_instants, prepared.report.ids_of_several_customers), (30, 0));
}
