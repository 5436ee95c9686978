//! Cut-offs: how the numbers of a feature are parted into scores, and how cut-offs are found from a population.

/// What is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// More.
    Higher,
    /// Less.
    Lower,
}

/// Who gets which score where a quantile falls among equal values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TieRule {
    /// Interpolated quantiles (Hyndman-Fan type 7) that belong to the bin below.
    Value,
    /// The share of those who are not better, rounded up.
    CumeDist,
    /// Bins of equally many, ties parted by customer number: in previews alone.
    Ntile,
    /// One more than the share of the others who are worse, rounded down; nobody's is more than the bins.
    PercentRank,
}

/// Where cut-offs come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// They are given.
    Fixed,
    /// They part a population into bins of equally many.
    Quantile(TieRule),
    /// They lie at equal distances between its lowest and highest value.
    Range,
}

/// In which bin a value at a cut-off is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// In the bin above: a value is above a cut-off where `cut_off <= value`.
    Above,
    /// In the bin below: a value is above a cut-off where `cut_off < value`.
    Below,
}

/// How numbers become scores from 1 to `bins`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CutOffs {
    /// Where they come from.
    pub method: Method,
    /// What is better.
    pub direction: Direction,
    /// How many scores there are: 2 to 10.
    pub bins: u8,
    /// The cut-offs, ascending, `bins - 1` of them. Empty: not found yet, and nobody has a score.
    pub edges: Vec<i64>,
}

/// The values that share a score. `None`: open on that side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bin {
    /// The least of them.
    pub least: Option<i64>,
    /// The greatest of them.
    pub most: Option<i64>,
}

impl CutOffs {
    /// Given cut-offs.
    pub fn fixed(direction: Direction, edges: &[i64]) -> Self {
        Self { method: Method::Fixed, direction, bins: edges.len() as u8 + 1, edges: edges.to_vec() }
    }

    /// In which bin a value at a cut-off is: at most 30 days, at least 5 orders.
    pub const fn side(&self) -> Side {
        match (self.method, self.direction) {
            (Method::Quantile(TieRule::Value), _)
            | (Method::Quantile(TieRule::PercentRank), Direction::Higher)
            | (Method::Fixed | Method::Quantile(TieRule::CumeDist | TieRule::Ntile), Direction::Lower) => Side::Below,
            (Method::Range, _)
            | (Method::Quantile(TieRule::PercentRank), Direction::Lower)
            | (Method::Fixed | Method::Quantile(TieRule::CumeDist | TieRule::Ntile), Direction::Higher) => Side::Above,
        }
    }

    /// Whether there are cut-offs to score by.
    pub fn are_found(&self) -> bool {
        !self.edges.is_empty()
    }

    /// The score of a value: 1 to `bins`, and 0 while there are no cut-offs.
    pub fn score(&self, value: i64) -> u8 {
        if self.edges.is_empty() {
            return 0;
        }
        let above = match self.side() {
            Side::Above => self.edges.iter().map(|edge| u8::from(*edge <= value)).sum::<u8>(),
            Side::Below => self.edges.iter().map(|edge| u8::from(*edge < value)).sum::<u8>(),
        };
        match self.direction {
            Direction::Higher => 1 + above,
            Direction::Lower => self.bins - above,
        }
    }

    /// The bin of a value.
    pub fn bin(&self, value: i64) -> Bin {
        let above = match self.side() {
            Side::Above => self.edges.partition_point(|edge| *edge <= value),
            Side::Below => self.edges.partition_point(|edge| *edge < value),
        };
        let (lower, upper) = (above.checked_sub(1).map(|index| self.edges[index]), self.edges.get(above).copied());
        match self.side() {
            Side::Above => Bin { least: lower, most: upper.map(|upper| upper.saturating_sub(1)) },
            Side::Below => Bin { least: lower.map(|lower| lower.saturating_add(1)), most: upper },
        }
    }

    /// How many cut-offs are the same as the one before.
    pub fn repeated(&self) -> usize {
        self.edges.windows(2).filter(|pair| pair[0] == pair[1]).count()
    }

    /// Finds the cut-offs from the values of a population, which are put in another order. `false`: there are no values to find them from.
    /// Given ones stay.
    pub fn find(&mut self, values: &mut [i64]) -> bool {
        if self.method == Method::Fixed {
            return true;
        }
        if values.is_empty() {
            return false;
        }
        let bins = usize::from(self.bins);
        self.edges = match self.method {
            Method::Fixed => return true,
            Method::Quantile(TieRule::Value) => interpolated(values, bins),
            Method::Quantile(TieRule::CumeDist | TieRule::Ntile) => cume_dist(values, bins, self.direction),
            Method::Quantile(TieRule::PercentRank) => percent_rank(values, bins, self.direction),
            Method::Range => equal_widths(values, bins),
        };
        true
    }
}

/// The quantiles k/bins by type 7, `h = (n - 1) k / bins`, rounded down: a whole number is above a quantile if and only if it is above it
/// rounded down.
fn interpolated(values: &mut [i64], bins: usize) -> Vec<i64> {
    let last = values.len() - 1;
    let ranks: Vec<_> = (1..bins).flat_map(|k| [last * k / bins, (last * k / bins + 1).min(last)]).collect();
    let found = order_statistics(values, &ranks);
    let edges = (1..bins).map(|k| {
        let (low, high) = (i128::from(found[2 * (k - 1)]), i128::from(found[2 * (k - 1) + 1]));
        let part = (last * k % bins) as i128;
        // Between two numbers of 64 bits.
        (low + (part * (high - low)).div_euclid(bins as i128)) as i64
    });
    edges.collect()
}

/// The least values at which `ceil(bins * #{v <= value} / n)` reaches each score; where lower is better, with the order turned around.
fn cume_dist(values: &mut [i64], bins: usize, direction: Direction) -> Vec<i64> {
    let count = values.len();
    let ranks = (1..bins).map(|k| k * count / bins);
    let ranks: Vec<_> = match direction {
        Direction::Higher => ranks.collect(),
        Direction::Lower => ranks.rev().map(|rank| count - 1 - rank).collect(),
    };
    order_statistics(values, &ranks)
}

/// The greatest values at which `1 + floor(bins * #{v < value} / (n - 1))` does not reach each score yet; where lower is better, with the order
/// turned around. A single value is at all of them, and has the lowest score.
fn percent_rank(values: &mut [i64], bins: usize, direction: Direction) -> Vec<i64> {
    let last = values.len() - 1;
    // The score after k is reached by who is better than ceil(k (n - 1) / bins) others: the last of these is at the cut-off.
    let ranks = (1..bins).map(|k| (k * last).div_ceil(bins).saturating_sub(1));
    let ranks: Vec<_> = match direction {
        Direction::Higher => ranks.collect(),
        Direction::Lower => ranks.rev().map(|rank| last - rank).collect(),
    };
    order_statistics(values, &ranks)
}

/// Equal widths between the ends, rounded up: a whole number is at or above an edge if and only if it is at or above it rounded up.
fn equal_widths(values: &[i64], bins: usize) -> Vec<i64> {
    let ends = values.iter().fold((i64::MAX, i64::MIN), |(low, high), value| (low.min(*value), high.max(*value)));
    let (low, width) = (i128::from(ends.0), i128::from(ends.1) - i128::from(ends.0));
    let bins = bins as i128;
    // Between two numbers of 64 bits.
    (1..bins).map(|k| (low - (-(k * width)).div_euclid(bins)) as i64).collect()
}

/// The values of these ranks: 0 is the least.
fn order_statistics(values: &mut [i64], ranks: &[usize]) -> Vec<i64> {
    /// Numbers within this many are counted instead of compared.
    const NARROW: u64 = 1 << 16;
    let mut distinct = ranks.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    let ends = values.iter().fold((i64::MAX, i64::MIN), |(low, high), value| (low.min(*value), high.max(*value)));
    let width = ends.1.abs_diff(ends.0);
    let found = if width < NARROW && values.len() as u64 > width {
        counted(values, &distinct, ends.0, width as usize + 1)
    } else {
        selected(values, &distinct)
    };
    let of_rank = |rank: &usize| found[distinct.partition_point(|other| other < rank)];
    ranks.iter().map(of_rank).collect()
}

/// The values of ascending ranks, each once, by selecting them.
fn selected(values: &mut [i64], ranks: &[usize]) -> Vec<i64> {
    let (mut rest, mut taken) = (values, 0);
    let found = ranks.iter().map(|rank| {
        // Those before the last rank are no greater, and those behind it are not in order yet.
        let (_, value, behind) = std::mem::take(&mut rest).select_nth_unstable(*rank - taken);
        (rest, taken) = (behind, *rank + 1);
        *value
    });
    found.collect()
}

/// The same by counting numbers from `least` on.
fn counted(values: &[i64], ranks: &[usize], least: i64, width: usize) -> Vec<i64> {
    let mut counts = vec![0_usize; width];
    for value in values {
        counts[value.abs_diff(least) as usize] += 1;
    }
    let (mut at, mut below) = (0, counts[0]);
    let values = ranks.iter().map(|rank| {
        while below <= *rank {
            at += 1;
            below += counts[at];
        }
        least + at as i64
    });
    values.collect()
}
