//! Offers, for people: made of a file, granted, redeemed and retired, and how much use is made of them.

use crate::commands::CallerArgs;
use crate::config::Role;
use crate::output::{self, Format, instant, money, plain, thousands};
use crate::playbooks::say_who_grants;
use crate::remote::{Session, connect};
use clap::{Subcommand, ValueEnum};
use prost::Message;
use quintile_proto::lifecycle::offer_service_client::OfferServiceClient;
use quintile_proto::lifecycle::step::Action;
use quintile_proto::lifecycle::{
    Benefit, CreateOfferRequest, GetOfferRequest, GetOfferUseRequest, Grant, GrantOfferRequest, GrantState,
    ListGrantsRequest, ListGrantsResponse, ListOffersRequest, ListOffersResponse, Offer, OfferState, OfferUse,
    RedeemGrantRequest, RetireOfferRequest, RevokeGrantRequest, UpdateOfferRequest, benefit,
};
use quintile_rpc::client::Channel;
use std::path::{Path, PathBuf};

/// Grants that are listed at most.
const LISTED: usize = 100;
/// Offers in a page.
const PAGE: i32 = 200;

#[derive(Debug, Subcommand)]
pub enum OffersCommand {
    /// Lists the offers
    List {
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Tells of an offer, and what use is made of it
    Show {
        /// `offers/{id}`, or the id
        name: String,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Makes an offer of a file, which can be granted at once
    Create {
        /// The id, such as `ten-percent`
        id: String,
        /// A file that holds it as protobuf's JSON, as `show -o json` prints it
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Grants an offer to nobody for the time being
    Pause {
        /// `offers/{id}`, or the id
        name: String,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Grants an offer again that was paused
    Resume {
        /// `offers/{id}`, or the id
        name: String,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Ends an offer for good: what was granted can still be redeemed
    Retire {
        /// `offers/{id}`, or the id
        name: String,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Lists grants, the last granted first: the first 100
    Grants {
        /// Of one customer, `customers/{number}` [default: everybody's]
        #[arg(long, value_name = "NAME", default_value = "customers/-", hide_default_value = true)]
        customer: String,
        /// Of one offer, `offers/{id}` or the id [default: of all]
        #[arg(long, value_name = "OFFER")]
        offer: Option<String>,
        /// Of these states [default: all]
        #[arg(long, value_enum)]
        state: Vec<State>,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Grants an offer to a customer by hand
    Grant {
        /// `offers/{id}`, or the id
        name: String,
        /// `customers/{number}`, or the number
        customer: String,
        /// A UUID by which the request is known again
        #[arg(long, value_name = "UUID", default_value = "", hide_default_value = true)]
        request_id: String,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Notes that a grant was redeemed by an order
    Redeem {
        /// `customers/{number}/grants/{id}`, or its code
        grant: String,
        /// The order, as the shop calls it
        order: String,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Takes a grant back
    Revoke {
        /// `customers/{number}/grants/{id}`
        grant: String,
        #[command(flatten)]
        caller: CallerArgs,
    },
}

/// What has become of a grant.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum State {
    /// It can be redeemed
    Open,
    /// It was redeemed
    Redeemed,
    /// It was not redeemed in time
    Expired,
    /// It was taken back
    Revoked,
}

impl From<State> for i32 {
    fn from(state: State) -> Self {
        let state = match state {
            State::Open => GrantState::Open,
            State::Redeemed => GrantState::Redeemed,
            State::Expired => GrantState::Expired,
            State::Revoked => GrantState::Revoked,
        };
        state.into()
    }
}

/// The name of something that is named, or of which the id is told.
fn named(collection: &str, name: String) -> String {
    if name.starts_with(&format!("{collection}/")) { name } else { format!("{collection}/{name}") }
}

/// A command's connection.
struct Asker<'a> {
    channel: Channel,
    client: OfferServiceClient<Channel>,
    session: Session,
    caller: &'a CallerArgs,
}

impl<'a> Asker<'a> {
    async fn begin(caller: &'a CallerArgs) -> anyhow::Result<Self> {
        let (config, session) = caller.session().await?;
        let channel = connect(&config, Role::Lifecycle)?;
        Ok(Self { client: OfferServiceClient::new(channel.clone()), channel, session, caller })
    }

    /// Prints an answer as JSON, or as a person reads it.
    fn show<T: Message>(&self, answer: &T, name: &str, show: impl FnOnce(&T)) -> anyhow::Result<()> {
        match self.caller.output {
            Format::Json => say!("{}", output::json(answer, &format!("quintile.lifecycle.v1.{name}"))?),
            Format::Table => show(answer),
        }
        Ok(())
    }

    fn show_offer(&self, offer: &Offer) -> anyhow::Result<()> {
        self.show(offer, "Offer", |offer| show_offers(std::slice::from_ref(offer)))
    }

    fn show_grant(&self, grant: &Grant) -> anyhow::Result<()> {
        self.show(grant, "Grant", |grant| show_grants(std::slice::from_ref(grant)))
    }
}

/// Runs a command.
pub async fn run(command: OffersCommand) -> anyhow::Result<()> {
    match command {
        OffersCommand::List { caller } => list(&caller).await,
        OffersCommand::Show { name, caller } => show(&caller, named("offers", name)).await,
        OffersCommand::Create { id, file, caller } => create(&caller, id, &file).await,
        OffersCommand::Pause { name, caller } => set(&caller, named("offers", name), OfferState::Paused).await,
        OffersCommand::Resume { name, caller } => set(&caller, named("offers", name), OfferState::Active).await,
        OffersCommand::Retire { name, caller } => retire(&caller, named("offers", name)).await,
        OffersCommand::Grants { customer, offer, state, caller } => grants(&caller, customer, offer, state).await,
        OffersCommand::Grant { name, customer, request_id, caller } => {
            let mut asker = Asker::begin(&caller).await?;
            let (parent, offer) = (named("customers", customer), named("offers", name));
            let request = asker.session.request(GrantOfferRequest { parent, offer, request_id });
            let answer = asker.client.grant_offer(request).await?;
            asker.show_grant(answer.get_ref())
        }
        OffersCommand::Redeem { grant, order, caller } => {
            let mut asker = Asker::begin(&caller).await?;
            let (name, code) =
                if grant.starts_with("customers/") { (grant, String::new()) } else { (String::new(), grant) };
            let request = asker.session.request(RedeemGrantRequest { name, code, order_id: order });
            let answer = asker.client.redeem_grant(request).await?;
            asker.show_grant(answer.get_ref())
        }
        OffersCommand::Revoke { grant, caller } => {
            let mut asker = Asker::begin(&caller).await?;
            let request = asker.session.request(RevokeGrantRequest { name: grant });
            let answer = asker.client.revoke_grant(request).await?;
            asker.show_grant(answer.get_ref())
        }
    }
}

async fn list(caller: &CallerArgs) -> anyhow::Result<()> {
    let mut request = ListOffersRequest { page_size: PAGE, page_token: String::new() };
    let mut asker = Asker::begin(caller).await?;
    let mut whole = ListOffersResponse::default();
    loop {
        let page = asker.client.list_offers(asker.session.request(request.clone())).await?.into_inner();
        whole.offers.extend(page.offers);
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    asker.show(&whole, "ListOffersResponse", |list| show_offers(&list.offers))
}

async fn show(caller: &CallerArgs, name: String) -> anyhow::Result<()> {
    let mut asker = Asker::begin(caller).await?;
    let request = asker.session.request(GetOfferRequest { name: name.clone() });
    let offer = asker.client.get_offer(request).await?.into_inner();
    asker.show_offer(&offer)?;
    if caller.output == Format::Table {
        let request = asker.session.request(GetOfferUseRequest { name });
        show_use(asker.client.get_offer_use(request).await?.get_ref());
    }
    Ok(())
}

async fn create(caller: &CallerArgs, offer_id: String, file: &Path) -> anyhow::Result<()> {
    let form = "an offer as protobuf's JSON, as `quintile offers show -o json` prints it";
    let read: Offer = output::read_json(file, "quintile.lifecycle.v1.Offer", form)?;
    // What was printed of another one says that one's name and etag.
    let offer = Offer { name: String::new(), etag: String::new(), ..read };
    let mut asker = Asker::begin(caller).await?;
    let request = asker.session.request(CreateOfferRequest { offer_id, offer: Some(offer) });
    let answer = asker.client.create_offer(request).await?;
    asker.show_offer(answer.get_ref())
}

async fn set(caller: &CallerArgs, name: String, state: OfferState) -> anyhow::Result<()> {
    let offer = Offer { name, state: state.into(), ..Offer::default() };
    let update_mask = prost_types::FieldMask { paths: vec!["state".to_owned()] };
    let mut asker = Asker::begin(caller).await?;
    let request = UpdateOfferRequest { offer: Some(offer), update_mask: Some(update_mask) };
    let answer = asker.client.update_offer(asker.session.request(request)).await?;
    asker.show_offer(answer.get_ref())
}

async fn retire(caller: &CallerArgs, name: String) -> anyhow::Result<()> {
    let mut asker = Asker::begin(caller).await?;
    let request = RetireOfferRequest { name: name.clone(), etag: String::new() };
    let answer = asker.client.retire_offer(asker.session.request(request)).await?;
    asker.show_offer(answer.get_ref())?;
    if caller.output == Format::Table {
        let grants = |action: &Action| matches!(action, Action::GrantOffer(step) if step.offer == name);
        say_who_grants(asker.channel, &asker.session, grants).await;
    }
    Ok(())
}

async fn grants(
    caller: &CallerArgs,
    customer: String,
    offer: Option<String>,
    states: Vec<State>,
) -> anyhow::Result<()> {
    let offer = offer.map(|offer| named("offers", offer)).unwrap_or_default();
    let states = states.into_iter().map(i32::from).collect();
    let mut request = ListGrantsRequest { parent: customer, offer, states, ..ListGrantsRequest::default() };
    let mut asker = Asker::begin(caller).await?;
    let mut whole = ListGrantsResponse::default();
    // Of who does not reach everybody, a page may be short and have more behind it.
    loop {
        request.page_size = (LISTED - whole.grants.len()) as i32;
        let page = asker.client.list_grants(asker.session.request(request.clone())).await?.into_inner();
        whole.grants.extend(page.grants);
        whole.next_page_token.clone_from(&page.next_page_token);
        if whole.next_page_token.is_empty() || whole.grants.len() >= LISTED {
            break;
        }
        request.page_token = page.next_page_token;
    }
    let show = |list: &ListGrantsResponse| {
        show_grants(&list.grants);
        if !list.next_page_token.is_empty() {
            say!("There are more.");
        }
    };
    asker.show(&whole, "ListGrantsResponse", show)
}

/// What a customer has of an offer, in words.
fn benefit(benefit: Option<&Benefit>) -> String {
    match benefit.and_then(|benefit| benefit.kind.as_ref()) {
        None => String::new(),
        Some(benefit::Kind::PercentOff(percent)) => format!("{percent} % off"),
        Some(benefit::Kind::AmountOff(amount)) => format!("{} off", money(Some(amount))),
        Some(benefit::Kind::FreeShipping(_)) => "free shipping".to_owned(),
        Some(benefit::Kind::Gift(gift)) => format!("a gift: {gift}"),
    }
}

fn show_offers(offers: &[Offer]) {
    let rows = offers.iter().map(|offer| {
        let title = offer.texts.iter().find(|text| text.language.is_empty());
        let most = u64::try_from(offer.max_grants).ok().filter(|most| *most > 0);
        vec![
            offer.name.clone(),
            title.map(|text| text.title.clone()).unwrap_or_default(),
            benefit(offer.benefit.as_ref()),
            offer.valid_days.to_string(),
            most.map_or_else(|| "any".to_owned(), thousands),
            offer.max_per_customer.max(1).to_string(),
            plain(offer.state().as_str_name(), "OFFER_STATE_"),
        ]
    });
    let header = ["offer", "title", "benefit", "days", "at most", "for each", "state"];
    say!("{}", output::table(&header, false, rows.collect()));
}

fn show_use(counted: &OfferUse) {
    let counts = [counted.granted, counted.open, counted.redeemed, counted.expired, counted.revoked];
    let row = counts.map(|count| thousands(count.unsigned_abs())).to_vec();
    say!("{}", output::table(&["granted", "open", "redeemed", "expired", "revoked"], true, vec![row]));
    say!("Counted is what was granted to the customers whom the caller reaches.");
}

fn show_grants(grants: &[Grant]) {
    let rows = grants.iter().map(|grant| {
        let by = if grant.playbook.is_empty() { &grant.granted_by } else { &grant.playbook };
        vec![
            grant.name.clone(),
            grant.offer.clone(),
            grant.code.clone().unwrap_or_default(),
            plain(grant.state().as_str_name(), "GRANT_STATE_"),
            instant(grant.grant_time.as_ref()),
            instant(grant.expire_time.as_ref()),
            by.clone(),
            grant.order_id.clone(),
        ]
    });
    let header = ["grant", "offer", "code", "state", "granted", "expires", "by", "order"];
    say!("{}", output::table(&header, false, rows.collect()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use quintile_proto::google_type::Money;
    use quintile_proto::lifecycle::FreeShipping;

    #[test]
    fn a_benefit_is_told_in_words() {
        let amount = Money { currency_code: "USD".to_owned(), units: 5, nanos: 0 };
        for (kind, words) in [
            (benefit::Kind::PercentOff(10), "10 % off"),
            (benefit::Kind::AmountOff(amount), "5.00 USD off"),
            (benefit::Kind::FreeShipping(FreeShipping {}), "free shipping"),
            (benefit::Kind::Gift("a teapot".to_owned()), "a gift: a teapot"),
        ] {
            assert_eq!(benefit(Some(&Benefit { kind: Some(kind) })), words);
        }
        assert_eq!(named("offers", "a".to_owned()), "offers/a");
        assert_eq!(named("offers", "offers/a".to_owned()), "offers/a");
    }
}
