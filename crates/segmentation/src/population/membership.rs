//! How it is decided who belongs to a definition: what that reads, and how the passing of time moves it.

use super::clustering::Clusters;
use crate::engine::Bitmap;
use quintile_expr::{Node, Operand, Rule};
use std::collections::BTreeSet;
use std::sync::Arc;

/// How it is decided who belongs.
#[derive(Clone, Debug)]
pub enum Membership {
    /// The first rule that matches decides: the only one of a segment, one per label of a label set.
    Rules(Vec<Rule>),
    /// The nearest cluster decides.
    Clusters(Arc<Clusters>),
    /// Who is on the list.
    List {
        /// They.
        listed: Bitmap,
        /// The fields that were read when it began.
        began_with: BTreeSet<u16>,
    },
}

impl Membership {
    /// The rules that it reads: of clusters the one for who is clustered at all, where there is one; none of a list.
    pub fn rules(&self) -> &[Rule] {
        match self {
            Self::Rules(rules) => rules,
            Self::Clusters(clusters) => clusters.within(),
            Self::List { .. } => &[],
        }
    }

    /// The fields that it reads itself, and not through what it refers to.
    pub fn fields(&self) -> BTreeSet<u16> {
        let of_rules = self.rules().iter().flat_map(Rule::fields).copied();
        match self {
            Self::Rules(_) => of_rules.collect(),
            Self::Clusters(clusters) => of_rules.chain(clusters.fields()).collect(),
            Self::List { began_with, .. } => began_with.clone(),
        }
    }

    /// How the passing of time moves it itself.
    pub fn turns(&self) -> Turns {
        let of_rules = self.rules().iter().map(turns_of_rule).max().unwrap_or_default();
        match self {
            Self::Clusters(clusters) if clusters.read_days() => of_rules.max(Turns::Daily),
            _ => of_rules,
        }
    }
}

/// How the passing of time moves a definition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Turns {
    /// It doesn't.
    #[default]
    Never,
    /// At local midnights.
    Daily,
    /// At any instant.
    Always,
}

/// How the passing of time moves who matches a rule, what it refers to aside.
pub fn turns_of_rule(rule: &Rule) -> Turns {
    match (compares_with_now(rule.root()), rule.depends_on_time()) {
        (true, _) => Turns::Always,
        (false, true) => Turns::Daily,
        (false, false) => Turns::Never,
    }
}

/// Whether a rule compares an instant with the present one, and so turns at any instant, not only at midnight.
fn compares_with_now(node: &Node) -> bool {
    match node {
        Node::And(nodes) | Node::Or(nodes) => nodes.iter().any(compares_with_now),
        Node::Not(node) => compares_with_now(node),
        Node::Compare { with, .. } => matches!(with, Operand::Now),
        _ => false,
    }
}
