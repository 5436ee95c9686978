//! A segment or a label set as it is written down: what is live, and what is being prepared.

use super::catalogue::{Key, Live};
use super::clustering::{Clustering, Clusters};
use super::membership::Membership;
use crate::engine::Bitmap;
use crate::labels::LabelSet;
use quintile_domain::time::Instant;
use quintile_expr::{Rule, Schema};
use std::sync::Arc;

/// What a definition says.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// The rule of a segment, in its author's words.
    Rule(String),
    /// Members are put on a list, and taken off it. Of the rule that it began with, the fields that were read: who may not read them may not know who
    /// is on it.
    List(Vec<u16>),
    /// The labels of a set, with their rules.
    Labels(LabelSet),
    /// The labels of a set that follow from clusters.
    Clusters(Arc<Clustering>),
}

impl Body {
    /// The rule of a segment, in its author's words.
    pub fn source(&self) -> Option<&str> {
        match self {
            Self::Rule(source) => Some(source),
            Self::List(_) | Self::Labels(_) | Self::Clusters(_) => None,
        }
    }

    /// The labels of a set.
    pub fn labels(&self) -> Option<&LabelSet> {
        match self {
            Self::Rule(_) | Self::List(_) => None,
            Self::Labels(set) => Some(set),
            Self::Clusters(clustering) => Some(&clustering.labels),
        }
    }

    /// How it decides who belongs; `listed` are those on its list, where it is one. `None`: a rule or a field is none any longer.
    pub fn membership(&self, schema: &Schema, listed: Bitmap) -> Option<Membership> {
        let parse = |source: &str| Rule::parse(source, schema).ok();
        match self {
            Self::Rule(source) => Some(Membership::Rules(vec![parse(source)?])),
            Self::List(began_with) => {
                Some(Membership::List { listed, began_with: began_with.iter().copied().collect() })
            }
            Self::Labels(set) => {
                let rules = set.labels.iter().map(|label| parse(&label.expression));
                rules.collect::<Option<_>>().map(Membership::Rules)
            }
            Self::Clusters(clustering) => {
                Clusters::bind(clustering.clone(), schema).map(|clusters| Membership::Clusters(Arc::new(clusters)))
            }
        }
    }
}

/// A definition.
#[derive(Clone, Debug, PartialEq)]
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

/// What a body is when it is live.
pub fn live(key: &Key, version: i64, body: &Body, membership: Membership) -> Live {
    match body.labels() {
        None => Live::segment(&key.id, version, membership),
        Some(set) => Live::label_set(&key.id, version, &set.ids(), membership),
    }
}
