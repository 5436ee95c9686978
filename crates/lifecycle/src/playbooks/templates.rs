//! The playbooks that come with the product, as data, in English and as they are in other languages. To add one: its JSON, a line here, and its texts in
//! every file of `translations/`. To add a language: a file there, and a line here.

use prost_reflect::{DescriptorPool, DynamicMessage};
use quintile_domain::language;
use quintile_proto::lifecycle::{EmailText, Playbook, step};
use std::collections::HashMap;
use std::sync::LazyLock;

/// What templates are, by id.
const TEXTS: [(&str, &str); 10] = [
    ("birthday", include_str!("templates/birthday.json")),
    ("cannot-lose-rescue", include_str!("templates/cannot-lose-rescue.json")),
    ("complaint-follow-up", include_str!("templates/complaint-follow-up.json")),
    ("holiday", include_str!("templates/holiday.json")),
    ("low-score-follow-up", include_str!("templates/low-score-follow-up.json")),
    ("nurture", include_str!("templates/nurture.json")),
    ("reactivation-thank-you", include_str!("templates/reactivation-thank-you.json")),
    ("vip-care", include_str!("templates/vip-care.json")),
    ("welcome", include_str!("templates/welcome.json")),
    ("win-back", include_str!("templates/win-back.json")),
];

/// The language of templates, and of e-mails' texts for everybody else in them.
const ENGLISH: &str = "en";

/// What they say in other languages, by the English text.
const TRANSLATIONS: [(&str, &str); 2] =
    [("de", include_str!("translations/de.json")), ("zh", include_str!("translations/zh.json"))];

/// Templates with their ids, by id.
type Templates = Vec<(&'static str, Playbook)>;
/// A text by what it is in English.
type Translation = HashMap<String, String>;

static TEMPLATES: LazyLock<Vec<(&'static str, Templates)>> = LazyLock::new(|| {
    let pool = quintile_proto::descriptor_pool();
    let read = |(id, text): &(&'static str, &str)| (*id, parse(&pool, text).expect("a test reads each template"));
    let english: Templates = TEXTS.iter().map(read).collect();
    let translated = TRANSLATIONS.iter().map(|(language, text)| {
        let translation = serde_json::from_str(text).expect("a test reads each translation");
        let templates = english.iter().map(|(id, playbook)| (*id, translated(playbook, language, &translation)));
        (*language, templates.collect())
    });
    let translated: Vec<_> = translated.collect();
    [(ENGLISH, english)].into_iter().chain(translated).collect()
});

fn parse(pool: &DescriptorPool, text: &str) -> Option<Playbook> {
    let descriptor = pool.get_message_by_name("quintile.lifecycle.v1.Playbook")?;
    let mut json = serde_json::Deserializer::from_str(text);
    DynamicMessage::deserialize(descriptor, &mut json).ok()?.transcode_to().ok()
}

/// The texts of a playbook that people on this side read.
fn texts(playbook: &mut Playbook) -> Vec<&mut String> {
    let mut texts = vec![&mut playbook.display_name, &mut playbook.description];
    for step in playbook.variants.iter_mut().flat_map(|variant| &mut variant.steps) {
        if let Some(step::Action::Task(task)) = &mut step.action {
            texts.extend([&mut task.title, &mut task.note]);
        }
    }
    texts.retain(|text| !text.is_empty());
    texts
}

/// A playbook in another language. Whoever has no language that its e-mails know reads this one.
fn translated(english: &Playbook, language: &str, translation: &Translation) -> Playbook {
    let mut playbook = english.clone();
    for text in texts(&mut playbook) {
        if let Some(found) = translation.get(text) {
            text.clone_from(found);
        }
    }
    for step in playbook.variants.iter_mut().flat_map(|variant| &mut variant.steps) {
        if let Some(step::Action::Email(email)) = &mut step.action {
            email.texts.iter_mut().for_each(|text| text.language = swapped(text, language));
            email.texts.sort_by(|a, b| a.language.cmp(&b.language));
        }
    }
    playbook
}

/// The language of an e-mail's text where texts of `language` are for everybody else, and no longer those in English.
fn swapped(text: &EmailText, language: &str) -> String {
    match text.language.as_str() {
        "" => ENGLISH.to_owned(),
        other if other == language => String::new(),
        other => other.to_owned(),
    }
}

/// All templates with their ids, by id, in a language: in English where they are not in that one.
pub fn templates(language: &str) -> &'static [(&'static str, Playbook)] {
    let found = language::lookup(&TEMPLATES, |(language, _)| language, language);
    found.or_else(|| TEMPLATES.first()).map_or(&[], |(_, templates)| templates)
}

/// The template of an id in a language.
pub fn template(id: &str, language: &str) -> Option<&'static Playbook> {
    templates(language).iter().find(|(known, _)| *known == id).map(|(_, playbook)| playbook)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::playbooks::{check, experiment};
    use std::collections::HashSet;

    #[test]
    fn every_template_is_a_playbook_in_every_language() {
        for language in ["en", "de", "zh"] {
            assert!(templates(language).is_sorted_by_key(|(id, _)| *id));
            assert_eq!(templates(language).len(), TEXTS.len());
            for (id, playbook) in templates(language) {
                assert_eq!(check(playbook), Ok(()), "{id} in {language}");
                assert!(experiment(playbook).is_ok(), "{id} in {language}");
                assert!(!playbook.display_name.is_empty() && !playbook.description.is_empty(), "{id} in {language}");
            }
        }
    }

    #[test]
    fn every_text_is_translated_and_no_translation_is_of_another() {
        let english = templates("en").iter().map(|(_, playbook)| playbook.clone());
        let said: HashSet<String> = english
            .flat_map(|mut playbook| texts(&mut playbook).into_iter().map(|text| text.clone()).collect::<Vec<_>>())
            .collect();
        for (language, text) in TRANSLATIONS {
            let translation: Translation = serde_json::from_str(text).unwrap();
            assert_eq!(translation.into_keys().collect::<HashSet<_>>(), said, "{language}");
        }
    }

    #[test]
    fn emails_of_a_template_are_for_everybody_else_in_its_language() {
        let languages = |language| {
            let steps = template("birthday", language).unwrap().variants[0].steps.clone();
            let Some(step::Action::Email(email)) = steps[0].action.clone() else { panic!("no e-mail") };
            email.texts.into_iter().map(|text| (text.language, text.subject)).collect::<Vec<_>>()
        };
        let [en, de, zh] = ["Happy birthday!", "Alles Gute zum Geburtstag!", "祝您生日快乐！"].map(str::to_owned);
        let of = |language: &str, subject: &String| (language.to_owned(), subject.clone());
        assert_eq!(languages("en"), [of("", &en), of("de", &de), of("zh", &zh)]);
        assert_eq!(languages("fr"), languages("en"));
        assert_eq!(languages("zh-CN"), [of("", &zh), of("de", &de), of("en", &en)]);
        assert_eq!(languages("de"), [of("", &de), of("en", &en), of("zh", &zh)]);
    }
}
