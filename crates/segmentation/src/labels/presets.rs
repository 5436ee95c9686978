//! Label sets that everybody knows, ready to be used and to be changed.

use super::titles::{titles, titles_of};
use super::{Label, LabelSet, expression_of};

/// The presets that a tenant can make a set of its own of.
pub const NAMES: [&str; 7] = ["rfm-11", "rfm-8", "rfm-cn-8", "frequency-3", "value-3", "lifecycle", "channel"];

/// The most bytes of a title.
const TITLE_BYTES: usize = 128;
/// Who has scores, whatever they are.
const SCORED: &str = "has(rfm.r) && has(rfm.f) && has(rfm.m)";

/// Id, title and cells of the labels of `rfm-11`.
const RFM_11: [(&str, &str, &[u16]); 11] = [
    ("champions", "Champions", &[555, 554, 544, 545, 454, 455, 445]),
    ("loyal", "Loyal", &[543, 444, 435, 355, 354, 345, 344, 335]),
    (
        "potential-loyalist",
        "Potential Loyalist",
        &[
            553, 551, 552, 541, 542, 533, 532, 531, 452, 451, 442, 441, 431, 453, 433, 432, 423, 353, 352, 351, 342,
            341, 333, 323,
        ],
    ),
    ("new", "New", &[512, 511, 422, 421, 412, 411, 311]),
    ("promising", "Promising", &[525, 524, 523, 522, 521, 515, 514, 513, 425, 424, 413, 414, 415, 315, 314, 313]),
    ("need-attention", "Need Attention", &[535, 534, 443, 434, 343, 334, 325, 324]),
    ("about-to-sleep", "About To Sleep", &[331, 321, 312, 221, 213, 231, 241, 251]),
    (
        "at-risk",
        "At Risk",
        &[255, 254, 245, 244, 253, 252, 243, 242, 235, 234, 225, 224, 153, 152, 145, 143, 142, 135, 134, 133, 125, 124],
    ),
    ("cannot-lose", "Cannot Lose", &[155, 154, 144, 214, 215, 115, 114, 113]),
    ("hibernating", "Hibernating", &[332, 322, 233, 232, 223, 222, 132, 123, 122, 212, 211]),
    ("lost", "Lost", &[111, 112, 121, 131, 141, 151]),
];

fn label(id: &str, title: &str, expression: impl Into<String>) -> Label {
    Label { id: id.to_owned(), title: title.to_owned(), titles: titles_of(title), expression: expression.into() }
}

fn set(labels: Vec<Label>, rest: (&str, &str), overlaps_allowed: bool) -> LabelSet {
    LabelSet { labels, rest: label(rest.0, rest.1, ""), overlaps_allowed }
}

const UNSCORED: (&str, &str) = ("unscored", "Unscored");

/// `rfm-11`: eleven labels, and `unscored` for customers without an order.
pub fn rfm_11() -> LabelSet {
    // The table is of cells; a test proves that each is one.
    let of_cells = |cells: &[u16]| expression_of(cells).unwrap_or_default();
    let labels = RFM_11.iter().map(|(id, title, cells)| label(id, title, of_cells(cells)));
    set(labels.collect(), UNSCORED, false)
}

/// `rfm-8`: the first that matches.
pub fn rfm_8() -> LabelSet {
    let labels = vec![
        label("vip", "VIP", "rfm.r >= 4 && rfm.f >= 4 && rfm.m >= 4"),
        label("cannot-lose", "Cannot Lose", "rfm.r == 1 && rfm.f >= 4 && rfm.m >= 4"),
        label("at-risk", "At Risk", "rfm.r <= 2 && (rfm.f >= 4 || rfm.m >= 4)"),
        label("loyal", "Loyal", "rfm.f >= 4"),
        label("big-spender", "Big Spender", "rfm.m >= 4"),
        label("new", "New", "rfm.r >= 4 && rfm.f <= 2"),
        label("promising", "Promising", "rfm.r >= 3"),
        label("lapsed", "Lapsed", SCORED),
    ];
    set(labels, UNSCORED, true)
}

/// `rfm-cn-8`: by whether each score is high, which is at or above these.
pub fn rfm_cn_8(high: [i64; 3]) -> LabelSet {
    const LABELS: [(&str, &str, [bool; 3], [&str; 2]); 8] = [
        ("key-value", "重要价值", [true, true, true], ["Key customers to value", "Wichtige Kunden: pflegen"]),
        ("key-develop", "重要发展", [true, false, true], ["Key customers to develop", "Wichtige Kunden: ausbauen"]),
        ("key-keep", "重要保持", [false, true, true], ["Key customers to keep", "Wichtige Kunden: halten"]),
        (
            "key-win-back",
            "重要挽留",
            [false, false, true],
            ["Key customers to win back", "Wichtige Kunden: zurückgewinnen"],
        ),
        ("general-value", "一般价值", [true, true, false], ["Other customers to value", "Übrige Kunden: pflegen"]),
        (
            "general-develop",
            "一般发展",
            [true, false, false],
            ["Other customers to develop", "Übrige Kunden: ausbauen"],
        ),
        ("general-keep", "一般保持", [false, true, false], ["Other customers to keep", "Übrige Kunden: halten"]),
        (
            "general-win-back",
            "一般挽留",
            [false, false, false],
            ["Other customers to win back", "Übrige Kunden: zurückgewinnen"],
        ),
    ];
    let condition =
        |(field, high, is_high): (&str, i64, bool)| format!("{field} {} {high}", if is_high { ">=" } else { "<" });
    let labels = LABELS.iter().map(|(id, title, bits, [english, german])| {
        let fields = ["rfm.r", "rfm.f", "rfm.m"].into_iter().zip(high).zip(bits);
        let conditions: Vec<String> = fields.map(|((field, high), bit)| condition((field, high, *bit))).collect();
        let titles = titles([english, german, &format!("{title}客户")]);
        Label { titles, ..label(id, title, conditions.join(" && ")) }
    });
    set(labels.collect(), UNSCORED, false)
}

/// `frequency-3`: by the frequency score.
pub fn frequency_3() -> LabelSet {
    let labels = vec![
        label("rare", "Rare", "rfm.f <= 2"),
        label("regular", "Regular", "rfm.f == 3"),
        label("frequent", "Frequent", "rfm.f >= 4"),
    ];
    set(labels, UNSCORED, false)
}

/// `value-3`: by the band of the grade.
pub fn value_3() -> LabelSet {
    let labels = vec![
        label("low", "Low value", "grade.band == \"D\""),
        label("middle", "Middle value", "grade.band in [\"B\", \"C\"]"),
        label("high", "High value", "grade.band == \"A\""),
    ];
    set(labels, ("ungraded", "Ungraded"), false)
}

/// `lifecycle`: by the stage.
pub fn lifecycle() -> LabelSet {
    const STAGES: [(&str, &str, &str); 8] = [
        ("lead", "lead", "Lead"),
        ("new", "new", "New"),
        ("active", "active", "Active"),
        ("loyal", "loyal", "Loyal"),
        ("at-risk", "at_risk", "At Risk"),
        ("dormant", "dormant", "Dormant"),
        ("churned", "churned", "Churned"),
        ("reactivated", "reactivated", "Reactivated"),
    ];
    let labels = STAGES.iter().map(|(id, stage, title)| label(id, title, format!("stage == {stage:?}")));
    set(labels.collect(), ("undecided", "Undecided"), false)
}

/// `channel`: by the primary channel, one label for each of these. Ids are made of the names: what is no letter or digit becomes `-`.
pub fn channel(channels: &[&str]) -> LabelSet {
    let mut labels: Vec<Label> = Vec::new();
    for channel in channels {
        let spelt: String =
            channel.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
        let id: String = format!("by-{}", spelt.trim_matches('-')).chars().take(60).collect();
        let id = id.trim_end_matches('-').to_owned();
        let taken = |id: &str| labels.iter().any(|other| other.id == id);
        let other = (2..=channels.len()).map(|number| format!("{id}-{number}")).find(|other| !taken(other));
        let id = if taken(&id) { other.unwrap_or_default() } else { id };
        // A channel's name may be longer than a title.
        let mut end = channel.len().min(TITLE_BYTES);
        while !channel.is_char_boundary(end) {
            end -= 1;
        }
        let expression = format!("channel == {}", quoted(channel));
        // A name is the same in every language.
        labels.push(Label { titles: Vec::new(), ..label(&id, &channel[..end], expression) });
    }
    set(labels, ("other", "Other"), false)
}

/// A text as rules spell it.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::schema;
    use crate::labels::{Proof, Title, prove};
    use quintile_expr::Rule;
    use std::collections::HashSet;

    fn proved(set: &LabelSet) -> Proof {
        let schema = schema(2).unwrap();
        let rules: Vec<_> = set.labels.iter().map(|label| Rule::parse(&label.expression, &schema).unwrap()).collect();
        prove(set, &rules).unwrap()
    }

    #[test]
    fn every_preset_of_scores_is_proved_over_all_cells() {
        for set in [rfm_11(), rfm_8(), rfm_cn_8([3, 3, 3]), rfm_cn_8([2, 4, 5]), frequency_3()] {
            assert_eq!(proved(&set).cells.len(), 125, "{set:?}");
        }
        assert_eq!(proved(&value_3()).cells.len(), 4);
        assert_eq!(proved(&lifecycle()).cells.len(), 8);
    }

    #[test]
    fn the_cells_of_the_set_that_ships_are_those_of_its_table() {
        let proof = proved(&rfm_11());
        for (place, (id, _, cells)) in RFM_11.iter().enumerate() {
            let mut cells: Vec<String> = cells.iter().map(u16::to_string).collect();
            cells.sort_unstable();
            assert_eq!(proof.cells_of(place).collect::<Vec<_>>(), cells, "{id}");
        }
    }

    #[test]
    fn eight_labels_are_told_apart_in_their_order() {
        let (set, proof) = (rfm_8(), proved(&rfm_8()));
        let table = [
            ("555", "vip"),
            ("444", "vip"),
            ("144", "cannot-lose"),
            ("155", "cannot-lose"),
            ("244", "at-risk"),
            ("141", "at-risk"),
            ("115", "at-risk"),
            ("341", "loyal"),
            ("543", "loyal"),
            ("335", "big-spender"),
            ("513", "new"),
            ("422", "new"),
            ("533", "promising"),
            ("311", "promising"),
            ("233", "lapsed"),
            ("111", "lapsed"),
        ];
        for (cell, id) in table {
            let place = (0..8).find(|place| proof.cells_of(*place).any(|other| other == cell)).unwrap();
            assert_eq!(set.labels[place].id, id, "{cell}");
        }
    }

    #[test]
    fn high_scores_spell_the_eight_labels_in_the_published_order() {
        let (set, proof) = (rfm_cn_8([3, 3, 3]), proved(&rfm_cn_8([3, 3, 3])));
        let cells = ["555", "515", "155", "115", "551", "511", "151", "111"];
        for (place, cell) in cells.into_iter().enumerate() {
            assert!(proof.cells_of(place).any(|other| other == cell), "{cell}");
        }
        let titles: Vec<_> = set.labels.iter().map(|label| label.title.as_str()).collect();
        assert_eq!(
            titles,
            ["重要价值", "重要发展", "重要保持", "重要挽留", "一般价值", "一般发展", "一般保持", "一般挽留"]
        );
    }

    #[test]
    fn every_label_of_a_preset_has_a_title_in_every_language() {
        let languages = ["en", "de", "zh"];
        for set in [rfm_11(), rfm_8(), rfm_cn_8([3, 3, 3]), frequency_3(), value_3(), lifecycle()] {
            for label in set.labels.iter().chain([&set.rest]) {
                let told: Vec<_> = label.titles.iter().map(|title| title.language.as_str()).collect();
                assert_eq!(told, languages, "{label:?}");
                let fits = |title: &Title| !title.title.is_empty() && title.title.len() <= TITLE_BYTES;
                assert!(label.titles.iter().all(fits), "{label:?}");
            }
            for place in 0..languages.len() {
                let titles: HashSet<_> = set.labels.iter().map(|label| &label.titles[place].title).collect();
                assert_eq!(titles.len(), set.labels.len(), "two of a set are called the same: {titles:?}");
            }
        }
        assert!(channel(&["New"]).labels[0].titles.is_empty(), "a channel's name is a name");
    }

    #[test]
    fn channels_of_any_name_have_ids_of_their_own() {
        let set = channel(&["Online", "online", "in store", "门店", "微信", "a\"b\\c"]);
        let ids = set.ids();
        assert_eq!(ids, ["by-online", "by-online-2", "by-in-store", "by", "by-2", "by-a-b-c", "other"]);
        assert_eq!(proved(&set), Proof::default());
    }
}
