//! How soon feedback is answered: what asks for an answer, by what it is answered, and how much of it was answered in time. Pure.
//!
//! To add a kind, add it to [`Kind`] and to [`Targets`], say in `store::facts::responses` which facts are of it, and give it a column in a migration.

mod tally;

pub use tally::Tally;

use quintile_domain::time::Instant;
use quintile_proto::ingestion::{FeedbackKind, ResponseKind};
use std::collections::BTreeMap;

/// The longest target: a year.
pub const MAX_HOURS: i32 = 8_760;
const HOUR_MICROS: i64 = 3_600_000_000;

/// A kind of feedback that asks for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A complaint.
    Complaint,
    /// A support ticket.
    SupportTicket,
    /// A low score.
    LowScore,
    /// A comment without a score.
    Comment,
}

impl Kind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Complaint, Self::SupportTicket, Self::LowScore, Self::Comment];

    /// What feedback with a score, or without one, asks for. `None`: for nothing.
    pub fn of_feedback(scale: FeedbackKind, score: Option<i64>) -> Option<Self> {
        let lowest = match scale {
            FeedbackKind::Comment => return Some(Self::Comment),
            FeedbackKind::Csat | FeedbackKind::Stars => 2,
            FeedbackKind::Nps => 6,
            // Sources differ in whether much or little effort is good.
            FeedbackKind::Ces | FeedbackKind::Unspecified => return None,
        };
        score.filter(|score| *score <= lowest).map(|_| Self::LowScore)
    }

    /// The kind as it is told.
    pub fn message(self) -> ResponseKind {
        match self {
            Self::Complaint => ResponseKind::Complaint,
            Self::SupportTicket => ResponseKind::SupportTicket,
            Self::LowScore => ResponseKind::LowScore,
            Self::Comment => ResponseKind::Comment,
        }
    }
}

/// Within how many hours feedback of each kind is to be answered. 0: it need not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Targets {
    /// Complaints.
    pub complaint: i32,
    /// Support tickets.
    pub support_ticket: i32,
    /// Low scores.
    pub low_score: i32,
    /// Comments.
    pub comment: i32,
}

impl Default for Targets {
    fn default() -> Self {
        Self { complaint: 24, support_ticket: 48, low_score: 0, comment: 0 }
    }
}

impl Targets {
    /// The hours of a kind.
    pub fn hours(&self, kind: Kind) -> i32 {
        match kind {
            Kind::Complaint => self.complaint,
            Kind::SupportTicket => self.support_ticket,
            Kind::LowScore => self.low_score,
            Kind::Comment => self.comment,
        }
    }

    /// The instant before which feedback of some kinds must have come to be overdue by now. `None`: none of them has to be answered.
    pub fn overdue_before(&self, kinds: &[Kind], now: Instant) -> Option<Instant> {
        let shortest = kinds.iter().map(|kind| self.hours(*kind)).filter(|hours| *hours > 0).min()?;
        Some(now.plus_micros(-i64::from(shortest) * HOUR_MICROS))
    }

    /// Until when feedback is to be answered. `None`: it need not be.
    pub fn due(&self, kind: Kind, at: Instant) -> Option<Instant> {
        let hours = self.hours(kind);
        (hours > 0).then(|| at.plus_micros(i64::from(hours) * HOUR_MICROS))
    }
}

/// A case: whether it is a complaint, its source, and what it is called there.
pub type CaseId = (bool, String, String);

/// Something said of a case: when, whether it was resolved, and the subject and the event id of the fact. In this order what was said last holds.
pub type Word = (Instant, bool, i64, String);

/// What asks for an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The kind.
    pub kind: Kind,
    /// When.
    pub at: Instant,
    /// The subject, the source and the event id of the fact.
    pub key: (i64, String, String),
    /// The channel. Empty: not known.
    pub channel: String,
    /// What it is about: of a case what it is called. Empty: the company.
    pub about: String,
}

impl Asked {
    fn case(&self) -> Option<CaseId> {
        let complaint = match self.kind {
            Kind::Complaint => true,
            Kind::SupportTicket => false,
            Kind::LowScore | Kind::Comment => return None,
        };
        Some((complaint, self.key.1.clone(), self.about.clone()))
    }
}

/// What answers may be found in: the facts of one customer that have come.
#[derive(Clone, Debug, Default)]
pub struct History {
    cases: BTreeMap<CaseId, Vec<Word>>,
    contacts: Vec<Instant>,
}

/// What became of feedback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Became {
    /// When it was answered. `None`: not yet.
    pub answered: Option<Instant>,
}

impl History {
    /// Adds what was said of a case.
    pub fn add_word(&mut self, case: CaseId, word: Word) {
        self.cases.entry(case).or_default().push(word);
    }

    /// Adds a call or a meeting.
    pub fn add_contact(&mut self, at: Instant) {
        self.contacts.push(at);
    }

    /// Brings everything into its order, whatever the order in which it was added. Call it before asking.
    pub fn sort(&mut self) {
        self.cases.values_mut().for_each(|words| words.sort_unstable());
        self.contacts.sort_unstable();
    }

    /// What became of feedback. `None`: it is none, since its case was open already.
    pub fn answer(&self, asked: &Asked) -> Option<Became> {
        let mut resolved = None;
        if let Some(words) = asked.case().and_then(|case| self.cases.get(&case)) {
            let own = (asked.at, false, asked.key.0, asked.key.2.clone());
            let place = words.partition_point(|word| *word < own);
            if place > 0 && !words[place - 1].1 {
                return None;
            }
            resolved = words[place..].iter().find(|(_, resolved, ..)| *resolved).map(|(at, ..)| *at);
        }
        // In a call of the same instant the customer may have said it.
        let contact = self.contacts.get(self.contacts.partition_point(|at| *at <= asked.at)).copied();
        Some(Became { answered: resolved.into_iter().chain(contact).min() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hours: i64) -> Instant {
        Instant::from_micros(hours * HOUR_MICROS)
    }

    fn asked(kind: Kind, hours: i64, event: &str) -> Asked {
        let key = (7, "shop".to_owned(), event.to_owned());
        Asked { kind, at: at(hours), key, channel: String::new(), about: "parcel".to_owned() }
    }

    /// Of complaints about one parcel: when, whether resolved, and the event id.
    fn history(words: &[(i64, bool, &str)], contacts: &[i64]) -> History {
        let mut history = History::default();
        for (hours, resolved, event) in words {
            let case = (true, "shop".to_owned(), "parcel".to_owned());
            history.add_word(case, (at(*hours), *resolved, 7, (*event).to_owned()));
        }
        for hours in contacts {
            history.add_contact(at(*hours));
        }
        history.sort();
        history
    }

    #[test]
    fn a_case_is_answered_when_it_is_resolved_or_the_customer_is_called() {
        let complaint = asked(Kind::Complaint, 10, "a");
        let of = |words: &[(i64, bool, &str)], contacts: &[i64]| history(words, contacts).answer(&complaint);
        assert_eq!(of(&[(10, false, "a")], &[]), Some(Became { answered: None }));
        assert_eq!(of(&[(10, false, "a"), (30, true, "b")], &[9, 10]), Some(Became { answered: Some(at(30)) }));
        assert_eq!(of(&[(30, true, "b"), (10, false, "a")], &[40, 20]), Some(Became { answered: Some(at(20)) }));
        assert_eq!(
            of(&[(10, true, "0"), (10, false, "a")], &[]),
            Some(Became { answered: Some(at(10)) }),
            "resolved at the same instant"
        );
        // A ticket of the same name is another case.
        let ticket = asked(Kind::SupportTicket, 10, "a");
        assert_eq!(history(&[(10, false, "a"), (30, true, "b")], &[]).answer(&ticket), Some(Became { answered: None }));
    }

    #[test]
    fn a_case_that_is_open_is_not_opened_again() {
        let words =
            [(10, false, "a"), (10, false, "b"), (12, false, "c"), (20, true, "d"), (30, false, "e"), (31, true, "f")];
        let history = history(&words, &[]);
        let of = |hours, event| history.answer(&asked(Kind::Complaint, hours, event));
        assert_eq!(of(10, "a"), Some(Became { answered: Some(at(20)) }));
        assert_eq!([of(10, "b"), of(12, "c")], [None, None]);
        assert_eq!(of(30, "e"), Some(Became { answered: Some(at(31)) }), "resolved, and opened again");
    }

    #[test]
    fn a_low_score_is_answered_by_a_call_alone() {
        let history = history(&[(12, true, "b")], &[11, 15]);
        assert_eq!(history.answer(&asked(Kind::LowScore, 11, "a")), Some(Became { answered: Some(at(15)) }));
        assert_eq!(history.answer(&asked(Kind::Comment, 15, "a")), Some(Became { answered: None }));
    }

    #[test]
    fn what_has_come_within_the_shortest_target_is_not_overdue() {
        let targets = Targets { complaint: 24, support_ticket: 48, low_score: 72, comment: 0 };
        let before = |kinds: &[Kind]| targets.overdue_before(kinds, at(100));
        assert_eq!(before(&Kind::ALL), Some(at(76)));
        assert_eq!(before(&[Kind::Comment, Kind::LowScore]), Some(at(28)));
        assert_eq!([before(&[Kind::Comment]), before(&[])], [None, None]);
    }

    #[test]
    fn low_is_what_the_scale_calls_so() {
        use FeedbackKind::{Ces, Comment, Csat, Nps, Stars};
        let low = |scale, score| Kind::of_feedback(scale, Some(score)) == Some(Kind::LowScore);
        assert!(low(Csat, 2) && low(Stars, 1) && low(Nps, 0) && low(Nps, 6));
        assert!(!low(Csat, 3) && !low(Stars, 3) && !low(Nps, 7) && !low(Ces, 1) && !low(Ces, 7));
        assert_eq!(Kind::of_feedback(Comment, None), Some(Kind::Comment));
        assert_eq!(Kind::of_feedback(Csat, None), None);
    }
}
