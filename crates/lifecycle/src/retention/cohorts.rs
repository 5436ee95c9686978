//! Cohort retention: of those who began in a month, how many are active how many months later.

use super::error::RetentionError;

/// The most months that a table spans: fifty years.
pub const MAX_MONTHS: usize = 600;

/// Counts by month of beginning and months since. Months are numbered without gaps, whatever they are numbered from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cohorts {
    first_month: i32,
    last_month: i32,
    last_is_partial: bool,
    /// By cohort, then by months since: those who were active. A cohort has as many months as were seen of it.
    active: Vec<Vec<u64>>,
}

/// What became of a cohort, so many months after its beginning.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cell {
    /// Months since the beginning, from 0.
    pub months_since: u32,
    /// Customers it is a share of.
    pub customers: u64,
    /// Those of them who were active in that month.
    pub active: u64,
    /// Their share, 0 to 1. `None`: the cohort has nobody.
    pub share: Option<f64>,
    /// The month is not over, so that the count may still rise.
    pub is_partial: bool,
}

/// Those who began in the same month.
#[derive(Clone, Debug, PartialEq)]
pub struct Cohort {
    /// The month.
    pub month: i32,
    /// How many they are.
    pub customers: u64,
    /// By months since, from 0, where the share is 1, up to the last month of the table.
    pub cells: Vec<Cell>,
}

/// A cohort table.
#[derive(Clone, Debug, PartialEq)]
pub struct CohortTable {
    /// By month of beginning. Months in which nobody began are there, with nobody.
    pub cohorts: Vec<Cohort>,
    /// All cohorts together by months since, each time those of whom that month was seen as a whole: months that are not
    /// over are left out, as they would pull the end down. It is shorter than a table's first row where that has one.
    pub overall: Vec<Cell>,
}

impl Cohorts {
    /// For cohorts from one month to another, both included; at most [`MAX_MONTHS`]. `last_is_partial`: the last month
    /// is not over.
    pub fn new(first_month: i32, last_month: i32, last_is_partial: bool) -> Result<Self, RetentionError> {
        let months = i64::from(last_month) - i64::from(first_month) + 1;
        if !(1..=MAX_MONTHS as i64).contains(&months) {
            return Err(RetentionError::MonthsOutOfRange(months));
        }
        let active = (1..=months as usize).rev().map(|seen| vec![0; seen]).collect();
        Ok(Self { first_month, last_month, last_is_partial, active })
    }

    /// Counts a customer in by the months in which it was active, in ascending order; the same month may come several
    /// times. The first of all is its cohort, so that it has to be given even if it is before the table, where the
    /// customer then is not counted. Months after the table are left out.
    pub fn add(&mut self, active_months: &[i32]) -> Result<(), RetentionError> {
        if !active_months.is_sorted() {
            return Err(RetentionError::MonthsDescend);
        }
        let Some(began) = active_months.first().copied().filter(|began| *began >= self.first_month) else {
            return Ok(());
        };
        let place = i64::from(began) - i64::from(self.first_month);
        let Some(cohort) = self.active.get_mut(place as usize) else { return Ok(()) };
        let mut previous = None;
        for month in active_months.iter().copied().take_while(|month| *month <= self.last_month) {
            if previous != Some(month) {
                cohort[(month - began) as usize] += 1;
            }
            previous = Some(month);
        }
        Ok(())
    }

    /// Counts those of another in, which spans the same months.
    pub fn merge(&mut self, other: &Self) {
        for (mine, others) in self.active.iter_mut().zip(&other.active) {
            for (mine, other) in mine.iter_mut().zip(others) {
                *mine += other;
            }
        }
    }

    /// The table.
    pub fn table(&self) -> CohortTable {
        let cohorts: Vec<_> = (self.first_month..=self.last_month)
            .zip(&self.active)
            .map(|(month, row)| self.cohort(month, row))
            .collect();
        let overall = (0..self.active.len()).filter_map(|since| {
            let cells = cohorts.iter().filter_map(|cohort| cohort.cells.get(since)).filter(|cell| !cell.is_partial);
            let mut cells = cells.peekable();
            cells.peek()?;
            let (customers, active) = cells.fold((0, 0), |sum, cell| (sum.0 + cell.customers, sum.1 + cell.active));
            Some(Cell::of(since, customers, active, false))
        });
        CohortTable { overall: overall.collect(), cohorts }
    }

    fn cohort(&self, month: i32, row: &[u64]) -> Cohort {
        let customers = row.first().copied().unwrap_or_default();
        let last = row.len() - 1;
        let cells = row.iter().enumerate();
        let cells =
            cells.map(|(since, active)| Cell::of(since, customers, *active, self.last_is_partial && since == last));
        Cohort { month, customers, cells: cells.collect() }
    }
}

impl Cell {
    fn of(months_since: usize, customers: u64, active: u64, is_partial: bool) -> Self {
        let share = (customers > 0).then(|| active as f64 / customers as f64);
        Self { months_since: months_since as u32, customers, active, share, is_partial }
    }
}

/// Customers at both ends of a period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Period {
    /// Customers at its start.
    pub at_start: u64,
    /// Customers at its end.
    pub at_end: u64,
    /// Those at its end who were won within it.
    pub won: u64,
}

impl Period {
    /// The share of those at the start who are still there, 0 to 1. `None`: nobody was there, or the counts contradict
    /// each other.
    pub fn retention(&self) -> Option<f64> {
        let kept = self.at_end.checked_sub(self.won).filter(|kept| *kept <= self.at_start)?;
        (self.at_start > 0).then(|| kept as f64 / self.at_start as f64)
    }

    /// The share of those at the start who have left: 1 - retention.
    pub fn churn(&self) -> Option<f64> {
        self.retention().map(|retention| 1.0 - retention)
    }
}
