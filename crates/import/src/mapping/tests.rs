use super::*;

const GOOD: &str = r#"
source = "shop"
currency = "EUR"
[[table]]
customer_id = "who"
[[table.order]]
event_id = "id"
order_time = "at"
amount = "paid"
"#;

fn fault(text: &str) -> String {
    Mapping::parse(text).unwrap_err().to_string()
}

#[test]
fn the_mappings_of_the_binary_are_well_formed() {
    for name in bundled("").unwrap_err() {
        Mapping::parse(bundled(name).unwrap()).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    Mapping::parse(GOOD).unwrap();
}

#[test]
fn an_error_names_the_key_and_what_to_do() {
    for (from, to, expected) in [
        ("source =", "sorce =", "`sorce` is not a key of mappings; did you mean `source`?"),
        ("amount =", "ammount =", "`table[0].order[0].amount` is needed, or `line.amount`"),
        (
            "amount = \"paid\"",
            "amount = \"paid\"\nchanel = \"c\"",
            "`table[0].order[0].chanel` is not a key of mappings; did you mean `channel`?",
        ),
        (
            "amount = \"paid\"",
            "amount = \"paid\"\nzzz = 1",
            "`table[0].order[0].zzz` is not a key of mappings; there are",
        ),
        ("currency = \"EUR\"", "currency = \"euro\"", "`currency` must be an ISO 4217 code"),
        ("currency = \"EUR\"", "", "`table[0].order[0].amount.currency` is needed"),
        ("currency = \"EUR\"", "time_zone = \"Mars\"", "`time_zone` must be an IANA time zone"),
        ("customer_id = \"who\"", "", "`table[0].customer_id` is needed"),
        ("source = \"shop\"", "", "`table[0].source` is needed"),
        ("[[table]]", "[table]", "`table` must be a list of tables: write `[[table]]`"),
        ("event_id = \"id\"", "", "`table[0].order[0].event_id` is needed"),
        ("event_id = \"id\"", "event_id = 7", "`table[0].order[0].event_id` must be the name of a column"),
        (
            "event_id = \"id\"",
            "event_id = { column = \"a\", constant = \"b\" }",
            "`table[0].order[0].event_id.column` is needed",
        ),
        (
            "event_id = \"id\"",
            "event_id = { template = \"{a\" }",
            "`table[0].order[0].event_id.template` must be a text with columns",
        ),
        (
            "order_time = \"at\"",
            "order_time = { column = \"at\", format = \"dd.mm\" }",
            "`table[0].order[0].order_time.format` must be",
        ),
        ("customer_id =", "delimiter = \";;\"\ncustomer_id =", "`table[0].delimiter` must be one character"),
        ("[[table.order]]", "[[table.skip]]\nname = \"x\"\n[[table.order]]", "`table[0].skip[0].when` is needed"),
        (
            "[[table.order]]",
            "[[table.skip]]\nname = \"x\"\nwhen = { column = \"a\", equal = \"b\" }\n[[table.order]]",
            "`table[0].skip[0].when.column` needs one test",
        ),
    ] {
        let text = GOOD.replace(from, to);
        assert_ne!(text, GOOD, "{from}");
        let found = fault(&text);
        assert!(found.contains(expected), "{to}\n  {found}\n  {expected}");
    }
}

#[test]
fn words_that_the_contract_does_not_know_are_refused_before_anything_is_read() {
    let feedback = |kind: &str| {
        format!(
            "source = \"s\"\n[[table]]\ncustomer_id = \"who\"\n[[table.feedback]]\n\
             event_id = \"id\"\nfeedback_time = \"at\"\nkind = {kind}\n"
        )
    };
    assert!(Mapping::parse(&feedback("{ constant = \"stars\" }")).is_ok());
    assert!(Mapping::parse(&feedback("{ column = \"k\", map = { a = \"NPS\", b = \"ces\" } }")).is_ok());
    let wrong =
        ["{ constant = \"smiles\" }", "{ column = \"k\", map = { a = \"smiles\" } }", "{ constant = \"unspecified\" }"];
    for wrong in wrong {
        assert!(fault(&feedback(wrong)).contains("`table[0].feedback[0].kind` can be"), "{wrong}");
    }
}

#[test]
fn several_tables_need_the_names_of_their_files() {
    let second = GOOD.replace("source = \"shop\"\ncurrency = \"EUR\"", "");
    assert!(fault(&format!("{GOOD}{second}")).contains("`table[0].file` is needed"));
}
