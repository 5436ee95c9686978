//! How well scores put those who leave before those who stay. Equal scores are equal: nothing depends on the order of
//! rows.

use super::error::{ChurnError, check_length, check_outcomes};

/// Rows of one score.
#[derive(Clone, Copy, Debug)]
struct Tied {
    rows: u64,
    churned: u64,
}

/// Rows by falling score, of which some left and some did not.
#[derive(Clone, Debug)]
pub struct Ranking {
    tied: Vec<Tied>,
    rows: u64,
    churned: u64,
}

impl Ranking {
    /// Ranks by scores, the higher the likelier to leave. At least one row has to be of either outcome.
    pub fn new(scores: &[f64], labels: &[bool]) -> Result<Self, ChurnError> {
        check_length(scores.len(), labels.len())?;
        let churned = check_outcomes(labels, 1)? as u64;
        if let Some(row) = scores.iter().position(|score| score.is_nan()) {
            return Err(ChurnError::Prediction(row));
        }
        let mut sorted: Vec<(f64, bool)> = scores.iter().copied().zip(labels.iter().copied()).collect();
        sorted.sort_unstable_by(|one, other| other.0.total_cmp(&one.0));
        // By comparison and not by bits, so that 0 and -0 are equal.
        let groups = sorted.chunk_by(|one, other| one.0 <= other.0);
        let tied = groups.map(|group| Tied {
            rows: group.len() as u64,
            churned: group.iter().filter(|(_, label)| *label).count() as u64,
        });
        Ok(Self { tied: tied.collect(), rows: labels.len() as u64, churned })
    }

    fn stayed(&self) -> u64 {
        self.rows - self.churned
    }

    /// Area under the ROC curve: the chance that of one who left and one who stayed the former ranks higher, a tie
    /// counting half (Hanley and `McNeil` 1982). 0 to 1; 0.5 is chance.
    pub fn area_under_curve(&self) -> f64 {
        let (mut halves, mut before) = (0_u64, 0);
        for Tied { rows, churned } in &self.tied {
            halves += (rows - churned) * (2 * before + churned);
            before += churned;
        }
        halves as f64 / (2 * self.churned * self.stayed()) as f64
    }

    /// Kolmogorov and Smirnov's distance: the most by which the share found among those who left exceeds that among
    /// those who stayed, or the reverse, over all distinct scores. 0 to 1.
    pub fn kolmogorov_smirnov(&self) -> f64 {
        let (mut rows, mut churned, mut furthest) = (0, 0, 0.0_f64);
        for tied in &self.tied {
            rows += tied.rows;
            churned += tied.churned;
            let (found, wrong) = (churned as f64 / self.churned as f64, (rows - churned) as f64 / self.stayed() as f64);
            furthest = furthest.max((found - wrong).abs());
        }
        furthest
    }

    /// The mean, over those who left, of the share who left among all that rank at least as high: the sum of (recall -
    /// recall before) × precision over distinct scores. Without a ranking it is the share who left.
    pub fn average_precision(&self) -> f64 {
        let (mut rows, mut churned, mut sum) = (0, 0, 0.0);
        for tied in &self.tied {
            rows += tied.rows;
            churned += tied.churned;
            sum += tied.churned as f64 * churned as f64 / rows as f64;
        }
        sum / self.churned as f64
    }

    /// By how much more those leave who rank in the top share (above 0, at most 1; rounded up to whole rows) than all.
    /// Of the rows that are tied at its end as many are in it as fit, each with the mean of the tied: what is to be
    /// expected if chance chose among them.
    pub fn lift(&self, share: f64) -> f64 {
        let size = (share * self.rows as f64).ceil().clamp(1.0, self.rows as f64);
        let (mut left, mut found) = (size, 0.0);
        for tied in &self.tied {
            let taken = left.min(tied.rows as f64);
            found += taken * tied.churned as f64 / tied.rows as f64;
            left -= taken;
        }
        found / size / (self.churned as f64 / self.rows as f64)
    }
}
