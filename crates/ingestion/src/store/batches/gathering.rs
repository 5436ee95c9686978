//! Who belongs together among identities that nobody knows yet.

use crate::intake::Identity;
use crate::store::identities::{Newcomers, Owner};
use crate::store::merges::Pair;
use quintile_domain::ids::CustomerId;
use std::collections::{HashMap, HashSet};

/// Identities that nobody knows yet, gathered by the customers that they will be of.
#[derive(Default)]
pub struct Gathering {
    /// The groups.
    pub groups: Vec<Newcomers>,
    places: HashMap<Identity, usize>,
}

impl Gathering {
    /// Adds unknown identities that belong together, and to `owners`, or to whom some of them were gathered with before. If these are
    /// several, the row will be refused, and its identities are not registered by it.
    pub fn gather(&mut self, unknown: &[&Identity], owners: &[Owner]) {
        if unknown.is_empty() {
            return;
        }
        let mut places: Vec<usize> =
            unknown.iter().filter_map(|identity| self.places.get(*identity)).copied().collect();
        places.sort_unstable();
        places.dedup();
        let joins = |place: usize, owner: &Owner| {
            self.groups[place].join.is_some_and(|(customer, _)| customer == owner.customer)
        };
        let place = match (owners, places.as_slice()) {
            ([], []) => self.begin(None),
            ([], [place]) => *place,
            ([owner], []) => self.begin(Some((owner.customer, owner.home))),
            ([owner], [place]) if joins(*place, owner) => *place,
            _ => return,
        };
        for identity in unknown {
            if !self.places.contains_key(*identity) {
                self.places.insert((*identity).clone(), place);
                self.groups[place].identities.push((*identity).clone());
            }
        }
    }

    fn begin(&mut self, join: Option<(CustomerId, CustomerId)>) -> usize {
        self.groups.push(Newcomers { identities: Vec::new(), join });
        self.groups.len() - 1
    }
}

/// Which customers become one by what rows say.
pub struct Joining {
    /// The links.
    pub pairs: Vec<Pair>,
    known: HashSet<CustomerId>,
    /// For each customer that joins another the one that it joins.
    joined: HashMap<CustomerId, CustomerId>,
}

impl Joining {
    /// Nobody joins yet; of these customers more is known than facts.
    pub fn new(known: impl Iterator<Item = CustomerId>) -> Self {
        Self { pairs: Vec::new(), known: known.collect(), joined: HashMap::new() }
    }

    fn of(&self, mut customer: CustomerId) -> CustomerId {
        while let Some(next) = self.joined.get(&customer) {
            customer = *next;
        }
        customer
    }

    /// The links that a row with identities of these owners makes: none if they are one already, or if more is known than facts of
    /// several of them.
    pub fn pairs_of(&self, owners: &[Owner]) -> Vec<(Owner, Owner)> {
        let whole: HashSet<CustomerId> = owners.iter().map(|owner| self.of(owner.customer)).collect();
        let is_known = |owner: &&Owner| self.known.contains(&self.of(owner.customer));
        if whole.len() < 2 || whole.iter().filter(|customer| self.known.contains(customer)).count() > 1 {
            return Vec::new();
        }
        let main = owners.iter().find(is_known).unwrap_or(&owners[0]);
        let others = owners.iter().filter(|owner| self.of(owner.customer) != self.of(main.customer));
        others.map(|owner| (*main, *owner)).collect()
    }

    /// Joins.
    pub fn join(&mut self, pairs: Vec<(Owner, Owner)>) {
        for (main, other) in pairs {
            let (into, from) = (self.of(main.customer), self.of(other.customer));
            if into != from {
                self.joined.insert(from, into);
                self.pairs.extend(Pair::of(main.home, other.home));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(id: &str) -> Identity {
        Identity { source: "shop".to_owned(), id: id.to_owned() }
    }

    fn groups(gathering: &Gathering) -> Vec<Vec<&str>> {
        gathering.groups.iter().map(|group| group.identities.iter().map(|it| it.id.as_str()).collect()).collect()
    }

    #[test]
    fn identities_that_are_named_together_are_one_customer_over_several_rows() {
        let (a, b, c, d) = (identity("a"), identity("b"), identity("c"), identity("d"));
        let mut gathering = Gathering::default();
        gathering.gather(&[&a, &b], &[]);
        gathering.gather(&[&b, &c], &[]);
        gathering.gather(&[&c], &[]);
        gathering.gather(&[], &[]);
        gathering.gather(&[&d], &[]);
        assert_eq!(groups(&gathering), [vec!["a", "b", "c"], vec!["d"]]);
    }

    #[test]
    fn identities_that_are_named_with_a_known_one_join_its_customer() {
        let (a, b) = (identity("a"), identity("b"));
        let owner = Owner { subject_id: 7, customer: CustomerId(3), home: CustomerId(5) };
        let mut gathering = Gathering::default();
        gathering.gather(&[&a], &[owner]);
        gathering.gather(&[&b], &[]);
        let joined: Vec<_> = gathering.groups.iter().map(|group| group.join).collect();
        assert_eq!(joined, [Some((CustomerId(3), CustomerId(5))), None]);
    }

    #[test]
    fn what_a_row_names_of_two_customers_is_not_registered_by_it() {
        let (a, b, new) = (identity("a"), identity("b"), identity("new"));
        let of = |id| Owner { subject_id: 7, customer: CustomerId(id), home: CustomerId(id) };
        let mut gathering = Gathering::default();
        gathering.gather(&[&new], &[of(1), of(2)]);
        gathering.gather(&[&a], &[]);
        gathering.gather(&[&b], &[]);
        gathering.gather(&[&a, &b, &new], &[]);
        gathering.gather(&[&a, &new], &[of(1)]);
        assert_eq!(groups(&gathering), [vec!["a"], vec!["b"]]);
    }

    #[test]
    fn what_nothing_but_facts_is_known_of_joins_one_that_is_known_and_not_a_second() {
        let of = |id| Owner { subject_id: 7, customer: CustomerId(id), home: CustomerId(id) };
        let mut joining = Joining::new([CustomerId(1), CustomerId(2)].into_iter());
        for row in [[of(9), of(1)], [of(9), of(2)], [of(8), of(9)], [of(1), of(2)], [of(8), of(1)]] {
            let pairs = joining.pairs_of(&row);
            joining.join(pairs);
        }
        let pairs: Vec<_> = joining.pairs.iter().map(|pair| (pair.left.0, pair.right.0)).collect();
        assert_eq!(pairs, [(1, 9), (8, 9)]);
    }
}
