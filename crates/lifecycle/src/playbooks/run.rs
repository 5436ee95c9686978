//! A run: what a playbook does for one customer, from what triggered it until it is measured.
//!
//! Each step is gone through as of the instant at which it was reached, and not of that at which somebody came to it: where time has jumped, or the suite
//! stood still, everything that came due is done with the instants that it would have had.

use super::contact::{ContactRules, permits};
use super::emails::{tells_of_grant, text_for};
use crate::YEAR_DAYS;
use crate::outcome::{Experiment, ExperimentError, Observed, Side};
use quintile_domain::money::Currency;
use quintile_domain::time::Instant;
use quintile_proto::lifecycle::{
    CallWebhook, EmailText, GrantTier, MakeTask, Playbook, RunRefusal, RunState, SkippedStep, Step, StepSkipReason,
    step,
};
use quintile_proto::types::{CustomerAttributes, CustomerRecord, Features};
use quintile_rpc::convert;

const DAY_MICROS: i64 = 86_400_000_000;
/// The most skipped steps that are told of.
const MAX_SKIPPED: usize = 100;

/// What a customer has bought so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Orders.
    pub orders: i64,
    /// What they come to less refunds, in minor units.
    pub net_minor: i64,
    /// The revenue of the last year, in minor units.
    pub year_minor: i64,
}

impl Standing {
    /// Of a customer's features.
    pub fn of(features: &Features, currency: Currency) -> Self {
        let minor = |money| convert::sent_minor(money, currency).unwrap_or_default();
        let year = features.windows.iter().find(|window| window.days == YEAR_DAYS);
        Self {
            orders: features.orders,
            net_minor: minor(features.net_revenue.as_ref()),
            year_minor: minor(year.and_then(|year| year.revenue.as_ref())),
        }
    }
}

/// What a customer did in the time over which it is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measured {
    /// Whether it has bought.
    pub converted: bool,
    /// What it has spent less refunds, in minor units.
    pub revenue_minor: i64,
}

/// A run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// What has become of it.
    pub state: RunState,
    /// Why it was refused.
    pub refusal: RunRefusal,
    /// When what triggered it happened.
    pub triggered_at: Instant,
    /// The id of the variant. Empty: none.
    pub variant: String,
    /// Steps that are behind it.
    pub steps_done: usize,
    /// When the next one is reached.
    pub step_at: Option<Instant>,
    /// Contacts that were withheld.
    pub withheld: i32,
    /// Steps that were to grant something, or to tell of it, and did not.
    pub skipped: Vec<SkippedStep>,
    /// When it is measured.
    pub measure_at: Option<Instant>,
    /// The customer when it was assigned.
    pub before: Standing,
    /// What it has done since.
    pub measured: Option<Measured>,
}

/// What is known of a customer when its run is gone on with.
pub struct Customer<'a> {
    /// Its number.
    pub number: u64,
    /// Its record. `None`: it is gone.
    pub record: Option<&'a CustomerRecord>,
    /// Whether it is a member of a segment. `None`: there is no such segment any more.
    pub is_member: &'a dyn Fn(&str) -> Option<bool>,
}

impl Customer<'_> {
    fn attributes(&self) -> CustomerAttributes {
        self.record.and_then(|record| record.attributes.clone()).unwrap_or_default()
    }
}

/// What a run is gone on with by.
pub struct Occasion<'a> {
    /// The playbook.
    pub playbook: &'a Playbook,
    /// What the tenant's money is in.
    pub currency: Currency,
    /// When and how often customers may be contacted.
    pub rules: &'a ContactRules,
    /// The business time that has come.
    pub now: Instant,
}

/// What a step brings about.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// A colleague is given something to do.
    Task {
        /// When the step was reached.
        at: Instant,
        /// What.
        task: MakeTask,
        /// Whose it is.
        assignee: String,
    },
    /// The customer is contacted.
    Message {
        /// When the step was reached.
        at: Instant,
        /// Its place in the variant, 1 for the first.
        step: i32,
        /// How.
        message: Message,
    },
    /// The customer is granted an offer, if that can be.
    Offer {
        /// When the step was reached.
        at: Instant,
        /// Its place in the variant, 1 for the first.
        step: i32,
        /// The name of the offer.
        offer: String,
    },
    /// The customer is put into a loyalty tier, if that can be.
    Tier {
        /// When the step was reached.
        at: Instant,
        /// Its place in the variant, 1 for the first.
        step: i32,
        /// Which, and whether from a higher one too.
        tier: GrantTier,
    },
}

impl Action {
    /// Whether it comes to nothing where nothing was granted that it could tell of, which is not known here.
    pub fn may_fail(&self) -> bool {
        matches!(self, Self::Message { message: Message::Email { text, .. }, .. } if tells_of_grant(text))
    }
}

/// How a customer is contacted.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// Another system is told.
    Webhook(CallWebhook),
    /// It is sent an e-mail.
    Email {
        /// The sender, by name.
        endpoint: String,
        /// What it is, in a few words.
        message: String,
        /// What it says, in the customer's language.
        text: EmailText,
    },
}

impl Message {
    /// The message of a step to a customer. `None`: the step is no message.
    fn of(action: &step::Action, attributes: &CustomerAttributes) -> Option<Self> {
        match action {
            step::Action::Webhook(webhook) => Some(Self::Webhook(webhook.clone())),
            step::Action::Email(email) => Some(Self::Email {
                endpoint: email.endpoint.clone(),
                message: email.message.clone(),
                text: text_for(&email.texts, &attributes.language).cloned().unwrap_or_default(),
            }),
            _ => None,
        }
    }
}

/// Who is held out of a version of a playbook, and who gets which variant.
pub fn experiment(playbook: &Playbook) -> Result<Experiment, ExperimentError> {
    let weights: Vec<u32> = playbook.variants.iter().map(|variant| variant.weight.cast_unsigned()).collect();
    let salt = playbook.version.to_string();
    Experiment::new(&playbook.name, &salt, playbook.holdout_basis_points.cast_unsigned(), &weights)
}

impl Run {
    /// A run that is triggered at an instant.
    pub fn triggered(at: Instant) -> Self {
        Self {
            state: RunState::Triggered,
            refusal: RunRefusal::Unspecified,
            triggered_at: at,
            variant: String::new(),
            steps_done: 0,
            step_at: None,
            withheld: 0,
            skipped: Vec::new(),
            measure_at: None,
            before: Standing::default(),
            measured: None,
        }
    }

    /// When anything about it is next due.
    pub fn due_at(&self) -> Option<Instant> {
        if self.state == RunState::Triggered {
            return Some(self.triggered_at);
        }
        [self.step_at, self.measure_at.filter(|_| self.measured.is_none())].into_iter().flatten().min()
    }

    /// Ends what is under way.
    pub fn stop(&mut self) {
        if matches!(self.state, RunState::Triggered | RunState::Active) {
            (self.state, self.step_at) = (RunState::Stopped, None);
        }
    }

    /// Whether it keeps another run of the playbook, that is triggered at an instant, from its customer.
    fn keeps_off(&self, at: Instant, again_after_days: i32) -> bool {
        match self.state {
            RunState::Unspecified | RunState::Refused => false,
            // One that has been stopped before it was assigned has done nothing.
            RunState::Stopped if self.measure_at.is_none() && self.measured.is_none() => false,
            RunState::Triggered | RunState::Active => true,
            RunState::HeldOut | RunState::Finished | RunState::Stopped => {
                let again = i64::from(again_after_days) * DAY_MICROS;
                again_after_days == 0 || at < self.triggered_at.plus_micros(again)
            }
        }
    }

    /// Decides about a run that is triggered: whether the customer is meant, and on which side it is. `earlier` are the customer's runs of the playbook
    /// that were triggered before it.
    pub fn assign(&mut self, occasion: &Occasion<'_>, customer: &Customer<'_>, earlier: &[&Self], side: Side) {
        let playbook = occasion.playbook;
        self.refusal = self.refusal_of(playbook, customer, earlier);
        if self.refusal != RunRefusal::Unspecified {
            self.state = RunState::Refused;
            return;
        }
        let nothing = Features::default();
        let features = customer.record.and_then(|record| record.features.as_ref()).unwrap_or(&nothing);
        self.before = Standing::of(features, occasion.currency);
        self.measure_at = Some(self.triggered_at.plus_micros(i64::from(playbook.goal_days) * DAY_MICROS));
        match side {
            Side::Holdout => self.state = RunState::HeldOut,
            Side::Variant(place) => {
                self.state = RunState::Active;
                self.variant = playbook.variants.get(place).map(|variant| variant.id.clone()).unwrap_or_default();
                self.step_at = Some(self.triggered_at);
            }
        }
    }

    /// Why a customer is not meant, or not to be contacted, by a run that is triggered now. `earlier` are its runs of the playbook so far.
    pub fn refusal_of(&self, playbook: &Playbook, customer: &Customer<'_>, earlier: &[&Self]) -> RunRefusal {
        let is_member = |segment: &str| (customer.is_member)(segment);
        if customer.record.is_none() {
            RunRefusal::Gone
        } else if earlier.iter().any(|run| run.keeps_off(self.triggered_at, playbook.again_after_days)) {
            RunRefusal::Again
        } else if !permits(&customer.attributes(), playbook.purpose()) {
            RunRefusal::Consent
        } else if !playbook.audience.is_empty() && is_member(&playbook.audience) != Some(true) {
            RunRefusal::Audience
        } else if !playbook.excluded.is_empty() && is_member(&playbook.excluded) != Some(false) {
            RunRefusal::Excluded
        } else {
            RunRefusal::Unspecified
        }
    }

    /// Goes through the steps that have come due, and measures when that has. `contacts` are the instants of the customer's contacts, to which its own are
    /// added. Where contacts are capped, it stops behind one that may come to nothing: whether it counts is to be known first.
    pub fn advance(
        &mut self,
        occasion: &Occasion<'_>,
        customer: &Customer<'_>,
        contacts: &mut Vec<Instant>,
    ) -> Vec<Action> {
        let mut actions = Vec::new();
        if customer.record.is_none() {
            self.stop();
        }
        let variant = occasion.playbook.variants.iter().find(|variant| variant.id == self.variant);
        let steps = variant.map(|variant| variant.steps.as_slice()).unwrap_or_default();
        while let Some(at) = self.step_at.filter(|at| self.state == RunState::Active && *at <= occasion.now) {
            match steps.get(self.steps_done) {
                Some(step) => self.take_step(occasion, customer, contacts, (steps, step), at, &mut actions),
                None => self.finish(steps.len()),
            }
            if self.state == RunState::Active && self.steps_done >= steps.len() {
                self.finish(steps.len());
            }
            if occasion.rules.cap_micros().is_some() && actions.last().is_some_and(Action::may_fail) {
                break;
            }
        }
        self.measure(occasion, customer);
        actions
    }

    fn finish(&mut self, steps_done: usize) {
        (self.state, self.steps_done, self.step_at) = (RunState::Finished, steps_done, None);
    }

    /// Notes that a step did not do what it was to.
    pub fn skip(&mut self, step: i32, reason: StepSkipReason) {
        if self.skipped.len() < MAX_SKIPPED {
            self.skipped.push(SkippedStep { step, reason: reason.into() });
            self.skipped.sort_by_key(|skipped| skipped.step);
        }
    }

    fn take_step(
        &mut self,
        occasion: &Occasion<'_>,
        customer: &Customer<'_>,
        contacts: &mut Vec<Instant>,
        (steps, step): (&[Step], &Step),
        at: Instant,
        actions: &mut Vec<Action>,
    ) {
        let attributes = customer.attributes();
        let is_permitted = permits(&attributes, occasion.playbook.purpose());
        let place = self.steps_done as i32 + 1;
        match step.action.as_ref() {
            Some(step::Action::Wait(wait)) => {
                let seconds = wait.duration.as_ref().map_or(0, |duration| duration.seconds);
                self.step_at = Some(at.plus_micros(seconds * 1_000_000));
            }
            Some(step::Action::Branch(branch)) if (customer.is_member)(&branch.segment) != Some(true) => {
                let otherwise = steps.iter().position(|step| !step.id.is_empty() && step.id == branch.otherwise);
                match otherwise {
                    Some(place) => self.steps_done = place,
                    None => self.finish(self.steps_done + 1),
                }
                return;
            }
            Some(step::Action::End(_)) => return self.finish(self.steps_done + 1),
            Some(step::Action::Task(_) | step::Action::Webhook(_) | step::Action::Email(_)) if !is_permitted => {
                self.withheld += 1;
            }
            Some(step::Action::GrantOffer(_) | step::Action::GrantTier(_)) if !is_permitted => {
                self.skip(place, StepSkipReason::Consent);
            }
            Some(step::Action::GrantOffer(grant)) => {
                actions.push(Action::Offer { at, step: place, offer: grant.offer.clone() });
            }
            Some(step::Action::GrantTier(tier)) => actions.push(Action::Tier { at, step: place, tier: tier.clone() }),
            Some(step::Action::Task(task)) => {
                let assignee = if task.assignee.is_empty() { attributes.owner } else { task.assignee.clone() };
                actions.push(Action::Task { at, task: task.clone(), assignee });
            }
            Some(action @ (step::Action::Webhook(_) | step::Action::Email(_))) => {
                if let Some(end) = occasion.rules.quiet_until(&attributes, at) {
                    self.step_at = Some(end);
                    return;
                }
                if occasion.rules.is_capped(contacts, at) {
                    self.withheld += 1;
                } else if let Some(message) = Message::of(action, &attributes) {
                    contacts.push(at);
                    actions.push(Action::Message { at, step: place, message });
                }
            }
            Some(step::Action::Branch(_)) | None => {}
        }
        self.steps_done += 1;
    }

    fn measure(&mut self, occasion: &Occasion<'_>, customer: &Customer<'_>) {
        if self.measure_at.is_none_or(|at| at > occasion.now) || self.measured.is_some() {
            return;
        }
        let Some(features) = customer.record.map(|record| record.features.clone().unwrap_or_default()) else {
            self.measure_at = None;
            return;
        };
        let now = Standing::of(&features, occasion.currency);
        self.measured = Some(Measured {
            converted: now.orders > self.before.orders,
            revenue_minor: now.net_minor.saturating_sub(self.before.net_minor),
        });
    }

    /// What is compared of it, once it is measured.
    pub fn observed(&self) -> Option<Observed> {
        self.measured.map(|measured| Observed {
            converted: measured.converted,
            revenue_minor: measured.revenue_minor,
            revenue_before_minor: self.before.year_minor,
        })
    }
}
