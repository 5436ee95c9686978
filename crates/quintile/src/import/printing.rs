//! What a file is like, for people.

use crate::output::{table, thousands};
use quintile_import::report::{Report, TableReport};

/// Prints all of a report.
pub fn print(report: &Report) {
    report.tables.iter().for_each(print_table);
    let facts = report.facts.kinds.iter().map(|(kind, count)| {
        let totals = report.facts.totals.get(kind).into_iter().flatten();
        let totals: Vec<_> = totals.map(|(code, total)| format!("{total} {code}")).collect();
        vec![(*kind).to_owned(), thousands(count.facts), thousands(count.customers), totals.join(", ")]
    });
    say!("{}", table(&["facts", "number", "customers", "amount"], true, facts.collect()));
    print_remarks(report);
}

/// Prints the rejected lines of a report, if there are any.
pub fn print_rejects(report: &Report) {
    for file in report.tables.iter().filter(|file| file.rejected > 0) {
        say!("{}: {} of {} lines rejected:", file.file, thousands(file.rejected), thousands(file.lines));
        say!("{}", reasons(file));
        file.first_rejects.iter().for_each(|line| say!("  line {}: {} {}", line.line, line.field, line.message));
    }
}

fn print_table(file: &TableReport) {
    say!("{}: {} lines", file.file, thousands(file.lines));
    let mut fates: Vec<_> =
        file.used.iter().map(|(kind, lines)| vec![format!("become: {kind}"), thousands(*lines)]).collect();
    fates.extend(file.skipped.iter().map(|(name, lines)| vec![format!("left out: {name}"), thousands(*lines)]));
    fates.push(vec!["no fact is for them".to_owned(), thousands(file.unused)]);
    fates.push(vec!["rejected".to_owned(), thousands(file.rejected)]);
    fates.push(vec!["of these, without a customer".to_owned(), thousands(file.without_customer)]);
    if let Some(repeated) = file.repeated_lines {
        fates.push(vec!["distinct".to_owned(), thousands(file.lines - repeated)]);
        fates.push(vec!["the same as another".to_owned(), thousands(repeated)]);
    }
    say!("{}", table(&["lines", "number"], true, fates));
    if file.rejected > 0 {
        say!("{}", reasons(file));
        file.first_rejects.iter().for_each(|line| say!("  line {}: {} {}", line.line, line.field, line.message));
    }
    let nulls = file.nulls.iter().map(|(column, lines)| vec![column.clone(), thousands(*lines)]);
    say!("{}", table(&["column", "lines without a value"], true, nulls.collect()));
    if !file.ranges.is_empty() {
        let ranges = file.ranges.iter().map(|(field, range)| vec![field.clone(), range.min.clone(), range.max.clone()]);
        say!("{}", table(&["field", "least", "greatest"], true, ranges.collect()));
    }
}

fn reasons(file: &TableReport) -> comfy_table::Table {
    let rows = file
        .reasons
        .iter()
        .map(|reason| vec![reason.field.to_owned(), thousands(reason.lines), reason.message.to_owned()]);
    table(&["rejected for", "lines", "reason"], false, rows.collect())
}

/// Prints what is taken in and still worth a look.
pub fn print_remarks(report: &Report) {
    let remarks = [
        (
            report.facts.orders_of_several_instants,
            "Orders with lines of several instants (the earliest is the order's)",
        ),
        (
            report.facts.refunds_of_several_instants,
            "Refunds with lines of several instants (the earliest is the refund's)",
        ),
        (report.ids_of_several_customers, "Event ids of several customers (each has a fact of its own)"),
    ];
    for (count, remark) in remarks.iter().filter(|(count, _)| *count > 0) {
        say!("{remark}: {}.", thousands(*count));
    }
}
