//! A segment or a label set as it is written down: what is live, and what is being prepared.

use super::catalogue::{Key, Live, Membership};
use crate::engine::Bitmap;
use crate::labels::LabelSet;
use quintile_domain::time::Instant;
use quintile_expr::{Rule, Schema};

/// What a definition says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// The rule of a segment, in its author's words.
    Rule(String),
    /// Members are put on a list, and taken off it. Of the rule that it began with, the fields that were read: who may not read them may not know who
    /// is on it.
    List(Vec<u16>),
    /// The labels of a set.
    Labels(LabelSet),
}

impl Body {
    /// The rules, in the order in which they decide.
    pub fn sources(&self) -> Vec<&str> {
        match self {
            Self::Rule(source) => vec![source],
            Self::List(_) => Vec::new(),
            Self::Labels(set) => set.labels.iter().map(|label| label.expression.as_str()).collect(),
        }
    }
}

/// A definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// What it is known by.
    pub key: Key,
    /// What it is for.
    pub description: String,
    /// When it was made. Machine time.
    pub created_at: Instant,
    /// Grows with every change, of the draft too.
    pub revision: i64,
    /// The version that is live, from 1. 0: none is.
    pub version: i64,
    /// What is live.
    pub live: Option<Body>,
    /// What is being prepared.
    pub draft: Option<Body>,
}

impl Definition {
    /// Names this state of it.
    pub fn etag(&self) -> String {
        format!("\"{}-{}\"", self.created_at.micros(), self.revision)
    }

    /// Whether members are put on a list.
    pub fn is_list(&self) -> bool {
        matches!(self.live, Some(Body::List(_)))
    }
}

/// The rules of a body. `None`: one is none any longer.
pub fn rules(body: &Body, schema: &Schema) -> Option<Vec<Rule>> {
    body.sources().into_iter().map(|source| Rule::parse(source, schema).ok()).collect()
}

/// What a body is when it is live.
pub fn live(key: &Key, version: i64, body: &Body, rules: Vec<Rule>, listed: Bitmap) -> Live {
    match body {
        Body::Rule(_) => Live::segment(&key.id, version, Membership::Rules(rules)),
        Body::List(began_with) => {
            let began_with = began_with.iter().copied().collect();
            Live::segment(&key.id, version, Membership::List { listed, began_with })
        }
        Body::Labels(set) => Live::label_set(&key.id, version, &set.ids(), rules),
    }
}
