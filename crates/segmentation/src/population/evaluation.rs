//! Who belongs to what at one instant: of everybody, by columns, and of one customer. It follows from records and definitions; but for who is
//! nearest to which cluster, nothing is kept.

use super::catalogue::Catalogue;
use super::clustering::Clusters;
use super::membership::Membership;
use super::merges::{self, Merges};
use crate::cancellation::Cancellation;
use crate::engine::{Bitmap, Customers};
use quintile_expr::{Now, Row, Rule, ValueRef};
use std::cell::RefCell;
use std::collections::HashMap;

/// Everybody, at one instant. What others refer to is found once.
pub struct Evaluation<'a> {
    customers: Customers<'a>,
    catalogue: &'a Catalogue,
    merges: &'a Merges,
    now: &'a Now<'a>,
    found: HashMap<usize, Vec<Bitmap>>,
    cancellation: &'a Cancellation,
    /// What nobody refers to is not kept for longer than until the next is asked for: there may be thousands.
    last: Option<(usize, Vec<Bitmap>)>,
}

impl<'a> Evaluation<'a> {
    /// Everybody at `now`. What is found after a cancellation means nothing.
    pub fn new(
        customers: Customers<'a>,
        catalogue: &'a Catalogue,
        merges: &'a Merges,
        now: &'a Now<'a>,
        cancellation: &'a Cancellation,
    ) -> Self {
        Self { customers, catalogue, merges, now, found: HashMap::new(), cancellation, last: None }
    }

    /// The members of every part of the definition at a place, in order.
    pub fn parts(&mut self, place: usize) -> &[Bitmap] {
        if self.catalogue.is_referred(place) || self.found.contains_key(&place) {
            self.keep(place);
            return self.found.get(&place).map_or(&[], Vec::as_slice);
        }
        if self.last.as_ref().is_none_or(|(last, _)| *last != place) {
            let parts = self.compute(place);
            self.last = Some((place, parts));
        }
        self.last.as_ref().map_or(&[], |(_, parts)| parts)
    }

    /// Finds those of a definition that something refers to.
    fn keep(&mut self, place: usize) {
        if !self.found.contains_key(&place) {
            let parts = self.compute(place);
            self.found.insert(place, parts);
        }
    }

    fn compute(&mut self, place: usize) -> Vec<Bitmap> {
        match self.catalogue.live().get(place).map(|live| (&live.membership, live.rest())) {
            Some((Membership::List { listed, .. }, _)) => {
                vec![self.merges.follow(listed).and(self.customers.present())]
            }
            Some((Membership::Rules(rules), rest)) => self.exclusive(rules, rest.is_some()),
            Some((Membership::Clusters(clusters), _)) => self.nearest(clusters),
            None => Vec::new(),
        }
    }

    /// The customers who match a rule.
    pub fn select(&mut self, rule: &Rule) -> Bitmap {
        self.keep_referred(rule);
        self.customers.select_until(rule, self.now, &|name: &str| self.referred(name), self.cancellation)
    }

    /// How many customers match a rule, without keeping them.
    pub fn count(&mut self, rule: &Rule) -> u64 {
        self.keep_referred(rule);
        self.customers.count(rule, self.now, &|name: &str| self.referred(name), self.cancellation)
    }

    fn keep_referred(&mut self, rule: &Rule) {
        // Ascending, so each behind those that it refers to: this does not recurse further.
        for place in self.catalogue.places_referred(std::slice::from_ref(rule)) {
            self.keep(place);
        }
    }

    /// The members of what rules call so, which has been kept.
    fn referred(&self, name: &str) -> Option<&Bitmap> {
        let (place, part) = self.catalogue.referred(name)?;
        self.found.get(&place)?.get(part)
    }

    /// Those of each rule who match none before it, and those who match none at all where there is a rest.
    fn exclusive(&mut self, rules: &[Rule], with_rest: bool) -> Vec<Bitmap> {
        let mut taken = Bitmap::new();
        let mut parts = Vec::with_capacity(rules.len() + 1);
        for rule in rules {
            let members = self.select(rule).and_not(&taken);
            taken = taken.or(&members);
            parts.push(members);
        }
        if with_rest {
            parts.push(self.customers.present().and_not(&taken));
        }
        parts
    }

    /// Those of each cluster, and those who are not clustered.
    fn nearest(&mut self, clusters: &Clusters) -> Vec<Bitmap> {
        let within = match clusters.within().first() {
            Some(rule) => self.select(rule),
            None => self.customers.present().clone(),
        };
        let nearest = clusters.nearest(self.customers, self.now, self.cancellation);
        clustered(&nearest, &within, self.customers.present())
    }
}

/// The parts of clusters: those of each who are within, and of those who are present everybody else.
pub fn clustered(nearest: &[Bitmap], within: &Bitmap, present: &Bitmap) -> Vec<Bitmap> {
    let mut parts: Vec<Bitmap> = nearest.iter().map(|members| members.and(within)).collect();
    let clustered = parts.iter().fold(Bitmap::new(), |all, members| all.or(members));
    parts.push(present.and_not(&clustered));
    parts
}

/// One customer at one instant, with what it belongs to.
pub struct Customer<'a> {
    number: u32,
    /// Those who were merged into it.
    merged: &'a [u32],
    values: &'a dyn Row,
    catalogue: &'a Catalogue,
    now: &'a Now<'a>,
    /// Of definitions that others referred to.
    known: RefCell<HashMap<usize, Option<usize>>>,
}

impl<'a> Customer<'a> {
    /// A customer by number and by those who were merged into it, with the values of its fields.
    pub fn new(
        (number, merged): (u32, &'a [u32]),
        values: &'a dyn Row,
        catalogue: &'a Catalogue,
        now: &'a Now<'a>,
    ) -> Self {
        Self { number, merged, values, catalogue, now, known: RefCell::default() }
    }

    /// The part of the definition at a place that the customer belongs to.
    pub fn part(&self, place: usize) -> Option<usize> {
        let definition = self.catalogue.live().get(place)?;
        match &definition.membership {
            Membership::List { listed, .. } => merges::is_on(listed, self.number, self.merged).then_some(0),
            Membership::Clusters(clusters) => {
                let is_clustered = clusters.within().iter().all(|rule| rule.matches(self, self.now));
                let place = is_clustered.then(|| clusters.place(self.values, self.now)).flatten();
                place.or_else(|| definition.rest())
            }
            Membership::Rules(rules) => {
                rules.iter().position(|rule| rule.matches(self, self.now)).or_else(|| definition.rest())
            }
        }
    }

    /// Whether the customer matches a rule.
    pub fn matches(&self, rule: &Rule) -> bool {
        rule.matches(self, self.now)
    }
}

impl Row for Customer<'_> {
    fn value(&self, field: u16) -> Option<ValueRef<'_>> {
        self.values.value(field)
    }

    fn in_segment(&self, name: &str) -> bool {
        let Some((place, part)) = self.catalogue.referred(name) else { return false };
        if let Some(known) = self.known.borrow().get(&place) {
            return *known == Some(part);
        }
        let found = self.part(place);
        self.known.borrow_mut().insert(place, found);
        found == Some(part)
    }
}
