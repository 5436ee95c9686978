//! Loyalty tiers, for people: made of a file, and who is in which.

use crate::commands::CallerArgs;
use crate::config::Role;
use crate::output::{self, Format, instant};
use crate::playbooks::say_who_grants;
use crate::remote::{Session, connect};
use clap::Subcommand;
use prost::Message;
use quintile_proto::lifecycle::loyalty_service_client::LoyaltyServiceClient;
use quintile_proto::lifecycle::step::Action;
use quintile_proto::lifecycle::{
    ClearCustomerTierRequest, CreateLoyaltyTierRequest, CustomerTier, DeleteLoyaltyTierRequest, GetCustomerTierRequest,
    GetLoyaltyTierRequest, ListLoyaltyTiersRequest, ListTierChangesRequest, LoyaltyTier, SetCustomerTierRequest,
    TierChange,
};
use quintile_rpc::client::Channel;
use std::path::{Path, PathBuf};

#[derive(Debug, Subcommand)]
pub enum TiersCommand {
    /// Lists the tiers, the lowest first
    List {
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Tells of a tier
    Show {
        /// `loyaltyTiers/{id}`, or the id
        name: String,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Makes a tier of a file
    Create {
        /// The id, such as `gold`
        id: String,
        /// A file that holds it as protobuf's JSON, as `show -o json` prints it
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Deletes a tier: whoever is in it is in none
    Delete {
        /// `loyaltyTiers/{id}`, or the id
        name: String,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Tells in which tier a customer is, and how it came there
    Of {
        /// `customers/{number}`, or the number
        customer: String,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Puts a customer into a tier
    Set {
        /// `customers/{number}`, or the number
        customer: String,
        /// `loyaltyTiers/{id}`, or the id
        tier: String,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Takes a customer out of its tier
    Clear {
        /// `customers/{number}`, or the number
        customer: String,
        #[command(flatten)]
        caller: CallerArgs,
    },
}

/// The name of something that is named, or of which the id is told.
fn named(collection: &str, name: &str) -> String {
    if name.starts_with(&format!("{collection}/")) { name.to_owned() } else { format!("{collection}/{name}") }
}

/// The name of a customer's tier.
fn tier_of(customer: &str) -> String {
    format!("{}/loyaltyTier", named("customers", customer))
}

/// A command's connection.
struct Asker<'a> {
    channel: Channel,
    client: LoyaltyServiceClient<Channel>,
    session: Session,
    caller: &'a CallerArgs,
}

impl<'a> Asker<'a> {
    async fn begin(caller: &'a CallerArgs) -> anyhow::Result<Self> {
        let (config, session) = caller.session().await?;
        let channel = connect(&config, Role::Lifecycle)?;
        Ok(Self { client: LoyaltyServiceClient::new(channel.clone()), channel, session, caller })
    }

    /// Prints an answer as JSON, or as a person reads it.
    fn show<T: Message>(&self, answer: &T, name: &str, show: impl FnOnce(&T)) -> anyhow::Result<()> {
        match self.caller.output {
            Format::Json => say!("{}", output::json(answer, &format!("quintile.lifecycle.v1.{name}"))?),
            Format::Table => show(answer),
        }
        Ok(())
    }

    fn show_tier(&self, tier: &LoyaltyTier) -> anyhow::Result<()> {
        self.show(tier, "LoyaltyTier", |tier| show_tiers(std::slice::from_ref(tier)))
    }

    fn show_customer(&self, tier: &CustomerTier) -> anyhow::Result<()> {
        self.show(tier, "CustomerTier", show_customer)
    }
}

/// Runs a command.
pub async fn run(command: TiersCommand) -> anyhow::Result<()> {
    match command {
        TiersCommand::List { caller } => {
            let mut asker = Asker::begin(&caller).await?;
            let request = asker.session.request(ListLoyaltyTiersRequest::default());
            let answer = asker.client.list_loyalty_tiers(request).await?;
            asker.show(answer.get_ref(), "ListLoyaltyTiersResponse", |list| show_tiers(&list.tiers))
        }
        TiersCommand::Show { name, caller } => {
            let mut asker = Asker::begin(&caller).await?;
            let request = asker.session.request(GetLoyaltyTierRequest { name: named("loyaltyTiers", &name) });
            let answer = asker.client.get_loyalty_tier(request).await?;
            asker.show_tier(answer.get_ref())
        }
        TiersCommand::Create { id, file, caller } => create(&caller, id, &file).await,
        TiersCommand::Delete { name, caller } => delete(&caller, named("loyaltyTiers", &name)).await,
        TiersCommand::Of { customer, caller } => of(&caller, &customer).await,
        TiersCommand::Set { customer, tier, caller } => {
            let mut asker = Asker::begin(&caller).await?;
            let request = SetCustomerTierRequest { name: tier_of(&customer), tier: named("loyaltyTiers", &tier) };
            let answer = asker.client.set_customer_tier(asker.session.request(request)).await?;
            asker.show_customer(answer.get_ref())
        }
        TiersCommand::Clear { customer, caller } => {
            let mut asker = Asker::begin(&caller).await?;
            let request = asker.session.request(ClearCustomerTierRequest { name: tier_of(&customer) });
            let answer = asker.client.clear_customer_tier(request).await?;
            asker.show_customer(answer.get_ref())
        }
    }
}

async fn create(caller: &CallerArgs, loyalty_tier_id: String, file: &Path) -> anyhow::Result<()> {
    let form = "a loyalty tier as protobuf's JSON, as `quintile tiers show -o json` prints it";
    let read: LoyaltyTier = output::read_json(file, "quintile.lifecycle.v1.LoyaltyTier", form)?;
    // What was printed of another one says that one's name and etag.
    let tier = LoyaltyTier { name: String::new(), etag: String::new(), ..read };
    let mut asker = Asker::begin(caller).await?;
    let request = asker.session.request(CreateLoyaltyTierRequest { loyalty_tier_id, tier: Some(tier) });
    let answer = asker.client.create_loyalty_tier(request).await?;
    asker.show_tier(answer.get_ref())
}

async fn delete(caller: &CallerArgs, name: String) -> anyhow::Result<()> {
    let mut asker = Asker::begin(caller).await?;
    let request = DeleteLoyaltyTierRequest { name: name.clone(), etag: String::new() };
    asker.client.delete_loyalty_tier(asker.session.request(request)).await?;
    say!("{name} is deleted");
    let grants = |action: &Action| matches!(action, Action::GrantTier(step) if step.tier == name);
    say_who_grants(asker.channel, &asker.session, grants).await;
    Ok(())
}

async fn of(caller: &CallerArgs, customer: &str) -> anyhow::Result<()> {
    let mut asker = Asker::begin(caller).await?;
    let request = asker.session.request(GetCustomerTierRequest { name: tier_of(customer) });
    let tier = asker.client.get_customer_tier(request).await?.into_inner();
    asker.show_customer(&tier)?;
    if caller.output == Format::Table {
        let parent = named("customers", customer);
        let request = asker.session.request(ListTierChangesRequest { parent, ..Default::default() });
        let answer = asker.client.list_tier_changes(request).await?.into_inner();
        show_changes(&answer.changes);
    }
    Ok(())
}

fn show_tiers(tiers: &[LoyaltyTier]) {
    let rows = tiers.iter().map(|tier| {
        let text = tier.texts.iter().find(|text| text.language.is_empty()).cloned().unwrap_or_default();
        let days = if tier.valid_days > 0 { tier.valid_days.to_string() } else { "for ever".to_owned() };
        vec![tier.rank.to_string(), tier.name.clone(), text.title, text.benefits, tier.offers.join(", "), days]
    });
    say!("{}", output::table(&["rank", "tier", "title", "benefits", "offers", "days"], false, rows.collect()));
}

/// Who said it: a playbook, or somebody.
fn said_by<'a>(playbook: &'a str, subject: &'a str) -> &'a str {
    if playbook.is_empty() { subject } else { playbook }
}

fn show_customer(tier: &CustomerTier) {
    if tier.tier.is_empty() {
        say!("{}: in no tier", tier.name);
        return;
    }
    let by = said_by(&tier.playbook, &tier.set_by);
    let until = tier.until_time.as_ref().map(|until| format!(" until {}", instant(Some(until))));
    let since = instant(tier.since_time.as_ref());
    say!("{}: {} since {since}{}, by {by}", tier.name, tier.tier, until.unwrap_or_default());
}

fn show_changes(changes: &[TierChange]) {
    let rows = changes.iter().map(|change| {
        let tier = if change.tier.is_empty() { "none" } else { change.tier.as_str() };
        let by = said_by(&change.playbook, &change.set_by);
        let (set, until) = (instant(change.set_time.as_ref()), instant(change.until_time.as_ref()));
        vec![set, tier.to_owned(), until, by.to_owned()]
    });
    say!("{}", output::table(&["when", "tier", "until", "by"], false, rows.collect()));
}
