//! The flags by which a suite is served, and by which it is looked at.

use crate::config::{Config, ConfigFlags, Role};

/// What `serve` can be told.
#[derive(Debug, clap::Args)]
pub struct ServingFlags {
    #[command(flatten)]
    pub config: ConfigFlags,
    /// The services that are meant [default: all]
    #[arg(long = "role", value_enum)]
    roles: Vec<Role>,
    /// Freezes business time at this instant, such as 1998-07-01T00:00:00Z
    #[arg(long, value_name = "INSTANT")]
    as_of: Option<String>,
    /// The first of five ports; 0 takes any that are free [default: 7701]
    #[arg(long, value_name = "PORT")]
    port_base: Option<u16>,
    /// A `PostgreSQL` URL; without it the data is in the data directory
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
}

impl ServingFlags {
    /// The configuration by all that it can be said by, and the services.
    pub fn load(&self) -> anyhow::Result<(Config, Vec<Role>)> {
        let mut config = Config::load(&self.config)?;
        config.as_of = self.as_of.clone().or(config.as_of);
        config.database_url = self.database_url.clone().or(config.database_url);
        if let Some(base) = self.port_base {
            config.set_port_base(base)?;
        }
        config.frozen_at()?;
        Ok((config, chosen_roles(&self.roles)))
    }
}

/// The services that flags name: all where they name none.
pub fn chosen_roles(chosen: &[Role]) -> Vec<Role> {
    if chosen.is_empty() { Role::ALL.to_vec() } else { chosen.to_vec() }
}
