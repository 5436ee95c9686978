//! Who was merged into whom, as records say. A list keeps those who were put on it, and means what has become of them: so nothing of it changes when
//! customers are merged or parted.

use crate::engine::Bitmap;
use quintile_proto::types::CustomerRecord;
use std::collections::{BTreeSet, HashMap};

/// Who was merged into whom.
#[derive(Debug, Default)]
pub struct Merges {
    merged: HashMap<u32, Vec<u32>>,
    /// The same the other way round. While customers are regrouped, one may be of two for a moment: their records come one after the other.
    pairs: BTreeSet<(u32, u32)>,
    /// Whoever is the first of a pair.
    absorbed: Bitmap,
}

impl Merges {
    /// Those who were merged into a customer.
    pub fn of(&self, customer: u32) -> &[u32] {
        self.merged.get(&customer).map_or(&[], Vec::as_slice)
    }

    /// Says who was merged into a customer, whoever it was before.
    pub fn set(&mut self, customer: u32, merged: Vec<u32>) {
        for other in self.merged.remove(&customer).unwrap_or_default() {
            self.pairs.remove(&(other, customer));
            if self.survivors(other).next().is_none() {
                self.absorbed.clear(other);
            }
        }
        for other in &merged {
            self.pairs.insert((*other, customer));
            self.absorbed.set(*other);
        }
        if !merged.is_empty() {
            self.merged.insert(customer, merged);
        }
    }

    /// Those on a list with whoever they were merged into.
    pub fn follow(&self, listed: &Bitmap) -> Bitmap {
        let survivors = listed.and(&self.absorbed).iter().flat_map(|other| self.survivors(other)).collect();
        listed.or(&survivors)
    }

    fn survivors(&self, other: u32) -> impl Iterator<Item = u32> {
        self.pairs.range((other, 0)..=(other, u32::MAX)).map(|(_, survivor)| *survivor)
    }
}

/// Whether a customer is on a list, be it as one who was merged into it.
pub fn is_on(listed: &Bitmap, customer: u32, merged: &[u32]) -> bool {
    listed.contains(customer) || merged.iter().any(|other| listed.contains(*other))
}

/// Those who were merged into the customer of a record.
pub fn merged_of(record: &CustomerRecord) -> Vec<u32> {
    record.merged_customer_ids.iter().filter_map(|number| u32::try_from(*number).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_follows_whoever_is_merged_and_is_as_it_was_when_they_are_parted() {
        let mut merges = Merges::default();
        let listed = Bitmap::from_iter([3, 9]);
        let followed = |merges: &Merges| merges.follow(&listed).iter().collect::<Vec<_>>();
        merges.set(2, vec![3]);
        assert_eq!(followed(&merges), [2, 3, 9]);
        // 2 is merged into 1: its own record goes behind.
        merges.set(1, vec![2, 3]);
        assert_eq!(followed(&merges), [1, 2, 3, 9]);
        merges.set(2, Vec::new());
        assert_eq!(followed(&merges), [1, 3, 9]);
        merges.set(1, vec![2]);
        assert_eq!(followed(&merges), [3, 9]);
        merges.set(1, Vec::new());
        assert_eq!((followed(&merges), merges.of(1)), (vec![3, 9], &[][..]));
        assert!(merges.absorbed.is_empty() && merges.pairs.is_empty());
    }
}
