//! Who belongs together among identities that nobody knows yet.

use crate::intake::Identity;
use crate::store::identities::{Newcomers, Owner};
use std::collections::HashMap;

/// Identities that nobody knows yet, gathered by the customers that they will be of.
#[derive(Default)]
pub struct Gathering {
    /// The groups.
    pub groups: Vec<Newcomers>,
    places: HashMap<Identity, usize>,
}

impl Gathering {
    /// Adds unknown identities that belong together, and to a customer that is there, or to whom one of them was gathered with before.
    pub fn gather(&mut self, unknown: &[&Identity], join: Option<&Owner>) {
        if unknown.is_empty() {
            return;
        }
        let join = join.map(|owner| (owner.customer, owner.home));
        let before = unknown.iter().find_map(|identity| self.places.get(*identity)).copied();
        let place = before.filter(|_| join.is_none()).unwrap_or_else(|| {
            self.groups.push(Newcomers { identities: Vec::new(), join });
            self.groups.len() - 1
        });
        for identity in unknown {
            if !self.places.contains_key(*identity) {
                self.places.insert((*identity).clone(), place);
                self.groups[place].identities.push((*identity).clone());
            }
        }
        if self.groups[place].identities.is_empty() {
            self.groups.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quintile_domain::ids::CustomerId;

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
        gathering.gather(&[&a, &b], None);
        gathering.gather(&[&b, &c], None);
        gathering.gather(&[&c], None);
        gathering.gather(&[], None);
        gathering.gather(&[&d], None);
        assert_eq!(groups(&gathering), [vec!["a", "b", "c"], vec!["d"]]);
    }

    #[test]
    fn identities_that_are_named_with_a_known_one_join_its_customer() {
        let (a, b) = (identity("a"), identity("b"));
        let owner = Owner { subject_id: 7, customer: CustomerId(3), home: CustomerId(5) };
        let mut gathering = Gathering::default();
        gathering.gather(&[&a], Some(&owner));
        gathering.gather(&[&b], None);
        let joined: Vec<_> = gathering.groups.iter().map(|group| group.join).collect();
        assert_eq!(joined, [Some((CustomerId(3), CustomerId(5))), None]);
    }
}
