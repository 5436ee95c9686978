//! What e-mails say: whether it makes sense, in which language somebody reads it, and with whose name.

use super::check::{Checked, text, wrong};
use quintile_domain::{language, names};
use quintile_proto::lifecycle::{EmailText, SendEmail};
use std::collections::HashSet;

const MAX_TEXTS: usize = 20;
const MAX_MESSAGE_BYTES: usize = 128;
const MAX_SUBJECT_BYTES: usize = 256;
const MAX_BODY_BYTES: usize = 16_384;
const MAX_HTML_BYTES: usize = 65_536;
/// What stands for the customer's name.
const NAME: &str = "{{name}}";
/// What placeholders begin with.
pub(crate) const OPENS: &str = "{{";
/// What stands for the title of what was granted, for its code, and for the last day on which it can be redeemed.
const GRANT: [&str; 3] = ["{{offer}}", "{{code}}", "{{expires}}"];

/// Checks a step that sends an e-mail. `grants`: a step before it grants an offer.
pub(super) fn check(field: &str, email: &SendEmail, grants: bool) -> Checked {
    let field = format!("{field}.email");
    if let Err(error) = names::resource_id(&email.endpoint) {
        return wrong(format!("{field}.endpoint"), error.to_string());
    }
    text(&format!("{field}.message"), &email.message, MAX_MESSAGE_BYTES, true)?;
    if email.texts.is_empty() || email.texts.len() > MAX_TEXTS {
        return wrong(format!("{field}.texts"), format!("must have 1 to {MAX_TEXTS} texts"));
    }
    let mut languages = HashSet::new();
    for (index, of) in email.texts.iter().enumerate() {
        let field = format!("{field}.texts[{index}]");
        check_text(&field, of, grants)?;
        if !languages.insert(of.language.to_ascii_lowercase()) {
            return wrong(format!("{field}.language"), "is the language of another text too");
        }
    }
    if languages.contains("") {
        return Ok(());
    }
    wrong(format!("{field}.texts"), "must have one without language, for everybody else")
}

/// The bytes that an e-mail's texts take.
pub(super) fn bytes(email: &SendEmail) -> usize {
    email.texts.iter().map(|text| text.subject.len() + text.body.len() + text.html.len()).sum()
}

fn check_text(field: &str, of: &EmailText, grants: bool) -> Checked {
    if !of.language.is_empty() && !language::is_tag(&of.language) {
        return wrong(format!("{field}.language"), "must be a BCP 47 tag, such as en or zh-Hant");
    }
    text(&format!("{field}.subject"), &of.subject, MAX_SUBJECT_BYTES, true)?;
    text(&format!("{field}.unnamed"), &of.unnamed, MAX_SUBJECT_BYTES, false)?;
    check_lines(&format!("{field}.body"), &of.body, MAX_BODY_BYTES)?;
    if of.body.trim().is_empty() {
        return wrong(format!("{field}.body"), "is required");
    }
    check_lines(&format!("{field}.html"), &of.html, MAX_HTML_BYTES)?;
    for (name, value) in [("subject", &of.subject), ("body", &of.body), ("html", &of.html)] {
        let known = std::iter::once(NAME).chain(GRANT.into_iter().filter(|_| grants));
        if known.fold(value.clone(), |value, known| value.replace(known, "")).contains(OPENS) {
            let [offer, code, expires] = GRANT;
            let problem = format!(
                "must have no other {OPENS} than {NAME}, and behind a step that grants an offer {offer}, {code} and {expires}"
            );
            return wrong(format!("{field}.{name}"), problem);
        }
    }
    Ok(())
}

/// Checks a text of several lines.
fn check_lines(field: &str, value: &str, max: usize) -> Checked {
    if value.len() > max {
        return wrong(field, format!("must have at most {max} bytes"));
    }
    if value.chars().any(|each| each.is_control() && !matches!(each, '\n' | '\r' | '\t')) {
        return wrong(field, "must have no control characters but for the ends of lines and tabs");
    }
    Ok(())
}

/// The text of an e-mail for somebody's language, or the one without language.
pub fn text_for<'t>(texts: &'t [EmailText], language: &str) -> Option<&'t EmailText> {
    language::lookup(texts, |text| &text.language, language)
}

/// What an e-mail says of a grant.
#[derive(Clone, Copy, Debug)]
pub struct Granted<'a> {
    /// The title of the offer, in the customer's language.
    pub offer: &'a str,
    /// The code.
    pub code: &'a str,
    /// The last day on which it can be redeemed.
    pub expires: &'a str,
}

/// Whether a text says something of a grant.
pub fn tells_of_grant(text: &EmailText) -> bool {
    [&text.subject, &text.body, &text.html].iter().any(|value| GRANT.iter().any(|known| value.contains(known)))
}

/// A text with what it says of a grant in its place.
pub fn with_grant(text: &EmailText, granted: Granted<'_>) -> EmailText {
    let words = [granted.offer, granted.code, granted.expires];
    let fill = |value: &str, words: [&str; 3]| {
        GRANT.iter().zip(words).fold(value.to_owned(), |value, (known, word)| value.replace(known, word))
    };
    let [offer, code, expires] = words.map(escaped);
    EmailText {
        subject: fill(&text.subject, words),
        body: fill(&text.body, words),
        html: fill(&text.html, [&offer, &code, &expires]),
        ..text.clone()
    }
}

/// An e-mail to somebody. It holds the name.
#[cfg_attr(test, derive(Debug, PartialEq, Eq))]
pub struct Written {
    /// The subject.
    pub subject: String,
    /// The text.
    pub body: String,
    /// The same as HTML. `None`: the text alone.
    pub html: Option<String>,
}

/// Writes an e-mail to somebody of a name, or of none.
pub fn write(text: &EmailText, name: Option<&str>) -> Written {
    let name = name.map(str::trim).filter(|name| !name.is_empty()).unwrap_or(&text.unnamed);
    // A name is on one line, or it could end one that it must not.
    let name: String = name.chars().map(|each| if each.is_control() { ' ' } else { each }).collect();
    Written {
        subject: text.subject.replace(NAME, &name),
        body: text.body.replace(NAME, &name),
        html: (!text.html.is_empty()).then(|| text.html.replace(NAME, &escaped(&name))),
    }
}

/// A text as HTML shows it, within elements and within the values of attributes.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for each in text.chars() {
        match each {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            each => escaped.push(each),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(language: &str) -> EmailText {
        EmailText {
            language: language.to_owned(),
            subject: "For {{name}}".to_owned(),
            body: "Dear {{name}},\n{{name}}!".to_owned(),
            html: "<p title=\"{{name}}\">{{name}}</p>".to_owned(),
            unnamed: "customer".to_owned(),
        }
    }

    #[test]
    fn what_was_granted_stands_where_it_is_asked_for_and_opens_no_element() {
        let asks = "{{offer}}: {{code}} until {{expires}}, {{name}}";
        let html = "<p>{{offer}}: {{code}}</p>";
        let text =
            EmailText { subject: "{{code}}".to_owned(), body: asks.to_owned(), html: html.to_owned(), ..text_of("") };
        assert!(tells_of_grant(&text) && !tells_of_grant(&text_of("")));
        let told = with_grant(&text, Granted { offer: "Ten <b>", code: "23456789ABCDEFGH", expires: "2026-12-31" });
        assert_eq!(told.subject, "23456789ABCDEFGH");
        assert_eq!(told.body, "Ten <b>: 23456789ABCDEFGH until 2026-12-31, {{name}}");
        assert_eq!(told.html, "<p>Ten &lt;b&gt;: 23456789ABCDEFGH</p>");
        let email = |text| SendEmail { endpoint: "care".to_owned(), message: "x".to_owned(), texts: vec![text] };
        assert_eq!(check("step", &email(text.clone()), true), Ok(()));
        assert_eq!(check("step", &email(text), false).unwrap_err().field, "step.email.texts[0].subject");
    }

    #[test]
    fn a_name_ends_no_line_and_opens_no_element() {
        let written = write(&text_of(""), Some("Ann <b>\r\nBcc: x & \"y\""));
        assert_eq!(written.subject, "For Ann <b>  Bcc: x & \"y\"");
        assert_eq!(written.body, "Dear Ann <b>  Bcc: x & \"y\",\nAnn <b>  Bcc: x & \"y\"!");
        let safe = "Ann &lt;b&gt;  Bcc: x &amp; &quot;y&quot;";
        assert_eq!(written.html, Some(format!("<p title=\"{safe}\">{safe}</p>")));
        assert_eq!(write(&text_of(""), Some("  ")).subject, "For customer");
        // Who is called so is not written to twice.
        assert_eq!(write(&text_of(""), Some(NAME)).subject, "For {{name}}");
        assert_eq!(write(&EmailText { html: String::new(), ..text_of("") }, None).html, None);
    }
}
