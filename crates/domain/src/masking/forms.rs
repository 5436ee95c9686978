//! The forms in which values are shown, and the form of every class for one caller.

use super::presets::{REDACTED, hide_after, hide_before, hide_between, keep_ends, partial, partial_strict};
use super::pseudonym::PseudonymKey;
use super::{Sensitivity, Shown};
use std::sync::Arc;

/// The form in which a value is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// As it is.
    Clear,
    /// Part of it, by the preset of its class.
    Partial,
    /// Part of it, by the stricter preset of its class.
    PartialStrict,
    /// The first and the last characters.
    Keep {
        /// Characters kept at the beginning.
        first: usize,
        /// Characters kept at the end.
        last: usize,
    },
    /// All but some characters in the middle.
    Hide {
        /// The first hidden character, from 1.
        first: usize,
        /// The last hidden character.
        last: usize,
    },
    /// What stands behind the first of these, itself included.
    HideBefore(char),
    /// What stands before the first of these, itself included.
    HideAfter(char),
    /// A keyed hash, the same for the same value.
    Hash(PseudonymKey),
    /// This text, whatever the value.
    Fixed(Arc<str>),
    /// The name of the class.
    TypeName,
    /// Of a number, the largest multiple of this that is not above it.
    Bucket(i64),
    /// Of a date, the year.
    Year,
    /// Of a date, the year and the month.
    Month,
    /// Nothing, as if there were no value.
    Absent,
    /// Text becomes [`REDACTED`], so that hidden and absent differ; everything else is absent.
    Redacted,
}

/// What is kept of a date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatePart {
    /// The year.
    Year,
    /// The year and the month.
    Month,
}

impl Form {
    /// Whether a value in this form tells anything of itself.
    pub fn reveals(&self) -> bool {
        !matches!(self, Self::Absent | Self::Redacted | Self::Fixed(_) | Self::TypeName)
    }

    /// The text that stands for `value`. `None`: absent. A form that text does not have redacts it.
    fn of_text(&self, class: Sensitivity, value: &str) -> Option<String> {
        let shown = match self {
            Self::Clear => return Some(value.to_owned()),
            Self::Absent => return None,
            Self::Fixed(text) => return Some(text.to_string()),
            Self::TypeName => return Some(format!("<{}>", class.name())),
            Self::Hash(key) => return Some(key.pseudonym(class, value)),
            Self::Partial => partial(class, value),
            Self::PartialStrict => partial_strict(class, value),
            Self::Keep { first, last } => keep_ends(value, *first, *last),
            Self::Hide { first, last } => hide_between(value, *first, *last),
            Self::HideBefore(separator) => hide_before(value, *separator),
            Self::HideAfter(separator) => hide_after(value, *separator),
            Self::Bucket(_) | Self::Year | Self::Month | Self::Redacted => None,
        };
        Some(shown.unwrap_or_else(|| REDACTED.to_owned()))
    }
}

/// The form of every class, for one caller. Deny by default: a class that is not granted is redacted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldForms([Form; Sensitivity::COUNT]);

impl FieldForms {
    /// Nothing but what tells nothing.
    pub fn nothing() -> Self {
        Self(std::array::from_fn(
            |class| {
                if class == Sensitivity::None as usize { Form::Clear } else { Form::Redacted }
            },
        ))
    }

    /// The same, with `form` granted for `class`.
    #[must_use]
    pub fn with(mut self, class: Sensitivity, form: Form) -> Self {
        self.0[class as usize] = form;
        self
    }

    /// The form of a class.
    pub fn form(&self, class: Sensitivity) -> &Form {
        &self.0[class as usize]
    }

    /// Whether a value of this class may be used to filter, sort, count or group: only what is seen in clear.
    pub fn reads_in_clear(&self, class: Sensitivity) -> bool {
        *self.form(class) == Form::Clear
    }

    /// Whether every class is seen in clear.
    pub fn everything_clear(&self) -> bool {
        Sensitivity::ALL.into_iter().all(|class| self.reads_in_clear(class))
    }

    /// Brings a text into the form of its class.
    pub fn mask_text(&self, class: Sensitivity, text: &mut Option<String>, shown: &mut Shown) {
        let Some(value) = text else { return };
        let form = self.form(class);
        shown.note(class, form);
        if *form != Form::Clear {
            *text = form.of_text(class, value);
        }
    }

    /// Brings a text into the form of a class that was declared at run time. One whose class is not known is redacted for everybody:
    /// whoever sees every class in clear was granted classes, and not what has none.
    pub fn mask_text_of_declared(&self, class: Option<Sensitivity>, text: &mut Option<String>, shown: &mut Shown) {
        match class {
            Some(class) => self.mask_text(class, text, shown),
            None => *text = text.take().map(|_| REDACTED.to_owned()),
        }
    }

    /// Brings every text of a list into the form of its class; absent ones leave it. A form that reveals nothing does not tell either how many
    /// there are.
    pub fn mask_texts(&self, class: Sensitivity, texts: &mut Vec<String>, shown: &mut Shown) {
        let form = self.form(class);
        if texts.is_empty() || *form == Form::Clear {
            if !texts.is_empty() {
                shown.note(class, form);
            }
            return;
        }
        shown.note(class, form);
        if !form.reveals() {
            texts.truncate(1);
        }
        *texts = texts.iter().filter_map(|text| form.of_text(class, text)).collect();
    }

    /// Brings a number into the form of its class. `floor` brings it down to a multiple of the bucket, or tells that it can't.
    pub fn mask_number<T>(
        &self,
        class: Sensitivity,
        value: &mut Option<T>,
        shown: &mut Shown,
        floor: impl FnOnce(&mut T, i64) -> bool,
    ) {
        let Some(number) = value else { return };
        let form = self.form(class);
        let visible = match form {
            Form::Clear => true,
            Form::Bucket(bucket) => floor(number, *bucket),
            _ => false,
        };
        if visible {
            shown.note(class, form);
        } else {
            shown.hide(class);
            *value = None;
        }
    }

    /// Takes a value that has no partial form away, unless its class is seen in clear.
    pub fn mask_value<T>(&self, class: Sensitivity, value: &mut Option<T>, shown: &mut Shown) {
        self.mask_number(class, value, shown, |_, _| false);
    }

    /// Brings a date into the form of its class. `keep` blanks what is not kept.
    pub fn mask_date<T>(
        &self,
        class: Sensitivity,
        date: &mut Option<T>,
        shown: &mut Shown,
        keep: impl FnOnce(&mut T, DatePart),
    ) {
        let Some(value) = date else { return };
        let form = self.form(class);
        match form {
            Form::Clear => {}
            Form::Year => keep(value, DatePart::Year),
            Form::Month => keep(value, DatePart::Month),
            _ => {
                shown.hide(class);
                *date = None;
                return;
            }
        }
        shown.note(class, form);
    }
}
