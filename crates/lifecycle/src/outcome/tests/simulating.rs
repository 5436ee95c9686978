//! Populations with an effect that is known, since they are made: the intervals hold as often as they say, and a
//! playbook that does nothing shows something no more often than that.
//!
//! Everything runs as in earnest: experiments draw the sides, each run with another salt, arms add up, intervals come
//! out. A count of 1,000 runs that is right in 95 % of them deviates by 0.7 points; 93 to 97 % is not quite three times
//! that to both sides.

use crate::outcome::{Adjustment, Arm, Effect, Experiment, Interval, Observed, Side, Verdict, effect};

const RUNS: u64 = 1_000;

/// A generator of its own, so that these runs do not depend on the hash that draws the sides: xorshift64* (Vigna 2016).
struct Random(u64);

impl Random {
    fn of(scenario: u64, run: u64) -> Self {
        let mut random = Self((scenario * RUNS + run + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        (0..8).for_each(|_| _ = random.unit());
        random
    }

    fn unit(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// With mean 0 and deviation 1 (Box and Muller 1958).
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }
}

/// How often things came out so, of all runs.
#[derive(Debug, Default)]
struct Counts {
    covered: u64,
    /// Another verdict than undecided.
    shown: u64,
    /// The verdict that is the truth.
    right: u64,
}

impl Counts {
    fn add(&mut self, interval: Option<Interval>, verdict: Verdict, truth: f64) {
        self.covered += u64::from(interval.unwrap().contains(truth));
        self.shown += u64::from(verdict != Verdict::Undecided);
        self.right += u64::from(verdict == if truth > 0.0 { Verdict::Helps } else { Verdict::Harms });
    }

    /// Covered in 93 to 97 % of the runs. With a truth of 0 an effect is shown in the others, 3 to 7 %; otherwise it is
    /// found more often than by chance.
    #[track_caller]
    fn assert_holds(&self, truth: f64, what: &str) {
        assert!((930..=970).contains(&self.covered), "{what}: {self:?}");
        // What leaves out 0 is what leaves out the truth.
        let nothing = truth.abs() < 1e-12;
        assert!(!nothing || self.shown == RUNS - self.covered, "{what}: {self:?}");
        assert!(nothing || self.right > RUNS / 5, "{what} is not found: {self:?}");
    }
}

fn arms(experiment: &Experiment, customers: u64, mut observe: impl FnMut(bool) -> Observed) -> [Arm; 2] {
    let mut arms = [Arm::default(); 2];
    for customer in 0..customers {
        let treated = experiment.side(customer) != Side::Holdout;
        arms[usize::from(treated)].add(observe(treated));
    }
    arms
}

fn experiment(run: u64, holdout_basis_points: u32) -> Experiment {
    Experiment::new("win-back", &run.to_string(), holdout_basis_points, &[1, 1]).unwrap()
}

#[test]
fn intervals_of_conversion_hold_and_useless_playbooks_show_nothing() {
    // Base rate, uplift, customers, holdout in basis points.
    let table = [
        (0.03, 0.0, 2_000, 5_000),
        (0.03, 0.02, 2_000, 5_000),
        (0.10, 0.0, 1_500, 2_000),
        (0.10, 0.05, 1_500, 2_000),
        (0.30, 0.0, 1_500, 1_000),
        (0.30, 0.08, 1_500, 1_000),
        (0.60, 0.0, 800, 5_000),
        (0.60, -0.05, 800, 5_000),
    ];
    for (scenario, (base, uplift, customers, holdout)) in (0..).zip(table) {
        let (mut absolute, mut relative) = (Counts::default(), Counts::default());
        for run in 0..RUNS {
            let mut random = Random::of(scenario, run);
            let [held_out, treated] = arms(&experiment(run, holdout), customers, |treated| Observed {
                converted: random.unit() < if treated { base + uplift } else { base },
                ..Observed::default()
            });
            let effect = effect(&treated, &held_out, Adjustment::None).unwrap();
            absolute.add(effect.conversion.interval, effect.conversion.verdict(), uplift);
            let of_holdout = effect.relative_uplift.unwrap();
            relative.add(of_holdout.interval, of_holdout.verdict(), uplift / base);
        }
        absolute.assert_holds(uplift, &format!("{uplift} on {base}"));
        relative.assert_holds(uplift, &format!("{uplift} on {base}, relative"));
    }
}

/// A population of which a share buys, for lognormal amounts that go with those of before.
#[derive(Clone, Copy)]
struct Shop {
    buying: f64,
    /// Deviation of the logarithm of an amount.
    deviation: f64,
    /// Correlation of the logarithms of amounts before and after.
    habit: f64,
    /// By what the playbook multiplies chances to buy, and amounts.
    effect: (f64, f64),
}

impl Shop {
    /// The typical amount, in minor units.
    const TYPICAL: f64 = 5_000.0;

    fn observe(&self, random: &mut Random, treated: bool) -> Observed {
        let amount = |normal: f64, times: f64| (Self::TYPICAL * times * (self.deviation * normal).exp()) as i64;
        let (chance, times) = if treated { self.effect } else { (1.0, 1.0) };
        let before = random.normal();
        let converted = random.unit() < self.buying * chance;
        let mut revenue_minor = 0;
        if converted {
            let after = self.habit * before + (1.0 - self.habit * self.habit).sqrt() * random.normal();
            revenue_minor = amount(after, times);
        }
        Observed { converted, revenue_minor, revenue_before_minor: amount(before, 1.0) }
    }

    /// The mean of a lognormal amount is `exp(deviation² / 2)` times the typical one.
    fn truth(&self) -> f64 {
        let mean = self.buying * Self::TYPICAL * (self.deviation * self.deviation / 2.0).exp();
        mean * (self.effect.0 * self.effect.1 - 1.0)
    }

    fn run(&self, scenario: u64, run: u64, customers: u64, holdout: u32) -> [Effect; 2] {
        let mut random = Random::of(scenario, run);
        let [held_out, treated] =
            arms(&experiment(run, holdout), customers, |treated| self.observe(&mut random, treated));
        [Adjustment::None, Adjustment::RevenueBefore].map(|way| effect(&treated, &held_out, way).unwrap())
    }
}

#[test]
fn intervals_of_revenue_hold_though_a_few_spend_much() {
    let table = [
        (Shop { buying: 0.5, deviation: 1.0, habit: 0.8, effect: (1.0, 1.0) }, 700, 5_000),
        (Shop { buying: 0.5, deviation: 1.0, habit: 0.8, effect: (1.2, 1.2) }, 700, 5_000),
        (Shop { buying: 0.5, deviation: 0.8, habit: 0.5, effect: (1.0, 1.0) }, 1_200, 2_500),
        (Shop { buying: 0.5, deviation: 0.8, habit: 0.5, effect: (1.3, 1.0) }, 1_200, 2_500),
    ];
    for (scenario, (shop, customers, holdout)) in (100..).zip(table) {
        let truth = shop.truth();
        let mut ways = [Counts::default(), Counts::default()];
        let mut widths = [0.0; 2];
        for run in 0..RUNS {
            for (way, effect) in shop.run(scenario, run, customers, holdout).into_iter().enumerate() {
                let interval = effect.revenue_minor.interval;
                ways[way].add(interval, effect.revenue_minor.verdict(), truth);
                widths[way] += interval.map(|interval| interval.high - interval.low).unwrap();
            }
        }
        for (way, counts) in ["by means", "by revenue before"].into_iter().zip(&ways) {
            counts.assert_holds(truth, &format!("scenario {scenario} {way}"));
        }
        assert!(widths[1] < widths[0], "scenario {scenario}: revenue before narrows nothing");
    }
}

#[test]
fn a_cap_makes_intervals_hold_where_the_tail_is_longer_and_the_holdout_small() {
    // Without it the interval covers 0 in 939 of 1,000 runs, or 926 with a tenth held out, and nearly all others show help.
    let shop = Shop { buying: 0.5, deviation: 1.3, habit: 0.6, effect: (1.0, 1.0) };
    // Ten times the typical amount: exceeded by one order in 26.
    let cap = 50_000;
    let mut counts = Counts::default();
    for run in 0..RUNS {
        let mut random = Random::of(200, run);
        let [held_out, treated] =
            arms(&experiment(run, 2_000), 1_500, |treated| shop.observe(&mut random, treated).winsorised(cap));
        let effect = effect(&treated, &held_out, Adjustment::RevenueBefore).unwrap();
        counts.add(effect.revenue_minor.interval, effect.revenue_minor.verdict(), 0.0);
    }
    counts.assert_holds(0.0, "capped");
}
