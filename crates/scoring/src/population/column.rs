//! One feature of all customers, by customer number.

use crate::models::cut_offs::{CutOffs, Direction, Side};
use crate::models::feature::Value;
use crate::models::{At, Dimension, Scale};
use std::collections::HashMap;

/// Values that are scored in one go: they stay in the first cache.
const BLOCK: usize = 4_096;

/// What the numbers of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Number,
    /// Local days that days are counted from.
    Day,
    /// Places in the column's texts.
    Text,
}

/// Numbers of 32 bits as long as they fit. The least number of the type is a missing value.
#[derive(Clone, Debug)]
enum Cells {
    Narrow(Vec<i32>),
    Wide(Vec<i64>),
}

/// The values of a feature.
#[derive(Clone, Debug)]
pub struct Column {
    cells: Cells,
    /// `None`: there has been no value yet.
    kind: Option<Kind>,
    texts: Vec<String>,
    places: HashMap<String, i64>,
    /// Whether there were values of two kinds, as of a trait that was defined anew.
    mixed: bool,
}

impl Default for Column {
    fn default() -> Self {
        Self { cells: Cells::Narrow(Vec::new()), kind: None, texts: Vec::new(), places: HashMap::new(), mixed: false }
    }
}

impl Column {
    /// Sets the value of a customer.
    pub fn set(&mut self, customer: usize, value: Value<'_>) {
        let (kind, number) = match value {
            Value::Missing => return self.put(customer, None),
            Value::Number(number) => (Kind::Number, number),
            Value::Day(day) => (Kind::Day, day),
            Value::Text(text) => (Kind::Text, self.place_of(text)),
        };
        if *self.kind.get_or_insert(kind) == kind {
            self.put(customer, Some(number));
        } else {
            self.mixed = true;
            self.put(customer, None);
        }
    }

    /// Whether it has to be read anew, since its values are of two kinds.
    pub fn is_mixed(&self) -> bool {
        self.mixed
    }

    fn place_of(&mut self, text: &str) -> i64 {
        if let Some(place) = self.places.get(text) {
            return *place;
        }
        let place = self.texts.len() as i64;
        self.texts.push(text.to_owned());
        self.places.insert(text.to_owned(), place);
        place
    }

    fn put(&mut self, customer: usize, number: Option<i64>) {
        if let Cells::Narrow(cells) = &mut self.cells {
            match number.map(i32::try_from) {
                None => return set(cells, customer, i32::MIN, i32::MIN),
                Some(Ok(narrow)) if narrow != i32::MIN => return set(cells, customer, narrow, i32::MIN),
                Some(_) => {}
            }
            let widened = cells.iter().map(|cell| if *cell == i32::MIN { i64::MIN } else { i64::from(*cell) });
            self.cells = Cells::Wide(widened.collect());
        }
        if let Cells::Wide(cells) = &mut self.cells {
            set(cells, customer, number.unwrap_or(i64::MIN), i64::MIN);
        }
    }

    /// The number of a customer: days where days are counted. `None`: none, or a text.
    pub fn number(&self, customer: usize, at: &At<'_>) -> Option<i64> {
        let cell = match &self.cells {
            Cells::Narrow(cells) => i64::from(*cells.get(customer).filter(|cell| **cell != i32::MIN)?),
            Cells::Wide(cells) => *cells.get(customer).filter(|cell| **cell != i64::MIN)?,
        };
        match self.kind? {
            Kind::Number => Some(cell),
            Kind::Day => Some(at.days_since(cell)),
            Kind::Text => None,
        }
    }

    /// The numbers of all customers who have one.
    pub fn numbers(&self, at: &At<'_>) -> Vec<i64> {
        let count = match &self.cells {
            Cells::Narrow(cells) => cells.len(),
            Cells::Wide(cells) => cells.len(),
        };
        (0..count).filter_map(|customer| self.number(customer, at)).collect()
    }

    /// Scores the customers from `first` on by a dimension, one byte for each. Who has no value, or is not there, gets what is missing.
    pub fn score(&self, dimension: &Dimension, at: &At<'_>, first: usize, scores: &mut [u8]) {
        match (&dimension.scale, self.kind) {
            (Scale::Numbers(cut_offs), Some(kind @ (Kind::Number | Kind::Day))) if cut_offs.are_found() => {
                let bounds = Bounds::new(cut_offs, kind == Kind::Day, at);
                match &self.cells {
                    Cells::Narrow(cells) => {
                        score_cells(from(cells, first), i32::MIN, &bounds, dimension.missing, scores);
                    }
                    Cells::Wide(cells) => score_cells(from(cells, first), i64::MIN, &bounds, dimension.missing, scores),
                }
            }
            (Scale::Texts(points), Some(Kind::Text)) => {
                let of_place: Vec<_> = self.texts.iter().map(|text| points.score(text)).collect();
                for (offset, score) in scores.iter_mut().enumerate() {
                    let place = self.text_place(first + offset);
                    let points = place.and_then(|place| of_place.get(place)).copied().unwrap_or(0);
                    *score = if points == 0 { dimension.missing } else { points };
                }
            }
            (Scale::Numbers(_) | Scale::Texts(_), _) => scores.fill(dimension.missing),
        }
    }

    fn text_place(&self, customer: usize) -> Option<usize> {
        match &self.cells {
            Cells::Narrow(cells) => usize::try_from(*cells.get(customer)?).ok(),
            Cells::Wide(cells) => usize::try_from(*cells.get(customer)?).ok(),
        }
    }
}

fn from<T>(cells: &[T], first: usize) -> &[T] {
    cells.get(first..).unwrap_or_default()
}

fn score_cells<T: Copy + Ord + TryFrom<i64>>(cells: &[T], none: T, bounds: &Bounds, missing: u8, scores: &mut [u8]) {
    let (there, absent) = scores.split_at_mut(cells.len().min(scores.len()));
    absent.fill(missing);
    let (always, edges) = bounds.within::<T>();
    for (cells, scores) in cells.chunks(BLOCK).zip(there.chunks_mut(BLOCK)) {
        scores.fill(always);
        // The edge outside: the loop inside is then one comparison of many cells.
        for edge in &edges {
            for (score, cell) in scores.iter_mut().zip(cells) {
                *score += u8::from(*edge <= *cell);
            }
        }
        for (score, cell) in scores.iter_mut().zip(cells) {
            let placed = if bounds.rising { 1 + *score } else { bounds.bins - *score };
            *score = if *cell == none { missing } else { placed };
        }
    }
}

fn set<T: Copy>(cells: &mut Vec<T>, customer: usize, value: T, none: T) {
    if cells.len() <= customer {
        cells.resize(customer + 1, none);
    }
    cells[customer] = value;
}

/// Cut-offs as they are met by cells: a cell has passed an edge where `edge <= cell`.
struct Bounds {
    edges: Vec<i128>,
    /// How many scores there are.
    bins: u8,
    /// Whether a greater cell has a greater score.
    rising: bool,
}

impl Bounds {
    fn new(cut_offs: &CutOffs, are_days: bool, at: &At<'_>) -> Self {
        let higher = cut_offs.direction == Direction::Higher;
        // The least value that is above the cut-off.
        let least = cut_offs.edges.iter().map(|edge| match cut_offs.side() {
            Side::Above => i128::from(*edge),
            Side::Below => i128::from(*edge) + 1,
        });
        if !are_days {
            return Self { edges: least.collect(), bins: cut_offs.bins, rising: higher };
        }
        // Days are `max(today - day, 0)`: they are at or above a positive number up to a day, and always at or above 0. A later day is
        // fewer days, so what is counted is the cut-offs that are not passed.
        let today = i128::from(at.day);
        let edges = least.map(|least| if least <= 0 { i128::MAX } else { today - least + 1 });
        Self { edges: edges.collect(), bins: cut_offs.bins, rising: !higher }
    }

    /// How many edges every cell passes, and those that are told apart by cells of this width. What is beyond its end is passed by none.
    fn within<T: TryFrom<i64> + Ord>(&self) -> (u8, Vec<T>) {
        let mut always = 0;
        let mut edges = Vec::with_capacity(self.edges.len());
        for edge in &self.edges {
            match i64::try_from(*edge).map(T::try_from) {
                Ok(Ok(edge)) => edges.push(edge),
                _ if *edge < 0 => always += 1,
                _ => {}
            }
        }
        (always, edges)
    }
}
