//! What a company counts as revenue where customers give back what they bought.

/// How refunds count in revenue. What a customer bought, and how much of the refunds counts at all, is the same under each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RevenuePolicy {
    /// Not: revenue is what was bought.
    Gross,
    /// At the instant at which a refund is given: a window holds what was given back in it, whenever it was bought.
    #[default]
    Net,
    /// At the instant of the purchase that a refund is of, as if that much had never been bought. A refund of no purchase in particular counts
    /// at its own.
    Netted,
}

impl RevenuePolicy {
    /// Every policy.
    pub const ALL: [Self; 3] = [Self::Gross, Self::Net, Self::Netted];
}
