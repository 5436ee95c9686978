//! What an answer shows: for the audit log, noted by masking itself, so that nothing that is shown goes unnoted.

use super::{Form, Sensitivity};

/// The most customers that are noted of one answer.
const MAX_CUSTOMERS: usize = 10_000;

/// The classes of which an answer shows something, and whose values they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    classes: u32,
    customers: Vec<i64>,
    /// How many fields of each class are not shown in clear.
    masked: [u32; Sensitivity::COUNT],
    /// Whose message is being masked.
    present: Option<i64>,
}

impl Shown {
    /// That something of these classes is shown, of whom is not said.
    pub fn of_classes(classes: impl IntoIterator<Item = Sensitivity>) -> Self {
        let classes = classes.into_iter().fold(0, |classes, class| classes | 1 << class as u32);
        Self { classes, ..Self::default() }
    }

    /// Notes that a value of a class is there and goes out in this form.
    pub fn note(&mut self, class: Sensitivity, form: &Form) {
        if *form != Form::Clear {
            self.hide(class);
        }
        if class == Sensitivity::None || !form.reveals() {
            return;
        }
        self.classes |= 1 << class as u32;
        if let Some(customer) = self.present
            && self.customers.last() != Some(&customer)
            && self.customers.len() < MAX_CUSTOMERS
        {
            self.customers.push(customer);
        }
    }

    /// Notes that a value of a class is there and is not shown in clear.
    pub fn hide(&mut self, class: Sensitivity) {
        let fields = &mut self.masked[class as usize];
        *fields = fields.saturating_add(1);
    }

    /// How many fields of an answer are not shown in clear, of each class of which there are any.
    pub fn masked(&self) -> impl Iterator<Item = (Sensitivity, u32)> + '_ {
        Sensitivity::ALL.into_iter().map(|class| (class, self.masked[class as usize])).filter(|(_, fields)| *fields > 0)
    }

    /// Begins the message of a customer; returns whose message it stands in, for [`Shown::leave`].
    pub fn enter(&mut self, customer: Option<i64>) -> Option<i64> {
        std::mem::replace(&mut self.present, customer)
    }

    /// Ends a message that [`Shown::enter`] began.
    pub fn leave(&mut self, outer: Option<i64>) {
        self.present = outer;
    }

    /// Whether nothing sensitive is shown.
    pub fn is_empty(&self) -> bool {
        self.classes == 0
    }

    /// The classes of which something is shown.
    pub fn classes(&self) -> impl Iterator<Item = Sensitivity> + '_ {
        Sensitivity::ALL.into_iter().filter(|class| self.classes & (1 << *class as u32) != 0)
    }

    /// The numbers of the customers whose values they are, in the order of the answer; at most 10,000.
    pub fn customers(&self) -> &[i64] {
        &self.customers
    }

    /// Adds what another answer shows.
    pub fn add(&mut self, other: &Self) {
        self.classes |= other.classes;
        let room = MAX_CUSTOMERS.saturating_sub(self.customers.len());
        self.customers.extend(other.customers.iter().take(room));
    }
}
