//! A rule: its source, its tree, and what it depends on.

use crate::evaluate::{Now, Row};
use crate::{ExprError, Node, Schema, bind, format, guard, syntax};

/// A rule that can be asked about rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    source: String,
    bound: bind::Bound,
}

impl Rule {
    /// Reads a rule and checks it against the schema.
    ///
    /// # Errors
    /// [`ExprError`], with the first fault found; its text shows none of the rule's literals.
    pub fn parse(source: &str, schema: &Schema) -> Result<Self, ExprError> {
        guard::check(source)?;
        let parsed = syntax::parse(source)?;
        let bound = bind::bind(source, &parsed, schema)?;
        Ok(Self { source: source.to_owned(), bound })
    }

    pub(crate) fn bound(&self) -> &bind::Bound {
        &self.bound
    }

    pub(crate) fn with_bound(&self, bound: bind::Bound) -> Self {
        Self { source: self.source.clone(), bound }
    }

    /// Whether the row matches at that instant.
    #[must_use]
    pub fn matches(&self, row: &dyn Row, now: &Now<'_>) -> bool {
        self.bound.root.holds(row, now)
    }

    /// The text the rule was read from.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The same rule in the one spelling that its meaning has: spaces, quotes, order of comparison and brackets as everybody's; long chains one
    /// condition to a line. Comments are not kept. `schema` is the one that it was parsed under.
    #[must_use]
    pub fn formatted(&self, schema: &Schema) -> String {
        format::format(&self.bound.root, schema)
    }

    /// The typed tree, for other executors.
    #[must_use]
    pub fn root(&self) -> &Node {
        &self.bound.root
    }

    /// The ids of all fields that the rule itself reads, sorted, each once. Whoever may not read
    /// one of them, or of those of the referenced segments, may not use the rule.
    #[must_use]
    pub fn fields(&self) -> &[u16] {
        &self.bound.fields
    }

    /// The names of all segments that the rule refers to, sorted, each once. They may not exist.
    #[must_use]
    pub fn references(&self) -> &[String] {
        &self.bound.references
    }

    /// Whether the answer can change while the row stays the same. Says nothing about the
    /// referenced segments.
    #[must_use]
    pub fn depends_on_time(&self) -> bool {
        self.bound.depends_on_time
    }
}
