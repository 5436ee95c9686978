//! Languages as BCP 47 names them: what a tag looks like, and what of several somebody reads.

/// What a tag of any length that is in use fits into: RFC 5646, 4.4.1.
const MAX_TAG_BYTES: usize = 35;

/// Whether a text has the form of a BCP 47 tag, such as `en` or `zh-Hant`.
pub fn is_tag(text: &str) -> bool {
    let is_subtag = |part: &str| (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
    text.len() <= MAX_TAG_BYTES && text.split('-').all(is_subtag)
}

/// What of several is in somebody's language: that of the whole tag, or of its longest part that there is, or that without language ("lookup" of
/// RFC 4647). `None`: there is nothing of these.
pub fn lookup<'t, T>(texts: &'t [T], language_of: impl Fn(&T) -> &str, tag: &str) -> Option<&'t T> {
    let of = |tag: &str| texts.iter().find(|text| language_of(text).eq_ignore_ascii_case(tag));
    let mut tag = tag;
    while !tag.is_empty() {
        if let Some(found) = of(tag) {
            return Some(found);
        }
        tag = tag.rsplit_once(['-', '_']).map_or("", |(longer, _)| longer);
    }
    of("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_reads_the_nearest_language_that_there_is() {
        let of = |language| lookup(&["de", "zh", "zh-Hant", ""], |text| *text, language).copied();
        for (language, read) in [
            ("de", "de"),
            ("DE-at", "de"),
            ("zh-hant-TW", "zh-Hant"),
            ("zh-Hans-CN", "zh"),
            ("de_AT", "de"),
            ("den", ""),
            ("fr", ""),
            ("", ""),
        ] {
            assert_eq!(of(language), Some(read), "{language}");
        }
        assert_eq!(lookup(&["de"], |text| *text, "fr"), None);
    }

    #[test]
    fn a_tag_is_of_short_words_and_hyphens() {
        for tag in ["en", "zh-Hant", "de-CH-1996", "x-klingon"] {
            assert!(is_tag(tag), "{tag}");
        }
        for wrong in
            ["", "-", "en-", "-en", "en_GB", "german language", "deutschland", "中文", "en--GB", "a".repeat(9).as_str()]
        {
            assert!(!is_tag(wrong), "{wrong:?}");
        }
        assert!(!is_tag(&["abcdefgh"; 5].join("-")));
    }
}
