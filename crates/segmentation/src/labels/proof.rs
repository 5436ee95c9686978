//! The proof that a label set is complete: over every combination of the values that its fields can have, where those are finitely many.

use super::LabelSet;
use crate::fields::FieldId;
use quintile_expr::{Node, Now, Operand, Row, Rule, Value, ValueRef};
use std::collections::{BTreeSet, HashSet};
use thiserror::Error;

/// The most combinations that are tried: all that there are of all fields with finitely many values.
const MAX_CELLS: usize = 72_000;
/// The bands of grades, where nobody has named others.
const BANDS: [&str; 4] = ["A", "B", "C", "D"];

/// Why a label set is refused. Each names the first cell or label at fault, in the order of the set.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum LabelError {
    /// Two labels, that of the rest among them, have one id.
    #[error("two labels have the id `{0}`")]
    DuplicateId(String),
    /// The rule of a label is none.
    #[error("the rule of label `{0}` can't be read")]
    Unreadable(String),
    /// No customer could ever bear it.
    #[error("label `{0}` has no cell")]
    Empty(String),
    /// All cells of a label belong to labels before it, so no customer could ever bear it.
    #[error("label `{label}` is shadowed: all its cells belong to labels before it, {cell} to `{by}`")]
    Shadowed {
        /// The id of the label that nobody would bear.
        label: String,
        /// Its first cell.
        cell: String,
        /// The id of the label that has this cell.
        by: String,
    },
    /// A cell has two labels, and that is not said to be meant.
    #[error("{cell} belongs to `{first}` and again to `{second}`")]
    Overlap {
        /// The cell.
        cell: String,
        /// The id of the label that has it first.
        first: String,
        /// The id of the label that has it again.
        second: String,
    },
    /// A cell has no label.
    #[error("{cell} has no label")]
    Gap {
        /// The cell.
        cell: String,
    },
    /// Rules read more than the three scores.
    #[error("the rules read more than recency, frequency and monetary scores")]
    NotOfScores,
}

/// What was proved: the label of every cell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// The fields that make the cells. Empty: the set reads what has no end of values, and nothing was proved.
    pub fields: Vec<FieldId>,
    /// Every cell, as a value for each field, with the place of its label.
    pub cells: Vec<(Vec<Value>, usize)>,
}

impl Proof {
    /// The cells of a label by its place, in words.
    pub fn cells_of(&self, label: usize) -> impl Iterator<Item = String> {
        let of_label = self.cells.iter().filter(move |(_, other)| *other == label);
        of_label.map(|(values, _)| in_words(&self.fields, values))
    }
}

/// Proves that every cell has a label, every label a cell, and that none has two where that is not meant. `rules` are those of the labels, in
/// order. A set that reads fields with no end of values is not proved, and not refused.
///
/// # Errors
/// [`LabelError`], with the first fault: per label in order, then per cell.
pub fn prove(set: &LabelSet, rules: &[Rule]) -> Result<Proof, LabelError> {
    let mut ids = HashSet::new();
    if let Some(id) = set.ids().into_iter().find(|id| !ids.insert(id.clone())) {
        return Err(LabelError::DuplicateId(id));
    }
    let Some((fields, cells)) = cells(rules) else { return Ok(Proof::default()) };
    let matching: Vec<Vec<usize>> = cells.iter().map(|values| matching(rules, &fields, values)).collect();
    let id = |label: usize| set.labels.get(label).map_or_else(String::new, |label| label.id.clone());
    let words = |cell: usize| in_words(&fields, &cells[cell]);
    for label in 0..rules.len() {
        let mut of_label = (0..cells.len()).filter(|cell| matching[*cell].contains(&label)).peekable();
        let Some(&cell) = of_label.peek() else { return Err(LabelError::Empty(id(label))) };
        if of_label.all(|cell| matching[cell][0] < label) {
            return Err(LabelError::Shadowed { label: id(label), cell: words(cell), by: id(matching[cell][0]) });
        }
    }
    for (cell, labels) in matching.iter().enumerate() {
        match labels.as_slice() {
            [] => return Err(LabelError::Gap { cell: words(cell) }),
            [first, second, ..] if !set.overlaps_allowed => {
                return Err(LabelError::Overlap { cell: words(cell), first: id(*first), second: id(*second) });
            }
            _ => {}
        }
    }
    let labels = matching.iter().map(|labels| labels[0]);
    Ok(Proof { fields, cells: cells.into_iter().zip(labels).collect() })
}

/// The fields that rules read and every combination of their values. `None`: there is no end of them.
fn cells(rules: &[Rule]) -> Option<(Vec<FieldId>, Vec<Vec<Value>>)> {
    let scores = [FieldId::Recency, FieldId::Frequency, FieldId::Monetary];
    let mut fields: BTreeSet<FieldId> = BTreeSet::new();
    for rule in rules {
        if rule.depends_on_time() || !rule.references().is_empty() || !knows_all_bands(rule.root()) {
            return None;
        }
        for field in rule.fields() {
            fields.insert(FieldId::from_id(*field)?);
        }
    }
    if scores.iter().any(|score| fields.contains(score)) {
        fields.extend(scores);
    }
    let mut cells: Vec<Vec<Value>> = vec![Vec::new()];
    for field in &fields {
        let values = values(*field)?;
        if cells.len() * values.len() > MAX_CELLS {
            return None;
        }
        let longer = |cell: &Vec<Value>| {
            let cell = cell.clone();
            values.clone().into_iter().map(move |value| cell.iter().cloned().chain([value]).collect())
        };
        cells = cells.iter().flat_map(longer).collect();
    }
    Some((fields.into_iter().collect(), cells))
}

/// Whether conditions on the band of a grade speak of no other bands: a model may name its own, and what those are is not known here.
fn knows_all_bands(node: &Node) -> bool {
    let is_band = |value: &Value| matches!(value, Value::Text(band) if BANDS.contains(&band.as_str()));
    let of_band = |field: &u16| *field == FieldId::GradeBand.id();
    match node {
        Node::And(nodes) | Node::Or(nodes) => nodes.iter().all(knows_all_bands),
        Node::Not(node) => knows_all_bands(node),
        Node::Compare { field, with: Operand::Constant(value), .. } if of_band(field) => is_band(value),
        Node::Compare { field, with: Operand::Field(other), .. } => !of_band(field) && !of_band(other),
        Node::In { field, set } if of_band(field) => set.iter().all(is_band),
        Node::StartsWith { field, .. } | Node::Contains { field, .. } => !of_band(field),
        _ => true,
    }
}

/// All values that a field can have.
fn values(field: FieldId) -> Option<Vec<Value>> {
    let texts = |texts: &[&str]| Some(texts.iter().map(|text| Value::Text((*text).to_owned())).collect());
    match field {
        FieldId::Recency | FieldId::Frequency | FieldId::Monetary => Some((1..=5).map(Value::Int).collect()),
        FieldId::Stage => texts(&["lead", "new", "active", "loyal", "at_risk", "dormant", "churned", "reactivated"]),
        FieldId::GradeBand => texts(&BANDS),
        FieldId::GradeTier => texts(&["low", "middle", "high"]),
        FieldId::GradeVip
        | FieldId::WarningSilence
        | FieldId::WarningPurchases
        | FieldId::WarningInteractions
        | FieldId::WarningComplaint
        | FieldId::WarningChurnRisk
        | FieldId::WarningLowScore => texts(&["yes", "no"]),
        FieldId::Kind => texts(&["customer", "contact", "lead"]),
        _ => None,
    }
}

/// The places of the rules that a cell matches, ascending.
fn matching(rules: &[Rule], fields: &[FieldId], values: &[Value]) -> Vec<usize> {
    let now = Now::new(0, &|_| 0);
    let row = Cell { fields, values };
    (0..rules.len()).filter(|rule| rules[*rule].matches(&row, &now)).collect()
}

struct Cell<'a> {
    fields: &'a [FieldId],
    values: &'a [Value],
}

impl Row for Cell<'_> {
    fn value(&self, field: u16) -> Option<ValueRef<'_>> {
        let at = self.fields.iter().position(|other| other.id() == field)?;
        self.values.get(at).map(ValueRef::from)
    }

    fn in_segment(&self, _name: &str) -> bool {
        false
    }
}

/// `144` for three scores, else each field with its value.
fn in_words(fields: &[FieldId], values: &[Value]) -> String {
    let digits = values.iter().map(|value| match value {
        Value::Int(score) => score.to_string(),
        _ => String::new(),
    });
    if fields == [FieldId::Recency, FieldId::Frequency, FieldId::Monetary] {
        return digits.collect();
    }
    let pair = |(field, value): (&FieldId, &Value)| match value {
        Value::Int(number) => format!("{} == {number}", field.name()),
        Value::Text(text) => format!("{} == {text:?}", field.name()),
        Value::Bool(_) | Value::Instant(_) => field.name().to_owned(),
    };
    fields.iter().zip(values).map(pair).collect::<Vec<_>>().join(" && ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::schema;
    use crate::labels::{Label, expression_of};

    fn set(overlaps_allowed: bool, labels: &[(&str, &str)]) -> LabelSet {
        let label = |(id, expression): &(&str, &str)| Label {
            id: (*id).to_owned(),
            expression: (*expression).to_owned(),
            ..Label::default()
        };
        let rest = Label { id: "rest".to_owned(), ..Label::default() };
        LabelSet { labels: labels.iter().map(label).collect(), rest, overlaps_allowed }
    }

    fn proved(set: &LabelSet) -> Result<Proof, LabelError> {
        let schema = schema(2).unwrap();
        let rules: Vec<_> = set.labels.iter().map(|label| Rule::parse(&label.expression, &schema).unwrap()).collect();
        prove(set, &rules)
    }

    #[test]
    fn a_gap_is_named() {
        let gap = |cell: &str| Err(LabelError::Gap { cell: cell.to_owned() });
        assert_eq!(proved(&set(false, &[("low", "rfm.f < 3"), ("high", "rfm.f > 3")])), gap("131"));
        assert_eq!(proved(&set(false, &[("low", "grade.tier != \"high\"")])), gap("grade.tier == \"high\""));
    }

    #[test]
    fn an_overlap_is_named_unless_it_is_meant() {
        let labels = [("many", "rfm.f >= 3"), ("few", "rfm.f <= 3")];
        let overlap =
            LabelError::Overlap { cell: "131".to_owned(), first: "many".to_owned(), second: "few".to_owned() };
        assert_eq!(proved(&set(false, &labels)), Err(overlap));
        let proof = proved(&set(true, &labels)).unwrap();
        assert_eq!(proof.cells_of(0).count(), 75);
        assert_eq!(proof.cells_of(1).count(), 50);
        assert!(proof.cells_of(0).any(|cell| cell == "131"));
    }

    #[test]
    fn a_label_that_nobody_could_bear_is_named() {
        let shadowed = set(true, &[("all", "rfm.f >= 1"), ("best", "rfm.r == 5 && rfm.f == 5")]);
        let error = LabelError::Shadowed { label: "best".to_owned(), cell: "551".to_owned(), by: "all".to_owned() };
        assert_eq!(proved(&shadowed), Err(error));
        let empty = set(true, &[("all", "rfm.f >= 1"), ("none", "rfm.f > 5")]);
        assert_eq!(proved(&empty), Err(LabelError::Empty("none".to_owned())));
    }

    #[test]
    fn two_labels_with_one_id_are_refused() {
        let twice = |id: &str| Err(LabelError::DuplicateId(id.to_owned()));
        assert_eq!(proved(&set(false, &[("a", "rfm.f < 3"), ("a", "rfm.f >= 3")])), twice("a"));
        assert_eq!(proved(&set(false, &[("rest", "rfm.f < 3")])), twice("rest"));
    }

    #[test]
    fn what_has_no_end_of_values_is_not_proved() {
        for rule in [
            "channel == \"online\"",
            "grade.band in [\"A\", \"good\"]",
            "orders > 3 && rfm.f > 1",
            "days_since(last_order_at) < 3",
            "segment(\"vip\")",
        ] {
            assert_eq!(proved(&set(false, &[("a", rule)])), Ok(Proof::default()), "{rule}");
        }
    }

    #[test]
    fn cells_become_a_rule_that_finds_them_and_no_others() {
        let cells = [555, 554, 111, 155, 554];
        let expression = expression_of(&cells).unwrap();
        let others = format!("!({expression}) && has(rfm.r) && has(rfm.f) && has(rfm.m)");
        let proof = proved(&set(false, &[("these", &expression), ("others", &others)])).unwrap();
        assert_eq!(proof.cells_of(0).collect::<Vec<_>>(), ["111", "155", "554", "555"]);
        for cell in [0, 55, 506, 560, 611, 1111] {
            assert_eq!(expression_of(&[555, cell]), Err(cell));
        }
    }
}
