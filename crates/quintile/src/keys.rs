//! `quintile keys`: rotates the master key while business goes on.
//!
//! A rotation has three steps, each of which may be cut off and begun again: the new key is put in front of the old ones, every
//! service wraps its keys anew under it, and the old ones are retired.

use crate::clock;
use crate::commands::CallerArgs;
use crate::config::{Config, Role};
use crate::key_file::KeyFile;
use crate::output::{self, Format, table, thousands};
use crate::remote::{Session, connect};
use anyhow::{Context, ensure};
use clap::Subcommand;
use quintile_proto::access::master_key_service_client::MasterKeyServiceClient;
use quintile_proto::access::{KeyState, ListKeyStatesRequest, ListKeyStatesResponse, RewrapKeysRequest};
use quintile_rpc::client::Channel;
use quintile_store::sealing::{Key, KeyId};
use std::time::Duration;
use tokio::time::Instant;

/// How long services may take to report what they are before anything is changed.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often the states are looked at while a command waits.
const POLL: Duration = Duration::from_millis(200);

#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Puts a fresh master key in front of the key file, and has every service wrap its keys anew under it
    Rotate {
        /// Leaves the key file alone: the operator has placed the new key, first, where every process reads it
        #[arg(long)]
        rewrap_only: bool,
        /// How long to wait for the services, in seconds
        #[arg(long, value_name = "SECONDS", default_value_t = 300)]
        wait: u64,
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Shows under which master key the keys of every service are
    Status {
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Takes all master keys but the first out of the key file, once no key is under them any more
    Retire {
        #[command(flatten)]
        caller: CallerArgs,
    },
}

/// Runs a command.
pub async fn run(command: KeysCommand) -> anyhow::Result<()> {
    match command {
        KeysCommand::Rotate { rewrap_only, wait, caller } => {
            let (config, session) = caller.session().await?;
            let states = States::new(&config, session)?;
            rotate(&config, states, rewrap_only, Duration::from_secs(wait), caller.output).await
        }
        KeysCommand::Status { caller } => {
            let (config, session) = caller.session().await?;
            print(&States::new(&config, session)?.list().await?, caller.output)
        }
        KeysCommand::Retire { caller } => {
            let (config, session) = caller.session().await?;
            retire(&config, States::new(&config, session)?, caller.output).await
        }
    }
}

async fn rotate(
    config: &Config,
    mut states: States,
    rewrap_only: bool,
    wait: Duration,
    format: Format,
) -> anyhow::Result<()> {
    let mut expected = None;
    if !rewrap_only {
        let mut file = KeyFile::read(config)?;
        // A second rotation on top of one that is not finished would only make it harder to see what is to be done.
        states.wait_until_settled(file.ids().first(), PATIENCE).await.context(
            "nothing was changed, because an earlier rotation is not finished: `quintile keys rotate --rewrap-only` goes on with it",
        )?;
        let fresh = Key::generate(&clock::entropy()?);
        expected = Some(KeyId::of(&fresh));
        file.put_in_front(fresh)?;
    }
    states.rewrap().await.context("`quintile keys rotate --rewrap-only` goes on from here")?;
    let done = states
        .wait_until_settled(expected.as_ref(), wait)
        .await
        .context("services are still at work; `quintile keys status` shows how far, `quintile keys rotate --rewrap-only` asks again")?;
    print(&done, format)?;
    if format == Format::Table {
        let how = if rewrap_only {
            "No key is under a former master key any more: take them away where you have placed them."
        } else {
            "No key is under a former master key any more: `quintile keys retire` takes them out of the file."
        };
        say!("{how}\nBackups that were made before need the former master key: keep it for as long as them.");
    }
    Ok(())
}

async fn retire(config: &Config, mut states: States, format: Format) -> anyhow::Result<()> {
    let mut file = KeyFile::read(config)?;
    let ids = file.ids();
    ensure!(ids.len() > 1, "{} holds one master key: there is none to retire", file.path().display());
    states.wait_until_settled(ids.first(), PATIENCE).await.context("nothing was retired")?;
    file.keep_the_first()?;
    // Services hold what they have read; they read the file again, and so forget the others.
    states.rewrap().await.context("the file is changed; services hold the former keys until they start again")?;
    print(&states.wait_until_settled(ids.first(), PATIENCE).await?, format)?;
    if format == Format::Table {
        let retired: Vec<_> = ids.iter().skip(1).map(KeyId::as_str).collect();
        say!("Retired {}.", retired.join(", "));
    }
    Ok(())
}

/// The states of the services' keys, as access-control knows them.
struct States {
    client: MasterKeyServiceClient<Channel>,
    session: Session,
}

impl States {
    fn new(config: &Config, session: Session) -> anyhow::Result<Self> {
        Ok(Self { client: MasterKeyServiceClient::new(connect(config, Role::AccessControl)?), session })
    }

    async fn list(&mut self) -> anyhow::Result<ListKeyStatesResponse> {
        let request = self.session.request(ListKeyStatesRequest {});
        Ok(self.client.list_key_states(request).await?.into_inner())
    }

    async fn rewrap(&mut self) -> anyhow::Result<()> {
        self.client.rewrap_keys(self.session.request(RewrapKeysRequest {})).await?;
        Ok(())
    }

    /// Waits until every service has all of its keys under one master key: the expected one, where one is.
    async fn wait_until_settled(
        &mut self,
        expected: Option<&KeyId>,
        wait: Duration,
    ) -> anyhow::Result<ListKeyStatesResponse> {
        let end = Instant::now() + wait;
        loop {
            let states = self.list().await?;
            match unsettled(&states, expected.map(KeyId::as_str)) {
                None => return Ok(states),
                Some(problem) => ensure!(Instant::now() < end, "{problem}"),
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

/// Why the keys of some service are not, or not surely, under the expected master key. `None`: all of them are.
fn unsettled(list: &ListKeyStatesResponse, expected: Option<&str>) -> Option<String> {
    // One that is silent has ended, or is cut off and answers nobody.
    let live: Vec<&KeyState> = list.states.iter().filter(|state| !state.silent).collect();
    let silent = Role::ALL.into_iter().find(|role| !live.iter().any(|state| state.service == role.service()));
    if let Some(role) = silent {
        return Some(format!("{} does not report the state of its keys", role.service()));
    }
    let expected = expected.or_else(|| live.first().map(|state| state.key_id.as_str())).unwrap_or_default();
    live.into_iter().find_map(|state| {
        let KeyState { service, instance, key_id, rows_left, .. } = state;
        if state.generation < list.generation {
            Some(format!("{service} ({instance}) has not begun"))
        } else if key_id != expected {
            Some(format!("{service} ({instance}) has the master key {key_id} and not {expected}"))
        } else if *rows_left > 0 {
            Some(format!("{rows_left} keys of {service} are under a former master key"))
        } else {
            None
        }
    })
}

fn print(list: &ListKeyStatesResponse, format: Format) -> anyhow::Result<()> {
    if format == Format::Json {
        say!("{}", output::json(list, "quintile.access.v1.ListKeyStatesResponse")?);
        return Ok(());
    }
    let rows = list.states.iter().map(|state| {
        vec![
            state.service.clone(),
            if state.silent { format!("{} (silent)", state.instance) } else { state.instance.clone() },
            state.key_id.clone(),
            format!("{} of {}", state.generation, list.generation),
            thousands(state.rows_rewrapped.unsigned_abs()),
            thousands(state.rows_left.unsigned_abs()),
        ]
    });
    let header = ["service", "instance", "master key", "generation", "wrapped anew", "left"];
    say!("{}", table(&header, true, rows.collect()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled() -> ListKeyStatesResponse {
        let states = Role::ALL.map(|role| KeyState {
            service: role.service().to_owned(),
            instance: "one".to_owned(),
            generation: 2,
            key_id: "new".to_owned(),
            ..KeyState::default()
        });
        ListKeyStatesResponse { states: states.to_vec(), generation: 2 }
    }

    #[test]
    fn a_rotation_is_over_when_every_service_says_so() {
        assert_eq!(unsettled(&settled(), Some("new")), None);
        assert_eq!(unsettled(&settled(), None), None);
        assert!(unsettled(&settled(), Some("newer")).is_some());
        assert!(unsettled(&ListKeyStatesResponse::default(), None).is_some());
    }

    type Change = fn(&mut KeyState);

    #[test]
    fn one_instance_that_is_behind_or_missing_is_enough_to_wait_for() {
        let changes: [(&str, Change); 4] = [
            ("behind", |state| state.generation = 1),
            ("under another key", |state| state.key_id = "old".to_owned()),
            ("at work", |state| state.rows_left = 1),
            ("gone", |state| state.silent = true),
        ];
        for (what, change) in changes {
            for index in 0..Role::ALL.len() {
                let mut states = settled();
                change(&mut states.states[index]);
                assert!(unsettled(&states, Some("new")).is_some(), "{what} {index}");
                assert!(unsettled(&states, None).is_some(), "{what} {index}");
            }
        }
    }

    #[test]
    fn an_instance_that_has_ended_holds_nobody_up_while_another_of_its_service_is_there() {
        let mut states = settled();
        let ended = KeyState { generation: 1, silent: true, key_id: "old".to_owned(), ..states.states[0].clone() };
        states.states.insert(0, ended);
        assert_eq!(unsettled(&states, Some("new")), None);
        assert_eq!(unsettled(&states, None), None);
    }
}
