//! What a version would mean for all customers: the scores of everybody, counted.
//!
//! Pure: a population, the version and the one in force, and an instant give the counts.

use super::{Population, REVENUE};
use crate::models::cut_offs::{CutOffs, Direction, Method, TieRule};
use crate::models::feature::{Feature, LIFETIME_VALUE};
use crate::models::{At, Definition, Dimension, Scale};
use quintile_domain::stability;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;

/// The most cells that are counted.
pub const MAX_CELLS: u64 = 1_000;
/// The most scores of a dimension, none included.
const SCORES: usize = 11;

/// The scores of everybody under one version: a byte for each customer, dimension by dimension.
pub struct Scores {
    of_dimensions: Vec<Vec<u8>>,
}

/// What a version would mean in one dimension.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DimensionCounts {
    /// Customers without a score, then with 1, 2 and so on.
    pub customers: Vec<i64>,
    /// The same by the version in force. `None`: it has no such dimension.
    pub before: Option<Vec<i64>>,
    /// How many move from which score in force to which of the version.
    pub moves: BTreeMap<(u8, u8), i64>,
}

/// The customers of one cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    /// How many.
    pub customers: i64,
    /// Their revenue, in minor units.
    pub revenue_minor: i64,
    /// Those whose lifetime value is known.
    pub valued: i64,
    /// The sum of it, in minor units.
    pub value_minor: i64,
}

impl Cell {
    /// The mean lifetime value of those whose value is known, rounded half away from zero. `None`: of none is it.
    pub fn mean_value_minor(&self) -> Option<i64> {
        (self.valued > 0).then(|| (self.value_minor as f64 / self.valued as f64).round() as i64)
    }
}

/// What a version would mean for grades.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GradeCounts {
    /// Customers with each composite from 0 to 100.
    pub composites: Vec<i64>,
    /// In each band, the lowest first.
    pub bands: Vec<i64>,
    /// Of low, middle and high value.
    pub tiers: [i64; 3],
    /// VIPs.
    pub vips: i64,
    /// Without a grade.
    pub ungraded: i64,
    /// Whose band, tier or VIP would change.
    pub changed: i64,
}

/// What a version would mean for all customers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counts {
    /// Customers.
    pub customers: i64,
    /// Of whom any score or the composite would change.
    pub changed: i64,
    /// Each dimension.
    pub dimensions: Vec<DimensionCounts>,
    /// The cells that have customers, by their scores. Empty where there are more than [`MAX_CELLS`].
    pub cells: BTreeMap<Vec<u8>, Cell>,
    /// The grades. `None`: the version has none.
    pub grades: Option<GradeCounts>,
}

/// Finds cut-offs anew where they are found from the population. A dimension of which nobody has a value is left without.
pub fn find_cut_offs(definition: &mut Definition, population: &Population, at: &At<'_>) {
    let find = |dimension: &mut Dimension| {
        dimension.forget_found();
        let Scale::Numbers(cut_offs) = &mut dimension.scale else { return };
        if cut_offs.method != Method::Fixed {
            let column = population.column(&dimension.feature);
            cut_offs.find(&mut column.map(|column| column.numbers(at)).unwrap_or_default());
        }
    };
    let per_thread = definition.dimensions.len().div_ceil(threads()).max(1);
    let (mut parts, find) = (definition.dimensions.chunks_mut(per_thread), &find);
    std::thread::scope(|scope| {
        let first = parts.next();
        for part in parts {
            scope.spawn(move || part.iter_mut().for_each(find));
        }
        first.into_iter().flatten().for_each(find);
    });
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

impl Scores {
    /// Scores everybody.
    pub fn new(definition: &Definition, population: &Population, at: &At<'_>) -> Self {
        let of_dimensions = definition.dimensions.iter().map(|dimension| {
            let mut scores = vec![0; population.present().len()];
            match &dimension.scale {
                Scale::Numbers(cut_offs) if cut_offs.method == Method::Quantile(TieRule::Ntile) => {
                    by_rank(cut_offs, dimension, population, at, &mut scores);
                }
                _ => in_parallel(dimension, population, at, &mut scores),
            }
            scores
        });
        Self { of_dimensions: of_dimensions.collect() }
    }

    fn of(&self, customer: usize, scores: &mut Vec<u8>) {
        scores.clear();
        scores.extend(self.of_dimensions.iter().map(|of_dimension| of_dimension[customer]));
    }

    /// The cell of every customer, by number: 0 for who is not there or lacks a score. `None`: there are more than 255 cells.
    pub fn cells(&self, definition: &Definition, present: &[bool]) -> Option<Vec<u8>> {
        if definition.cells() > 255 {
            return None;
        }
        let mut cells = vec![0_u8; present.len()];
        for (customer, cell) in cells.iter_mut().enumerate().filter(|(customer, _)| present[*customer]) {
            let scores = self.of_dimensions.iter().zip(&definition.dimensions);
            let place = scores
                .map(|(scores, dimension)| (scores[customer], dimension.scale.bins()))
                .try_fold(0_u8, |place, (score, bins)| Some(place * bins + score.checked_sub(1)?));
            *cell = place.map_or(0, |place| place + 1);
        }
        Some(cells)
    }

    /// The score of every customer in the dimension of a place, from 1, by number; of place 0 one more than the composite. 0: who is not there, or has
    /// none.
    pub fn column(&self, definition: &Definition, place: usize, present: &[bool]) -> Vec<u8> {
        let Some(dimension) = place.checked_sub(1) else {
            let mut scores = Vec::with_capacity(definition.dimensions.len());
            let composite = |customer| {
                self.of(customer, &mut scores);
                definition.composite(&scores).map_or(0, |composite| composite + 1)
            };
            return of_present(present, composite);
        };
        match self.of_dimensions.get(dimension) {
            Some(scores) => of_present(present, |customer| scores[customer]),
            None => vec![0; present.len()],
        }
    }
}

/// A byte of each customer who is there, by number, and 0 of the others.
fn of_present(present: &[bool], mut byte: impl FnMut(usize) -> u8) -> Vec<u8> {
    present.iter().enumerate().map(|(customer, present)| if *present { byte(customer) } else { 0 }).collect()
}

fn in_parallel(dimension: &Dimension, population: &Population, at: &At<'_>, scores: &mut [u8]) {
    let Some(column) = population.column(&dimension.feature) else { return scores.fill(dimension.missing) };
    let per_thread = scores.len().div_ceil(threads()).max(1);
    std::thread::scope(|scope| {
        for (index, part) in scores.chunks_mut(per_thread).enumerate() {
            scope.spawn(move || column.score(dimension, at, index * per_thread, part));
        }
    });
}

/// Bins of equally many, ties parted by customer number; the first ones have one more where it does not come out even.
fn by_rank(cut_offs: &CutOffs, dimension: &Dimension, population: &Population, at: &At<'_>, scores: &mut [u8]) {
    scores.fill(dimension.missing);
    let Some(column) = population.column(&dimension.feature) else { return };
    let numbers = (0..scores.len()).filter_map(|customer| Some((column.number(customer, at)?, customer)));
    let mut ranked: Vec<_> = numbers.collect();
    match cut_offs.direction {
        Direction::Higher => ranked.sort_unstable(),
        Direction::Lower => ranked.sort_unstable_by_key(|(number, customer)| (std::cmp::Reverse(*number), *customer)),
    }
    let bins = usize::from(cut_offs.bins);
    let (size, larger) = (ranked.len() / bins, ranked.len() % bins);
    let mut rest = ranked.as_slice();
    for bin in 0..bins {
        let (of_bin, others) = rest.split_at(size + usize::from(bin < larger));
        for (_, customer) in of_bin {
            scores[*customer] = bin as u8 + 1;
        }
        rest = others;
    }
}

/// Counts the scores of a version beside those of the one in force.
pub fn count(
    (definition, scores): (&Definition, &Scores),
    in_force: Option<(&Definition, &Scores)>,
    population: &Population,
    at: &At<'_>,
) -> Counts {
    let mut counts =
        Counts { dimensions: of_dimensions((definition, scores), in_force, population), ..Counts::default() };
    let mut cells = Cells::of(definition);
    let column = |name| Feature::from_name(name).ok().and_then(|feature| population.column(&feature));
    let (revenue, value) = (column(REVENUE), column(LIFETIME_VALUE));
    let mut grades = definition.grading.as_ref().map(|grading| GradeCounts {
        composites: vec![0; 101],
        bands: vec![0; grading.bands.len()],
        ..GradeCounts::default()
    });
    let same = in_force.is_some_and(|(other, _)| same_dimensions(definition, other));
    let (mut now, mut before) = (Vec::new(), Vec::new());
    for customer in (0..population.present().len()).filter(|customer| population.present()[*customer]) {
        counts.customers += 1;
        scores.of(customer, &mut now);
        let grade = grade_of(definition, &now);
        let mut grade_before = None;
        if let Some((other, of_other)) = in_force {
            of_other.of(customer, &mut before);
            grade_before = grade_of(other, &before);
        }
        counts.changed += i64::from(!same || now != before || grade != grade_before);
        if let Some(grades) = &mut grades {
            grades.add(grade.as_ref());
            grades.changed += i64::from(standing(grade.as_ref()) != standing(grade_before.as_ref()));
        }
        if let Some(cells) = &mut cells {
            let revenue_minor = revenue.and_then(|revenue| revenue.number(customer, at)).unwrap_or(0);
            cells.add(&now, revenue_minor, value.and_then(|value| value.number(customer, at)));
        }
    }
    counts.grades = grades;
    counts.cells = cells.map(Cells::by_scores).unwrap_or_default();
    counts
}

/// The cells of a version by their places, the scores that are none among them.
struct Cells {
    bases: Vec<usize>,
    cells: Vec<Cell>,
}

impl Cells {
    /// `None`: there are too many to count.
    fn of(definition: &Definition) -> Option<Self> {
        let bases = definition.dimensions.iter().map(|dimension| usize::from(dimension.scale.bins()) + 1);
        let bases: Vec<_> = bases.collect();
        let count = (definition.cells() <= MAX_CELLS).then(|| bases.iter().product())?;
        Some(Self { bases, cells: vec![Cell::default(); count] })
    }

    fn add(&mut self, scores: &[u8], revenue_minor: i64, value_minor: Option<i64>) {
        let digits = self.bases.iter().zip(scores);
        let place = digits.fold(0, |place, (base, score)| place * base + usize::from(*score));
        let cell = &mut self.cells[place];
        cell.customers += 1;
        cell.revenue_minor = cell.revenue_minor.saturating_add(revenue_minor);
        cell.valued += i64::from(value_minor.is_some());
        cell.value_minor = cell.value_minor.saturating_add(value_minor.unwrap_or(0));
    }

    /// Those that have customers.
    fn by_scores(self) -> BTreeMap<Vec<u8>, Cell> {
        let bases = &self.bases;
        let filled = self.cells.into_iter().enumerate().filter(|(_, cell)| cell.customers > 0);
        let scored = filled.map(|(mut place, cell)| {
            let mut scores = vec![0; bases.len()];
            for (score, base) in scores.iter_mut().zip(bases).rev() {
                (*score, place) = ((place % base) as u8, place / base);
            }
            (scores, cell)
        });
        scored.collect()
    }
}

/// A composite, with the place of its band, its tier and whether it makes a VIP.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Graded<'a> {
    composite: u8,
    place: usize,
    band: &'a str,
    tier: usize,
    vip: bool,
}

fn grade_of<'a>(definition: &'a Definition, scores: &[u8]) -> Option<Graded<'a>> {
    let (grading, composite) = (definition.grading.as_ref()?, definition.composite(scores)?);
    let place = grading.band(composite);
    let band = grading.bands[place].name.as_str();
    Some(Graded { composite, place, band, tier: grading.tier(composite) as usize, vip: grading.is_vip(composite) })
}

fn standing<'a>(grade: Option<&Graded<'a>>) -> Option<(&'a str, usize, bool)> {
    grade.map(|grade| (grade.band, grade.tier, grade.vip))
}

impl GradeCounts {
    fn add(&mut self, grade: Option<&Graded<'_>>) {
        let Some(grade) = grade else {
            self.ungraded += 1;
            return;
        };
        self.composites[usize::from(grade.composite)] += 1;
        self.bands[grade.place] += 1;
        self.tiers[grade.tier] += 1;
        self.vips += i64::from(grade.vip);
    }
}

fn same_dimensions(definition: &Definition, other: &Definition) -> bool {
    definition.dimensions.len() == other.dimensions.len() && definition.grading.is_some() == other.grading.is_some()
}

fn of_dimensions(
    (definition, scores): (&Definition, &Scores),
    in_force: Option<(&Definition, &Scores)>,
    population: &Population,
) -> Vec<DimensionCounts> {
    let each = definition.dimensions.iter().zip(&scores.of_dimensions).map(|(dimension, scores)| {
        let other = in_force.and_then(|(other, of_other)| {
            let place = other.dimensions.iter().position(|before| before.name == dimension.name)?;
            Some((usize::from(other.dimensions[place].scale.bins()), &of_other.of_dimensions[place]))
        });
        let mut pairs = [[0_i64; SCORES]; SCORES];
        for (customer, score) in scores.iter().enumerate().filter(|(customer, _)| population.present()[*customer]) {
            let before = other.map_or(*score, |(_, other)| other[customer]);
            pairs[usize::from(before)][usize::from(*score)] += 1;
        }
        let scores_given = usize::from(dimension.scale.bins()) + 1;
        let customers = (0..scores_given).map(|score| pairs.iter().map(|row| row[score]).sum());
        let all = (0..SCORES as u8).flat_map(|from| (0..SCORES as u8).map(move |to| (from, to)));
        let has_moved = |(from, to): &(u8, u8)| from != to && pairs[usize::from(*from)][usize::from(*to)] > 0;
        let moves = all.filter(has_moved).map(|(from, to)| ((from, to), pairs[usize::from(from)][usize::from(to)]));
        let before = other.map(|(bins, _)| pairs[..=bins].iter().map(|row| row.iter().sum()).collect());
        DimensionCounts { customers: customers.collect(), before, moves: moves.collect() }
    });
    each.collect()
}

/// The population stability index of counts against a baseline of as many: how far the shares of scores have moved. Who has no score counts
/// in neither. `None`: one of them has nobody.
pub fn stability_index(baseline: &[i64], counts: &[i64]) -> Option<f64> {
    let (expected, actual) = (baseline.get(1..)?, counts.get(1..)?);
    let [of_expected, of_actual] = [expected, actual].map(|counts| counts.iter().sum::<i64>());
    if expected.len() != actual.len() || of_expected == 0 || of_actual == 0 {
        return None;
    }
    let counted = |counts: &[i64]| counts.iter().map(|count| count.unsigned_abs()).collect::<Vec<_>>();
    Some(stability::index(&counted(expected), &counted(actual)))
}
