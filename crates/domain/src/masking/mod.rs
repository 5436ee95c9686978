//! In which form a value is shown to whom.
//!
//! Messages are masked by code generated from their declared classes ([`Maskable`]); a [`Masked`] value is the only thing that
//! a service can put on the wire, and masking is the only way to make one.

mod presets;

pub use presets::{REDACTED, partial};

/// What a value could tell about a person. The numbers are those of `quintile.type.v1.Sensitivity`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[expect(missing_docs, reason = "sensitivity.proto says what each class means")]
pub enum Sensitivity {
    None = 1,
    Name = 2,
    Phone = 3,
    Email = 4,
    Address = 5,
    IdNumber = 6,
    BankCard = 7,
    BirthDate = 8,
    IpAddress = 9,
    LicensePlate = 10,
    FreeText = 11,
    Financial = 12,
    Location = 13,
    Demographic = 14,
    Pseudonym = 15,
}

impl Sensitivity {
    /// Every class, in the order of their numbers.
    pub const ALL: [Self; 15] = [
        Self::None,
        Self::Name,
        Self::Phone,
        Self::Email,
        Self::Address,
        Self::IdNumber,
        Self::BankCard,
        Self::BirthDate,
        Self::IpAddress,
        Self::LicensePlate,
        Self::FreeText,
        Self::Financial,
        Self::Location,
        Self::Demographic,
        Self::Pseudonym,
    ];
}

/// The form in which a value is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As it is.
    Clear,
    /// Part of it, by the preset of its class.
    Partial,
    /// Of a date, the year; of anything else, nothing.
    Year,
    /// Text becomes [`REDACTED`], so that hidden and absent differ; everything else is absent.
    Redacted,
}

/// The form of every class, for one caller. Deny by default: a class that is not granted is redacted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldForms([Form; 16]);

impl FieldForms {
    /// Nothing but what tells nothing.
    pub fn nothing() -> Self {
        let mut forms = [Form::Redacted; 16];
        forms[Sensitivity::None as usize] = Form::Clear;
        Self(forms)
    }

    /// The same, with `form` granted for `class`.
    #[must_use]
    pub fn with(mut self, class: Sensitivity, form: Form) -> Self {
        self.0[class as usize] = form;
        self
    }

    /// The form of a class.
    pub fn form(&self, class: Sensitivity) -> Form {
        self.0[class as usize]
    }

    /// Whether a value of this class may be used to filter, sort, count or group: only what is seen in clear.
    pub fn reads_in_clear(&self, class: Sensitivity) -> bool {
        self.form(class) == Form::Clear
    }

    /// Whether every class is seen in clear.
    pub fn everything_clear(&self) -> bool {
        Sensitivity::ALL.into_iter().all(|class| self.reads_in_clear(class))
    }

    /// Brings a text into the form of its class.
    pub fn mask_text(&self, class: Sensitivity, text: &mut Option<String>) {
        if let Some(value) = text {
            self.mask_required_text(class, value);
        }
    }

    /// Brings every text of a list into the form of its class.
    pub fn mask_texts(&self, class: Sensitivity, texts: &mut [String]) {
        for text in texts {
            self.mask_required_text(class, text);
        }
    }

    fn mask_required_text(&self, class: Sensitivity, value: &mut String) {
        match self.form(class) {
            Form::Clear => {}
            Form::Partial => *value = partial(class, value),
            Form::Year | Form::Redacted => REDACTED.clone_into(value),
        }
    }

    /// Takes a value that has no partial form away, unless its class is seen in clear.
    pub fn mask_value<T>(&self, class: Sensitivity, value: &mut Option<T>) {
        if !self.reads_in_clear(class) {
            *value = None;
        }
    }

    /// Brings a date into the form of its class. `keep_year` blanks the month and the day.
    pub fn mask_date<T>(&self, class: Sensitivity, date: &mut Option<T>, keep_year: impl FnOnce(&mut T)) {
        match (self.form(class), date.as_mut()) {
            (Form::Clear, _) => {}
            (Form::Year, Some(value)) => keep_year(value),
            _ => *date = None,
        }
    }
}

/// A caller's view: the forms that it sees, which may differ by customer (one's own, one that consented).
pub trait Lens {
    /// The forms for the data of a customer (`customers/{number}...`), or for data of no customer in particular.
    fn forms(&self, customer: Option<&str>) -> &FieldForms;
}

impl Lens for FieldForms {
    fn forms(&self, _customer: Option<&str>) -> &FieldForms {
        self
    }
}

/// A message whose classified fields can be brought into a caller's forms. Generated; never written by hand.
pub trait Maskable {
    /// Brings every classified field into its form: `forms`, until a message names its customer, and then that customer's.
    fn mask(&mut self, lens: &dyn Lens, forms: &FieldForms);
}

/// A message that has been masked for its caller: the only thing that goes on the wire.
#[derive(Clone, PartialEq)]
pub struct Masked<T>(T);

impl<T: Maskable> Masked<T> {
    /// Masks a message for a caller.
    pub fn new(mut message: T, lens: &dyn Lens) -> Self {
        let forms = lens.forms(None);
        message.mask(lens, forms);
        Self(message)
    }
}

impl<T> Masked<T> {
    /// The message, as it goes on the wire.
    pub fn as_message(&self) -> &T {
        &self.0
    }
}
