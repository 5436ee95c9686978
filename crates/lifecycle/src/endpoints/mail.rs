//! Senders of e-mails: how a mail is written and handed to their server.

use super::{Attempt, EndpointError};
use crate::playbooks::emails::Written;
use http::uri::Authority;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart, SinglePart};
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::{self, SMTP_PORT, SUBMISSION_PORT, SUBMISSIONS_PORT};
use lettre::{Address, Message};
use quintile_domain::time::Instant;
use quintile_rpc::outbound::{MAX_URL_BYTES, is_loopback};
use std::time::Duration;
use zeroize::Zeroizing;

/// Mails at once, each by a connection of its own, that no other one has left in the midst of something.
pub(super) const AT_ONCE: usize = 16;
/// How long a connection may take to be ready, the log-in included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a server may take for a mail: some look at it before they reply.
const REPLY_TIMEOUT: Duration = Duration::from_mins(1);
/// How long it may take to say goodbye, which changes nothing any more.
const QUIT_TIMEOUT: Duration = Duration::from_secs(2);

/// The configuration of a sender.
pub struct MailServer<'a> {
    /// Its server: `smtps://host`, or `smtp://host` for STARTTLS, which is in clear on loopback alone; with a port or without.
    pub server: &'a str,
    /// What mails are from: an address, with a name or without.
    pub from: &'a str,
    /// As whom it logs in, with the password. `None`: it does not.
    pub login: Option<(String, Zeroizing<String>)>,
    /// Where customers unsubscribe.
    pub unsubscribe: Option<&'a str>,
}

/// Where a server is, and how it is talked to.
#[derive(Clone)]
struct Server {
    host: String,
    port: u16,
    security: Security,
}

#[derive(Clone)]
enum Security {
    Loopback,
    StartTls(TlsParameters),
    Tls(TlsParameters),
}

/// A sender of e-mails.
#[derive(Clone)]
pub struct Mail {
    server: Server,
    from: Mailbox,
    login: Option<Credentials>,
    unsubscribe: Option<String>,
}

impl Mail {
    /// A sender by its configuration.
    pub fn new(config: MailServer<'_>) -> Result<Self, EndpointError> {
        let from: Mailbox = config.from.parse().map_err(|_| EndpointError::From)?;
        if let Some(url) = config.unsubscribe {
            check_unsubscribe(url)?;
        }
        Ok(Self {
            server: Server::parse(config.server)?,
            from,
            login: config.login.map(|(user, password)| Credentials::new(user, password.to_string())),
            unsubscribe: config.unsubscribe.map(str::to_owned),
        })
    }

    /// Sends a mail to an address, once.
    pub async fn send(&self, id: &str, address: &str, written: Written, now: Instant) -> Attempt {
        let Ok(to) = address.parse::<Address>() else { return Attempt::NoAddress };
        let Some(message) = self.message(id, to, written, now) else { return Attempt::Refused(0) };
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, self.connect()).await;
        let mut connection = match connected {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => return failed(&error, true),
            Err(_) => return Attempt::Failed(0),
        };
        let formatted = message.formatted();
        let sent = connection.send(message.envelope(), &formatted);
        let attempt = match tokio::time::timeout(REPLY_TIMEOUT, sent).await {
            Ok(Ok(response)) => Attempt::Delivered(response.code().into()),
            // The library's own refusal: the server does not know such addresses.
            Ok(Err(error)) if error.is_client() && !address.is_ascii() => Attempt::NoAddress,
            Ok(Err(error)) => failed(&error, false),
            Err(_) => return Attempt::Failed(0),
        };
        // What the server says to it does not matter: it has taken the mail, or not.
        let _ = tokio::time::timeout(QUIT_TIMEOUT, connection.abort()).await;
        attempt
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, smtp::Error> {
        let Server { host, port, security } = &self.server;
        // Servers mistrust a client that says it is nobody: it speaks for the domain that it writes from.
        let hello = ClientId::Domain(self.from.email.domain().to_owned());
        let tls = if let Security::Tls(parameters) = security { Some(parameters.clone()) } else { None };
        let address = (host.as_str(), *port);
        let timeout = Some(CONNECT_TIMEOUT);
        let mut connection = AsyncSmtpConnection::connect_tokio1(address, timeout, &hello, tls, None).await?;
        if let Security::StartTls(parameters) = security {
            connection.starttls(parameters.clone(), &hello).await?;
        }
        if let Some(login) = &self.login {
            connection.auth(DEFAULT_MECHANISMS, login).await?;
        }
        Ok(connection)
    }

    fn message(&self, id: &str, to: Address, written: Written, now: Instant) -> Option<Message> {
        let header = |name, value: String| HeaderValue::new(HeaderName::new_from_ascii_str(name), value);
        let mut builder = Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(written.subject)
            .raw_header(header("Date", now.to_rfc5322()))
            .message_id(Some(format!("<{id}@{}>", self.from.email.domain())))
            // Whoever is away need not say so to a machine: RFC 3834.
            .raw_header(header("Auto-Submitted", "auto-generated".to_owned()));
        if let Some(url) = &self.unsubscribe {
            builder = builder.raw_header(header("List-Unsubscribe", format!("<{url}>")));
        }
        let message = match written.html {
            None => builder.singlepart(SinglePart::plain(written.body)),
            Some(html) => {
                let html = SinglePart::builder().header(ContentType::TEXT_HTML).body(html);
                builder.multipart(MultiPart::alternative().singlepart(SinglePart::plain(written.body)).singlepart(html))
            }
        };
        message.ok()
    }
}

impl Server {
    /// The server that a configuration names.
    fn parse(server: &str) -> Result<Self, EndpointError> {
        let is_plain = server.len() <= MAX_URL_BYTES && server.bytes().all(|byte| byte.is_ascii_graphic());
        let (scheme, rest) = server.split_once("://").filter(|_| is_plain).ok_or(EndpointError::Server)?;
        let authority: Authority = rest.parse().map_err(|_| EndpointError::Server)?;
        let host = authority.host();
        // What stands behind the host is its port and nothing else.
        let behind = authority.as_str().strip_prefix(host).ok_or(EndpointError::Server)?;
        let port = authority.port_u16().filter(|port| *port != 0);
        if host.is_empty() || behind.is_empty() != port.is_none() {
            return Err(EndpointError::Server);
        }
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let tls = || TlsParameters::new(host.clone()).map_err(|error| EndpointError::Tls(error.to_string()));
        let (security, usual) = match scheme {
            "smtps" => (Security::Tls(tls()?), SUBMISSIONS_PORT),
            "smtp" if is_loopback(&host) => (Security::Loopback, SMTP_PORT),
            "smtp" => (Security::StartTls(tls()?), SUBMISSION_PORT),
            _ => return Err(EndpointError::Server),
        };
        Ok(Self { port: port.unwrap_or(usual), security, host })
    }
}

fn check_unsubscribe(url: &str) -> Result<(), EndpointError> {
    let is_known = ["https://", "mailto:"].iter().any(|scheme| url.len() > scheme.len() && url.starts_with(scheme));
    let is_plain = url.len() <= MAX_URL_BYTES && url.bytes().all(|byte| byte.is_ascii_graphic());
    if is_known && is_plain && !url.contains(['<', '>']) { Ok(()) } else { Err(EndpointError::Unsubscribe) }
}

/// What came of an attempt that has failed, when logging in or later.
fn failed(error: &smtp::Error, connecting: bool) -> Attempt {
    // The server's words may hold the address.
    tracing::debug!(tls = error.is_tls(), client = error.is_client(), connecting, "an e-mail was not taken");
    match error.status().map(u16::from) {
        // That we may not log in is none of the mail's faults.
        Some(status) if error.is_permanent() && !connecting => Attempt::Refused(status),
        status => Attempt::Failed(status.unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(server: &str) -> MailServer<'_> {
        MailServer { server, from: "Shop <care@shop.example>", login: None, unsubscribe: None }
    }

    #[test]
    fn a_server_is_reached_in_clear_on_loopback_alone() {
        for server in
            ["smtps://mail.example", "smtps://mail.example:4650", "smtp://mail.example:587", "smtp://[::1]:25"]
        {
            assert!(Mail::new(config(server)).is_ok(), "{server}");
        }
        let odd =
            ["", "mail.example", "http://mail.example", "smtp://", "smtp://user@mail.example", "smtp://mail.example:0"];
        let odder = ["smtp://mail.example/path", "smtp://mail.example:99999", "smtp://mail example", "smtps://:465"];
        for server in odd.into_iter().chain(odder) {
            assert_eq!(Mail::new(config(server)).map(|_| ()), Err(EndpointError::Server), "{server}");
        }
    }

    #[test]
    fn what_mails_say_of_their_sender_is_checked() {
        let of = |from, unsubscribe| {
            Mail::new(MailServer { from, unsubscribe, ..config("smtp://127.0.0.1:2525") }).map(|_| ())
        };
        assert_eq!(of("care@shop.example", Some("mailto:stop@shop.example")), Ok(()));
        for from in ["", "care", "a@b@c", "care@shop.example\r\nBcc: x@y.example"] {
            assert_eq!(of(from, None), Err(EndpointError::From), "{from}");
        }
        for url in ["", "https://", "http://shop.example", "https://shop.example/>", "https://shop.example/\n"] {
            assert_eq!(of("care@shop.example", Some(url)), Err(EndpointError::Unsubscribe), "{url}");
        }
    }

    #[test]
    fn a_mail_says_who_it_is_from_and_which_it_is() {
        let unsubscribe = Some("https://shop.example/u");
        let mail = Mail::new(MailServer { unsubscribe, ..config("smtp://127.0.0.1") }).unwrap();
        let written = Written { subject: "Grüße".to_owned(), body: "Hallo\n".to_owned(), html: None };
        let at = Instant::from_micros(1_614_265_330_000_000);
        let address = "ann@a.example".parse().unwrap();
        let message = mail.message("default-12-0", address, written, at).unwrap();
        let text = String::from_utf8(message.formatted()).unwrap();
        for line in [
            "From: Shop <care@shop.example>\r\n",
            "To: ann@a.example\r\n",
            "Date: Thu, 25 Feb 2021 15:02:10 +0000\r\n",
            "Message-ID: <default-12-0@shop.example>\r\n",
            "Auto-Submitted: auto-generated\r\n",
            "List-Unsubscribe: <https://shop.example/u>\r\n",
            "Subject: =?utf-8?b?R3LDvMOfZQ==?=\r\n",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
    }
}
