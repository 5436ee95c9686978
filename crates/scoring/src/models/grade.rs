//! Grades: the scores of several dimensions as one number, with its band, its tier and who is a VIP.

/// Divisible by every number of bins less one, from 1 to 9.
const PARTS: u64 = 2_520;

/// A band of the composite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Band {
    /// Its name.
    pub name: String,
    /// The least composite of the band.
    pub from: u8,
}

/// How composites are told apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grading {
    /// The bands, the lowest first, which begins at 0.
    pub bands: Vec<Band>,
    /// The least composite of middle value.
    pub middle_from: u8,
    /// The least composite of high value.
    pub high_from: u8,
    /// The least composite of a VIP.
    pub vip_from: u8,
}

/// A tier of value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Tier {
    /// Low.
    Low,
    /// Middle.
    Middle,
    /// High.
    High,
}

impl Tier {
    /// The name in the API and in rules.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Middle => "middle",
            Self::High => "high",
        }
    }
}

impl Grading {
    /// The place of a composite's band.
    pub fn band(&self, composite: u8) -> usize {
        self.bands.iter().rposition(|band| band.from <= composite).unwrap_or(0)
    }

    /// The tier of a composite.
    pub fn tier(&self, composite: u8) -> Tier {
        if composite >= self.high_from {
            Tier::High
        } else if composite >= self.middle_from {
            Tier::Middle
        } else {
            Tier::Low
        }
    }

    /// Whether a composite makes a VIP.
    pub fn is_vip(&self, composite: u8) -> bool {
        composite >= self.vip_from
    }
}

impl Default for Grading {
    fn default() -> Self {
        let bands = [("D", 0), ("C", 25), ("B", 50), ("A", 75)];
        let bands = bands.map(|(name, from)| Band { name: name.to_owned(), from });
        Self { bands: bands.to_vec(), middle_from: 40, high_from: 70, vip_from: 90 }
    }
}

/// The weighted mean of `(score - 1) / (bins - 1)` in percent, rounded half up, of `(score, bins, weight)` where there is a score. `None`: no
/// score has a weight.
pub fn composite(scores: impl Iterator<Item = (u8, u8, u32)>) -> Option<u8> {
    let (mut reached, mut weights) = (0, 0);
    for (score, bins, weight) in scores.filter(|(score, ..)| *score > 0) {
        reached += u64::from(weight) * u64::from(score - 1) * (PARTS / u64::from(bins - 1));
        weights += u64::from(weight) * PARTS;
    }
    // A mean of numbers up to 1 is at most 1.
    (weights > 0).then(|| ((200 * reached + weights) / (2 * weights)) as u8)
}
