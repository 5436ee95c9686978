//! What was taken in, as rows of files. The columns of a file are those of the row of an empty message.

use super::table::{Cell, Row};
use anyhow::Context;
use quintile_domain::ids::CustomerId;
use quintile_domain::masking::REDACTED;
use quintile_domain::money::ExchangeRate as Rate;
use quintile_proto::ingestion::{
    AcquisitionSpend, Customer, CustomerFact, ExchangeRate, Feedback, Interaction, Order, OrderLine, Refund,
    SourceIdentity,
};
use quintile_proto::types::{CustomerAttributes, Purpose};
use quintile_rpc::convert::sent_instant;
use serde_json::{Map, Value, json};

/// The number of a customer. An empty name is that of no row, which gives the columns alone.
pub fn number(name: &str) -> anyhow::Result<Cell> {
    if name.is_empty() {
        return Ok(Cell::Int64(None));
    }
    let customer = CustomerId::from_name(name, None).context("the server sent a row without its customer")?;
    Ok(Cell::Int64(Some(customer.as_i64())))
}

/// The word of an enum's value, such as `page_view` of `INTERACTION_KIND_PAGE_VIEW`: as mappings of imports have it.
pub fn word(name: &str, prefix: &str) -> Cell {
    let word = name.strip_prefix(prefix).unwrap_or(name).to_lowercase();
    Cell::text(if word == "unspecified" { String::new() } else { word })
}

/// A text as JSON has it: what is hidden from the reader is null.
pub fn json_text(text: Option<&String>) -> Value {
    match Cell::shown(text.cloned()) {
        Cell::Text(Some(text)) => Value::String(text),
        _ => Value::Null,
    }
}

/// Texts as JSON, those that may be shown; none where there are none.
fn list(texts: &[String]) -> Cell {
    let shown: Vec<_> = texts.iter().filter(|text| *text != REDACTED).cloned().collect();
    if shown.is_empty() { Cell::Text(None) } else { Cell::text(Value::from(shown).to_string()) }
}

/// A row of `customers`.
pub fn customer(customer: Customer) -> anyhow::Result<Row> {
    let attributes = customer.attributes.unwrap_or_default();
    let identity =
        |identity: &SourceIdentity| json!({"source": identity.source, "id": json_text(identity.id.as_ref())});
    let identities: Vec<Value> = customer.identities.iter().map(identity).collect();
    let custom = customer.custom_attributes.iter();
    let custom: Map<_, _> =
        custom.map(|attribute| (attribute.key.clone(), json_text(attribute.text.as_ref()))).collect();
    let mut row = vec![
        ("customer", number(&customer.name)?),
        ("kind", word(attributes.kind().as_str_name(), "CUSTOMER_KIND_")),
        ("display_name", Cell::shown(customer.display_name)),
        ("phone", Cell::shown(customer.phone)),
        ("email", Cell::shown(customer.email)),
        ("address", Cell::shown(customer.address)),
        ("birth_date", Cell::date(customer.birth_date)),
        ("birth_year", Cell::Int32(customer.birth_date.map(|date| date.year))),
        ("referrer", Cell::shown(customer.referrer)),
        ("referrer_source", Cell::shown(customer.referrer_source)),
    ];
    row.extend(of_attributes(&attributes, "currency"));
    row.extend([
        ("identities", Cell::text(Value::from(identities).to_string())),
        ("custom_attributes", Cell::text(Value::from(custom).to_string())),
        ("create_time", Cell::instant(sent_instant(customer.create_time.as_ref()))),
        ("update_time", Cell::instant(sent_instant(customer.update_time.as_ref()))),
    ]);
    Ok(row)
}

/// The columns of attributes but the kind; `currency` is what the one of the customer's currency is called.
pub fn of_attributes(attributes: &CustomerAttributes, currency: &'static str) -> Row {
    let consent = |purpose| Cell::Text(consent(attributes, purpose).map(str::to_owned));
    vec![
        ("owner", Cell::text(attributes.owner.as_str())),
        ("region", Cell::shown(attributes.region.clone())),
        ("department", Cell::text(attributes.department.as_str())),
        ("language", Cell::text(attributes.language.as_str())),
        ("acquisition_channel", Cell::text(attributes.acquisition_channel.as_str())),
        ("acquisition_campaign", Cell::text(attributes.acquisition_campaign.as_str())),
        ("acquisition_date", Cell::date(attributes.acquisition_date)),
        ("country", Cell::shown(attributes.country.clone())),
        (currency, Cell::text(attributes.currency.as_str())),
        ("gender", Cell::shown(attributes.gender.clone())),
        ("income_band", Cell::shown(attributes.income_band.clone())),
        ("household", Cell::shown(attributes.household.clone())),
        ("interests", list(&attributes.interests)),
        ("values", list(&attributes.values)),
        ("consent_marketing", consent(Purpose::Marketing)),
        ("consent_profiling", consent(Purpose::Profiling)),
        ("consent_analytics", consent(Purpose::Analytics)),
        ("consent_support", consent(Purpose::Support)),
        ("consent_third_party", consent(Purpose::ThirdParty)),
    ]
}

/// What a customer says to a purpose, in the words of rules.
fn consent(attributes: &CustomerAttributes, purpose: Purpose) -> Option<&'static str> {
    if attributes.consents.contains(&purpose.into()) {
        Some("given")
    } else if attributes.objections.contains(&purpose.into()) {
        Some("objected")
    } else {
        None
    }
}

/// The columns that all facts about customers begin with.
fn of_customer(name: &str, identity: Option<SourceIdentity>, event_id: String) -> anyhow::Result<Row> {
    let SourceIdentity { source, id } = identity.unwrap_or_default();
    Ok(vec![
        ("customer", number(name)?),
        ("source", Cell::text(source)),
        ("source_customer_id", Cell::shown(id)),
        ("event_id", Cell::text(event_id)),
    ])
}

/// A row of `orders`, and rows of `order_lines`. `order_number` tells orders apart where their customers' ids are hidden.
pub fn order(order_number: u64, name: &str, order: Order) -> anyhow::Result<(Row, Vec<Row>)> {
    let begin = || of_customer(name, order.customer.clone(), order.event_id.clone());
    let number = || ("order_number", Cell::Int64(i64::try_from(order_number).ok()));
    let lines = order.lines.iter().enumerate().map(|(index, line)| {
        let mut row = vec![number()];
        row.extend(begin()?);
        row.extend(order_line(index, line));
        anyhow::Ok(row)
    });
    let lines = lines.collect::<anyhow::Result<_>>()?;
    let mut row = vec![number()];
    row.extend(begin()?);
    row.extend([
        ("order_time", Cell::instant(sent_instant(order.order_time.as_ref()))),
        ("channel", Cell::text(order.channel)),
        ("currency", Cell::currency([order.amount.as_ref(), order.profit.as_ref()])),
        ("amount", Cell::money(order.amount.as_ref())),
        ("profit", Cell::money(order.profit.as_ref())),
        ("lines", Cell::Int32(i32::try_from(order.lines.len()).ok())),
    ]);
    Ok((row, lines))
}

fn order_line(index: usize, line: &OrderLine) -> Row {
    vec![
        ("line", Cell::Int32(i32::try_from(index + 1).ok())),
        ("product", Cell::text(line.product.as_str())),
        ("category", Cell::text(line.category.as_str())),
        ("quantity", Cell::Int64(Some(line.quantity))),
        ("currency", Cell::currency([line.amount.as_ref(), line.cost.as_ref()])),
        ("amount", Cell::money(line.amount.as_ref())),
        ("cost", Cell::money(line.cost.as_ref())),
    ]
}

/// A row of `refunds`.
pub fn refund(name: &str, refund: Refund) -> anyhow::Result<Row> {
    let mut row = of_customer(name, refund.customer, refund.event_id)?;
    row.extend([
        ("refund_time", Cell::instant(sent_instant(refund.refund_time.as_ref()))),
        ("order_event_id", Cell::text(refund.order_event_id)),
        ("currency", Cell::currency([refund.amount.as_ref()])),
        ("amount", Cell::money(refund.amount.as_ref())),
    ]);
    Ok(row)
}

/// A row of `interactions`.
pub fn interaction(name: &str, interaction: Interaction) -> anyhow::Result<Row> {
    let kind = word(interaction.kind().as_str_name(), "INTERACTION_KIND_");
    let state = word(interaction.case_state().as_str_name(), "CASE_STATE_");
    let mut row = of_customer(name, interaction.customer, interaction.event_id)?;
    row.extend([
        ("interaction_time", Cell::instant(sent_instant(interaction.interaction_time.as_ref()))),
        ("kind", kind),
        ("channel", Cell::text(interaction.channel)),
        ("about", Cell::text(interaction.about)),
        ("case_state", state),
        ("text", Cell::shown(interaction.text)),
    ]);
    Ok(row)
}

/// A row of `feedback`.
pub fn feedback(name: &str, feedback: Feedback) -> anyhow::Result<Row> {
    let kind = word(feedback.kind().as_str_name(), "FEEDBACK_KIND_");
    let mut row = of_customer(name, feedback.customer, feedback.event_id)?;
    row.extend([
        ("feedback_time", Cell::instant(sent_instant(feedback.feedback_time.as_ref()))),
        ("kind", kind),
        ("score", Cell::Int32(feedback.score)),
        ("channel", Cell::text(feedback.channel)),
        ("about", Cell::text(feedback.about)),
        ("text", Cell::shown(feedback.text)),
    ]);
    Ok(row)
}

/// A row of the file of a fact other than an order.
pub fn fact(fact: CustomerFact) -> anyhow::Result<Row> {
    let name = &fact.customer;
    match (fact.refund, fact.interaction, fact.feedback) {
        (Some(it), None, None) => refund(name, it),
        (None, Some(it), None) => interaction(name, it),
        (None, None, Some(it)) => feedback(name, it),
        _ => anyhow::bail!("the server sent a fact of another kind than was asked for"),
    }
}

/// A row of `acquisition_spend`.
pub fn spend(spend: AcquisitionSpend) -> Row {
    vec![
        ("source", Cell::text(spend.source)),
        ("event_id", Cell::text(spend.event_id)),
        ("start_date", Cell::date(spend.start_date)),
        ("end_date", Cell::date(spend.end_date)),
        ("channel", Cell::text(spend.channel)),
        ("campaign", Cell::text(spend.campaign)),
        ("currency", Cell::currency([spend.amount.as_ref()])),
        ("amount", Cell::money(spend.amount.as_ref())),
    ]
}

/// A row of `exchange_rates`.
pub fn rate(rate: ExchangeRate) -> Row {
    vec![
        ("currency", Cell::text(rate.currency_code)),
        ("date", Cell::date(rate.date)),
        ("rate", Cell::Rate(Rate::parse(&rate.rate).map(Rate::nanos))),
    ]
}
