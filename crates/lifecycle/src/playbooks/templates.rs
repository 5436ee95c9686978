//! The playbooks that come with the product, as data. To add one: its JSON, and a line here.

use prost_reflect::{DescriptorPool, DynamicMessage};
use quintile_proto::lifecycle::Playbook;
use std::sync::LazyLock;

/// What templates are, by id.
const TEXTS: [(&str, &str); 9] = [
    ("birthday", include_str!("templates/birthday.json")),
    ("cannot-lose-rescue", include_str!("templates/cannot-lose-rescue.json")),
    ("complaint-follow-up", include_str!("templates/complaint-follow-up.json")),
    ("holiday", include_str!("templates/holiday.json")),
    ("nurture", include_str!("templates/nurture.json")),
    ("reactivation-thank-you", include_str!("templates/reactivation-thank-you.json")),
    ("vip-care", include_str!("templates/vip-care.json")),
    ("welcome", include_str!("templates/welcome.json")),
    ("win-back", include_str!("templates/win-back.json")),
];

static TEMPLATES: LazyLock<Vec<(&'static str, Playbook)>> = LazyLock::new(|| {
    let pool = quintile_proto::descriptor_pool();
    TEXTS.iter().map(|(id, text)| (*id, parse(&pool, text).expect("a test reads each template"))).collect()
});

fn parse(pool: &DescriptorPool, text: &str) -> Option<Playbook> {
    let descriptor = pool.get_message_by_name("quintile.lifecycle.v1.Playbook")?;
    let mut json = serde_json::Deserializer::from_str(text);
    DynamicMessage::deserialize(descriptor, &mut json).ok()?.transcode_to().ok()
}

/// All templates with their ids, by id.
pub fn templates() -> &'static [(&'static str, Playbook)] {
    &TEMPLATES
}

/// The template of an id.
pub fn template(id: &str) -> Option<&'static Playbook> {
    TEMPLATES.iter().find(|(known, _)| *known == id).map(|(_, playbook)| playbook)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::playbooks::{check, experiment};

    #[test]
    fn every_template_is_a_playbook() {
        assert!(TEMPLATES.is_sorted_by_key(|(id, _)| *id));
        for (id, playbook) in templates() {
            assert_eq!(check(playbook), Ok(()), "{id}");
            assert!(experiment(playbook).is_ok(), "{id}");
            assert!(!playbook.display_name.is_empty() && !playbook.description.is_empty(), "{id}");
        }
    }
}
