//! In which form a value is shown to whom.
//!
//! Messages are masked by code generated from their declared classes ([`Maskable`]); a [`Masked`] value is the only thing that
//! a service can put on the wire, and masking is the only way to make one.

mod forms;
mod presets;
mod pseudonym;
mod shown;

pub use forms::{DatePart, FieldForms, Form};
pub use presets::{REDACTED, partial, partial_strict};
pub use pseudonym::PseudonymKey;
pub use shown::Shown;

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
    /// One more than the highest number.
    pub const COUNT: usize = 16;

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

    /// The class of a number, as messages have it. `None`: not declared, or not known here.
    pub fn of_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|class| *class as i32 == number)
    }

    /// The name of the class, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Name => "name",
            Self::Phone => "phone",
            Self::Email => "email",
            Self::Address => "address",
            Self::IdNumber => "id_number",
            Self::BankCard => "bank_card",
            Self::BirthDate => "birth_date",
            Self::IpAddress => "ip_address",
            Self::LicensePlate => "license_plate",
            Self::FreeText => "free_text",
            Self::Financial => "financial",
            Self::Location => "location",
            Self::Demographic => "demographic",
            Self::Pseudonym => "pseudonym",
        }
    }
}

/// Whose data a message holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataOf<'a> {
    /// Nobody's in particular.
    Nobody,
    /// The customer's of this resource name, `customers/{number}` or a part of it.
    Name(&'a str),
    /// The customer's of this number.
    Number(i64),
}

impl DataOf<'_> {
    /// The customer's number. `None`: nobody's, or the name is none.
    pub fn customer(self) -> Option<i64> {
        match self {
            Self::Nobody => None,
            Self::Number(number) => Some(number),
            Self::Name(name) => name.strip_prefix("customers/")?.split('/').next()?.parse().ok(),
        }
    }
}

/// A caller's view: the forms that it sees, which may differ by customer (one's own, one that consented).
pub trait Lens {
    /// The forms for somebody's data.
    fn forms(&self, of: DataOf<'_>) -> &FieldForms;
}

impl Lens for FieldForms {
    fn forms(&self, _of: DataOf<'_>) -> &FieldForms {
        self
    }
}

/// A message whose classified fields can be brought into a caller's forms. Generated; never written by hand.
pub trait Maskable {
    /// Whether it, or a message within it, says whose data it holds: whoever answers with it has to say who may see whom.
    const NAMES_CUSTOMERS: bool;

    /// Brings every classified field into its form, and notes what is shown: `forms`, until a message names its customer, and then
    /// that customer's.
    fn mask(&mut self, lens: &dyn Lens, forms: &FieldForms, shown: &mut Shown);
}

/// An answer that says nothing.
impl Maskable for () {
    const NAMES_CUSTOMERS: bool = false;

    fn mask(&mut self, _lens: &dyn Lens, _forms: &FieldForms, _shown: &mut Shown) {}
}

/// A message that has been masked for its caller: the only thing that goes on the wire.
#[derive(Clone, PartialEq)]
pub struct Masked<T>(T);

impl<T: Maskable> Masked<T> {
    /// Masks a message for a caller, noting what it shows.
    pub fn new(mut message: T, lens: &dyn Lens, shown: &mut Shown) -> Self {
        let forms = lens.forms(DataOf::Nobody);
        message.mask(lens, forms, shown);
        Self(message)
    }
}

impl<T> Masked<T> {
    /// The message, as it goes on the wire.
    pub fn as_message(&self) -> &T {
        &self.0
    }
}
