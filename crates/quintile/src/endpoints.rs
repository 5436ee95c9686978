//! The configuration of what playbooks send by: webhooks and senders of e-mails.

use crate::config::read_secret;
use anyhow::Context;
use quintile_lifecycle::endpoints::{Endpoint, EndpointError, Mail, MailServer, Way, Webhook as Called};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// A system that playbooks may tell to contact customers.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// The name by which playbooks know it, as ids of resources are made: `messages`.
    pub name: String,
    /// Where it is: `https`, or `http` on loopback alone.
    pub url: String,
    /// The file with the secret that calls are signed by: 24 to 64 bytes in base64, with or without `whsec_` in front.
    pub secret_file: PathBuf,
    /// The tenant whose playbooks may tell it, before another one of that name. Without it, every tenant's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// How long to wait before the second try, in seconds, 1 or more; then 3 times as long each time, 6 hours at most.
    #[serde(default = "default_retry_after_seconds")]
    pub retry_after_seconds: u64,
}

/// A sender of e-mails that playbooks may write by.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MailSender {
    /// The name by which playbooks know it, as ids of resources are made, and no webhook's: `care`.
    pub name: String,
    /// Its SMTP server: `smtps://host`, with TLS from the start, or `smtp://host`, with STARTTLS; in clear on loopback alone. `:port` may
    /// follow.
    pub server: String,
    /// What mails are from: an address, with a name or without, such as `Shop <care@shop.example>`.
    pub from: String,
    /// As whom it logs in. Comes with `password_file`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The file with the password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// Where customers unsubscribe: an `https` or `mailto` URL that mails name in their header `List-Unsubscribe`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unsubscribe: Option<String>,
    /// The tenant whose playbooks may write by it, before another one of that name. Without it, every tenant's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// How long to wait before the second try, in seconds, 1 or more; then 3 times as long each time, 6 hours at most.
    #[serde(default = "default_retry_after_seconds")]
    pub retry_after_seconds: u64,
}

fn default_retry_after_seconds() -> u64 {
    10
}

fn secret(file: &Path, kind: &str, name: &str) -> anyhow::Result<Zeroizing<String>> {
    read_secret(file).map(Zeroizing::new).with_context(|| format!("{kind} {name}"))
}

impl Webhook {
    /// The endpoint, with its secret.
    pub fn endpoint(&self) -> anyhow::Result<Endpoint> {
        let context = || format!("webhook {}", self.name);
        let called =
            Called::new(&self.url, &secret(&self.secret_file, "webhook", &self.name)?).with_context(context)?;
        let way = Way::Webhook(called);
        Endpoint::new(self.name.clone(), self.tenant.clone(), self.retry_after_seconds, way).with_context(context)
    }
}

impl MailSender {
    /// The endpoint, with its password.
    pub fn endpoint(&self) -> anyhow::Result<Endpoint> {
        let context = || format!("mail {}", self.name);
        let login = match (&self.user, &self.password_file) {
            (Some(user), Some(file)) => Some((user.clone(), secret(file, "mail", &self.name)?)),
            (None, None) => None,
            _ => return Err(EndpointError::Login).with_context(context),
        };
        let unsubscribe = self.unsubscribe.as_deref();
        let mail = Mail::new(MailServer { server: &self.server, from: &self.from, login, unsubscribe });
        let way = Way::Mail(mail.with_context(context)?);
        Endpoint::new(self.name.clone(), self.tenant.clone(), self.retry_after_seconds, way).with_context(context)
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, ConfigFlags, Role};

    #[test]
    fn endpoints_are_read_with_their_secrets_where_lifecycle_runs() {
        let folder = tempfile::tempdir().unwrap();
        let [file, secret] = ["quintile.toml", "secret"].map(|name| folder.path().join(name));
        std::fs::write(&secret, "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz\n").unwrap();
        let secret_file = format!("{:?}", secret.display().to_string());
        let webhook = format!(
            "[[webhooks]]\nname = \"messages\"\nurl = \"http://127.0.0.1:8080/hook\"\nsecret_file = {secret_file}\n",
        );
        let mail =
            "[[mail]]\nname = \"care\"\nserver = \"smtp://127.0.0.1:2525\"\nfrom = \"Shop <care@shop.example>\"\n";
        let load = |text: &str| {
            std::fs::write(&file, text).unwrap();
            Config::load(&ConfigFlags { config: Some(file.clone()), data_dir: None })
        };
        let is_good = |text: &str| load(text).unwrap().endpoints(&Role::ALL).is_ok();
        let config = load(&format!("{webhook}{mail}user = \"care\"\npassword_file = {secret_file}\n")).unwrap();
        assert_eq!((config.webhooks[0].retry_after_seconds, config.mail[0].retry_after_seconds), (10, 10));
        assert!(config.endpoints(&Role::ALL).is_ok());
        assert!(load(&format!("{webhook}secret = \"an open one\"\n")).is_err());
        assert!(!is_good(&webhook.repeat(2)), "two of one name");
        assert!(!is_good(&format!("{webhook}{}", mail.replace("care\"\ns", "messages\"\ns"))), "one of either kind");
        assert!(is_good(mail) && !is_good(&format!("{mail}user = \"care\"\n")), "a user without a password");
        assert!(!serde_json::to_string(&config.clone().redacted()).unwrap().contains("8080"));
        std::fs::remove_file(&secret).unwrap();
        assert!(config.endpoints(&Role::ALL).is_err());
        assert!(config.endpoints(&[Role::Scoring]).is_ok());
    }
}
