//! What the customers of one side did: sums that are filled in one pass and can be put together.

/// The most revenue of one customer, in minor units of the currency; what is above it counts as it. With it the sums
/// are exact for up to 300 million customers, and beyond stay at their largest value.
pub const MAX_REVENUE_MINOR: i64 = 1_000_000_000_000_000;

/// What one customer did in the time over which a playbook is measured, which is the same for all of its sides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// It did what the playbook is for.
    pub converted: bool,
    /// Its net revenue in that time, in minor units; negative where returns outweigh.
    pub revenue_minor: i64,
    /// Its net revenue in a time of choice before it was assigned, in minor units: what it is likely to spend anyway. 0
    /// where that is not known. It must not depend on the side.
    pub revenue_before_minor: i64,
}

impl Observed {
    /// With both revenues brought to within `cap_minor` of 0 (winsorised), so that a few orders do not drown everybody
    /// else's. What is then measured is the effect on revenue up to the cap, and not on all of it.
    ///
    /// The cap has to be the same for all sides and chosen without looking at what came of them, for example as the
    /// 99.5th percentile of the revenues before.
    #[must_use]
    pub fn winsorised(self, cap_minor: i64) -> Self {
        let cap = cap_minor.max(0);
        let within = |revenue: i64| revenue.clamp(-cap, cap);
        Self {
            revenue_minor: within(self.revenue_minor),
            revenue_before_minor: within(self.revenue_before_minor),
            ..self
        }
    }
}

/// One side's customers, added up. Amounts are in minor units; the sums do not depend on the order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arm {
    /// Customers that were assigned to it.
    pub customers: u64,
    /// Those of them who did what the playbook is for.
    pub converted: u64,
    /// Those of them whose revenue is not 0.
    pub buyers: u64,
    /// Sum of the revenues.
    pub revenue_sum: i128,
    /// Sum of their squares.
    pub revenue_squares: i128,
    /// Sum of the revenues before.
    pub before_sum: i128,
    /// Sum of their squares.
    pub before_squares: i128,
    /// Sum of the products of both.
    pub products: i128,
}

/// How revenues vary: sums over customers of squared distances to the means, and of products of such.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    pub(super) revenue: f64,
    pub(super) before: f64,
    pub(super) products: f64,
}

impl Arm {
    /// Counts a customer in.
    pub fn add(&mut self, observed: Observed) {
        let within = |revenue: i64| i128::from(revenue.clamp(-MAX_REVENUE_MINOR, MAX_REVENUE_MINOR));
        let (revenue, before) = (within(observed.revenue_minor), within(observed.revenue_before_minor));
        *self = self.merged(&Self {
            customers: 1,
            converted: u64::from(observed.converted),
            buyers: u64::from(revenue != 0),
            revenue_sum: revenue,
            revenue_squares: revenue * revenue,
            before_sum: before,
            before_squares: before * before,
            products: revenue * before,
        });
    }

    /// Both together.
    #[must_use]
    pub fn merged(&self, other: &Self) -> Self {
        Self {
            customers: self.customers + other.customers,
            converted: self.converted + other.converted,
            buyers: self.buyers + other.buyers,
            revenue_sum: self.revenue_sum.saturating_add(other.revenue_sum),
            revenue_squares: self.revenue_squares.saturating_add(other.revenue_squares),
            before_sum: self.before_sum.saturating_add(other.before_sum),
            before_squares: self.before_squares.saturating_add(other.before_squares),
            products: self.products.saturating_add(other.products),
        }
    }

    /// The means of revenue and of revenue before, in minor units. There has to be somebody.
    pub(super) fn means(&self) -> (f64, f64) {
        let customers = self.customers as f64;
        (self.revenue_sum as f64 / customers, self.before_sum as f64 / customers)
    }

    pub(super) fn spread(&self) -> Spread {
        let Self { revenue_sum, revenue_squares, before_sum, before_squares, products, .. } = *self;
        Spread {
            revenue: self.about_means(revenue_sum, revenue_sum, revenue_squares),
            before: self.about_means(before_sum, before_sum, before_squares),
            products: self.about_means(revenue_sum, before_sum, products),
        }
    }

    /// `products - one * other / n`, which floats would lose where means are large beside the distances to them: with
    /// means `q + r / n`, whole and broken part, it is the sum of products about the whole parts, in integers, less the
    /// small `r r' / n`.
    fn about_means(&self, one: i128, other: i128, products: i128) -> f64 {
        let customers = i128::from(self.customers.max(1));
        let (one_whole, one_rest) = (one.div_euclid(customers), one.rem_euclid(customers));
        let (other_whole, other_rest) = (other.div_euclid(customers), other.rem_euclid(customers));
        let about_whole = products
            .saturating_sub(one_whole.saturating_mul(other))
            .saturating_sub(other_whole.saturating_mul(one_rest));
        about_whole as f64 - one_rest as f64 * other_rest as f64 / customers as f64
    }
}

#[cfg(test)]
mod tests {
    //! Sums against the customers themselves.

    use super::*;
    use proptest::prelude::*;

    fn arm(customers: &[(bool, i64, i64)]) -> Arm {
        let mut arm = Arm::default();
        for (converted, revenue_minor, revenue_before_minor) in customers.iter().copied() {
            arm.add(Observed { converted, revenue_minor, revenue_before_minor });
        }
        arm
    }

    fn customers() -> impl Strategy<Value = Vec<(bool, i64, i64)>> {
        prop::collection::vec((any::<bool>(), -50..1_000_i64, -50..1_000_i64), 1..40)
    }

    proptest! {
        #[test]
        fn arms_that_are_put_together_are_that_of_everybody(
            customers in customers(), cut in any::<prop::sample::Index>(),
        ) {
            let (one, other) = customers.split_at(cut.index(customers.len()));
            prop_assert_eq!(arm(one).merged(&arm(other)), arm(&customers));
            prop_assert_eq!(arm(other).merged(&arm(one)), arm(&customers));
        }

        #[test]
        fn the_spread_is_that_about_the_means_however_far_they_are_from_0(
            customers in customers(),
            shift in prop::sample::select(vec![0, 123, 1_000_000_007, 900_000_000_000_000]),
        ) {
            let count = customers.len() as f64;
            let mean = |of: fn(&(bool, i64, i64)) -> i64| customers.iter().map(of).sum::<i64>() as f64 / count;
            let (revenue, before) = (mean(|one| one.1), mean(|one| one.2));
            let sum = |of: &dyn Fn(f64, f64) -> f64| {
                customers.iter().map(|one| of(one.1 as f64 - revenue, one.2 as f64 - before)).sum::<f64>()
            };
            let shifted: Vec<_> = customers.iter().map(|(c, r, b)| (*c, r + shift, b + shift)).collect();
            let spread = arm(&shifted).spread();
            prop_assert!((spread.revenue - sum(&|revenue, _| revenue * revenue)).abs() < 1e-4);
            prop_assert!((spread.before - sum(&|_, before| before * before)).abs() < 1e-4);
            prop_assert!((spread.products - sum(&|revenue, before| revenue * before)).abs() < 1e-4);
        }
    }

    #[test]
    fn equal_revenues_do_not_vary_at_all() {
        let arm = arm(&[(false, 999_999_999_999_999, -7); 7]);
        assert_eq!(arm.spread(), Spread { revenue: 0.0, before: 0.0, products: 0.0 });
        assert_eq!(arm.means(), (999_999_999_999_999.0, -7.0));
    }

    #[test]
    fn no_revenue_is_too_large_to_be_added() {
        let mut whole = arm(&[(true, i64::MAX, i64::MIN); 3]);
        assert_eq!(whole.revenue_sum, 3 * i128::from(MAX_REVENUE_MINOR));
        assert_eq!(whole.products, -3 * i128::from(MAX_REVENUE_MINOR) * i128::from(MAX_REVENUE_MINOR));
        for _ in 0..60 {
            whole = whole.merged(&whole);
        }
        assert_eq!(whole.revenue_squares, i128::MAX);
        assert!(whole.spread().revenue.is_finite());
    }

    #[test]
    fn winsorising_brings_both_revenues_to_within_the_cap() {
        let observed = Observed { converted: true, revenue_minor: 900, revenue_before_minor: -900 };
        let capped = observed.winsorised(500);
        assert_eq!((capped.converted, capped.revenue_minor, capped.revenue_before_minor), (true, 500, -500));
        assert_eq!(observed.winsorised(900), observed);
        assert_eq!(observed.winsorised(-1).revenue_minor, 0);
    }
}
