//! Who had which label on a day: a byte for each customer, kept by the block.

use super::catalogue::Key;
use crate::engine::Bitmap;

/// Labels of a set on a day. The code of a customer is 0 for one that was not there, else 1 plus the label's place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labelled {
    /// The ids of the labels, in order.
    pub labels: Vec<String>,
    /// By customer number.
    pub codes: Vec<u8>,
}

impl Labelled {
    /// Labels with their members.
    pub fn new(labels: Vec<String>, members: &[Bitmap]) -> Self {
        let length = members.iter().map(|members| members.words().len() * 64).max().unwrap_or(0);
        let mut codes = vec![0; length];
        for (members, code) in members.iter().zip(1..) {
            for customer in members {
                codes[customer as usize] = code;
            }
        }
        Self { labels, codes }
    }

    /// The code of a customer.
    pub fn code(&self, customer: usize) -> u8 {
        self.codes.get(customer).copied().unwrap_or(0)
    }

    /// The name of the label of a code; of those who were not there an empty one.
    pub fn name(&self, key: &Key, code: u8) -> String {
        let label = code.checked_sub(1).and_then(|place| self.labels.get(usize::from(place)));
        label.map_or_else(String::new, |label| format!("{key}/labels/{label}"))
    }
}

/// How many customers went from which code to which, among those that are asked about. `None`: among all.
pub fn migration(before: &Labelled, after: &Labelled, among: Option<&Bitmap>) -> Vec<(u8, u8, u64)> {
    let width = usize::from(u8::MAX) + 1;
    let mut counts = vec![0_u64; width * width];
    for customer in 0..before.codes.len().max(after.codes.len()) {
        let (from, to) = (before.code(customer), after.code(customer));
        let asked = among.is_none_or(|among| u32::try_from(customer).is_ok_and(|customer| among.contains(customer)));
        if asked && (from, to) != (0, 0) {
            counts[usize::from(from) * width + usize::from(to)] += 1;
        }
    }
    let pairs = (0..=u8::MAX).flat_map(|from| (0..=u8::MAX).map(move |to| (from, to)));
    pairs.zip(counts).filter(|(_, count)| *count > 0).map(|((from, to), count)| (from, to, count)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_who_was_there_on_either_day_is_counted_once() {
        let labels = || vec!["a".to_owned(), "b".to_owned()];
        let before = Labelled::new(labels(), &[Bitmap::from_iter([1, 2, 3]), Bitmap::from_iter([4, 200])]);
        let after = Labelled::new(labels(), &[Bitmap::from_iter([1, 4, 5]), Bitmap::from_iter([2, 3])]);
        let moved = migration(&before, &after, None);
        // 5 came, 200 went.
        assert_eq!(moved, [(0, 1, 1), (1, 1, 1), (1, 2, 2), (2, 0, 1), (2, 1, 1)]);
        assert_eq!(migration(&before, &after, Some(&Bitmap::from_iter([2, 200]))), [(1, 2, 1), (2, 0, 1)]);
        let key = Key::label_set("s");
        assert_eq!([0, 1, 2].map(|code| before.name(&key, code)), ["", "labelSets/s/labels/a", "labelSets/s/labels/b"]);
    }
}
