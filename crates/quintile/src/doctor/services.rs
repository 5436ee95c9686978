//! The services: whether they answer that they serve.

use super::Finding;
use crate::config::{Config, Role};
use crate::data_dir::endpoint;
use crate::remote::{Answer, ask_health};

/// What a service answered.
pub struct Health {
    /// Which service.
    pub role: Role,
    answer: anyhow::Result<(String, Answer)>,
}

/// Asks a service, where commands would look for it.
pub async fn health(config: &Config, role: Role) -> Health {
    let asked = async {
        let url = endpoint(config, role)?;
        let answer = ask_health(&url, config.server.tls.as_ref()).await?;
        anyhow::Ok((url, answer))
    };
    Health { role, answer: asked.await }
}

impl Health {
    /// Whether it serves.
    pub fn is_serving(&self) -> bool {
        matches!(&self.answer, Ok((_, Answer::Serving)))
    }

    /// What that means to an operator.
    pub fn finding(&self) -> Finding {
        let name = self.role.service();
        match &self.answer {
            Ok((url, Answer::Serving)) => Finding::ok("service", name, format!("serves at {url}")),
            Ok((url, Answer::NotServing)) => {
                let todo = "wait while it starts or drains; if it stays so, its log says what it waits for";
                Finding::warn("service", name, format!("not ready at {url}"), todo)
            }
            Ok((url, Answer::Silent)) => {
                let todo = "start it with `quintile serve`, or correct peers and server.tls";
                Finding::warn("service", name, format!("nobody answers at {url}"), todo)
            }
            Err(error) => Finding::fail("service", name, format!("{error:#}"), "correct peers and server.tls"),
        }
    }
}
