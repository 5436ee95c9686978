//! `quintile health`: asks services of this machine by gRPC whether they serve, with the configured TLS, which probes of Kubernetes can't.

use crate::config::{Config, ConfigFlags, Role};
use crate::data_dir::own_endpoint;
use crate::remote::{Answer, ask_health};
use crate::serving_flags::chosen_roles;
use anyhow::bail;
use futures::future::try_join_all;

/// Which services to ask.
#[derive(Debug, clap::Args)]
pub struct HealthArgs {
    #[command(flatten)]
    config: ConfigFlags,
    /// The services to ask, where they listen on this machine [default: all]
    #[arg(long = "role", value_enum)]
    roles: Vec<Role>,
}

/// Asks them at once, and fails unless all of them serve.
pub async fn run(args: &HealthArgs) -> anyhow::Result<()> {
    let config = Config::load(&args.config)?;
    try_join_all(chosen_roles(&args.roles).into_iter().map(async |role| {
        match ask_health(&own_endpoint(&config, role), config.server.tls.as_ref()).await? {
            Answer::Serving => Ok(()),
            Answer::NotServing => bail!("{} does not serve now", role.service()),
            Answer::Silent => bail!("{} does not answer at {}", role.service(), own_endpoint(&config, role)),
        }
    }))
    .await?;
    say!("serving");
    Ok(())
}
