//! Roles: read once from a policy, asked with every call.

use crate::scope::{CallerAttributes, Scope, ScopeError};
use quintile_domain::masking::{FieldForms, Form, PseudonymKey, Sensitivity};
use quintile_domain::names::{self, TextError};
use quintile_proto::access::{FieldForm, MaskForm, RolePolicy};
use quintile_proto::types::{CustomerAttributes, Purpose};
use std::collections::HashSet;
use std::fmt::Display;
use std::sync::Arc;
use thiserror::Error;

/// The most forms of a role.
const MAX_FORMS: usize = 256;
/// The most bytes of a fixed text.
const MAX_FIXED_BYTES: usize = 64;
/// The highest character that KEEP and HIDE count.
const MAX_POSITION: i32 = 1_000;
/// Look-ups a minute where a role says nothing.
const DEFAULT_LOOKUPS: u32 = 60;

/// Why a role of a policy is refused, and where.
#[derive(Debug, Error)]
#[error("{field}: {problem}")]
pub struct RoleError {
    /// The field at fault, as a path within the role.
    pub field: String,
    /// What is wrong with it.
    pub problem: String,
}

impl RoleError {
    fn new(field: impl Into<String>, problem: &dyn Display) -> Self {
        Self { field: field.into(), problem: problem.to_string() }
    }
}

/// What a role may do.
#[derive(Debug)]
pub struct Role {
    methods: HashSet<String>,
    grants: Vec<Grant>,
    scope: Option<Scope>,
    /// Exact look-ups of a person that one subject may make in a minute.
    pub lookups_per_minute: u32,
}

/// A form of a class, for some calls about some customers.
#[derive(Debug)]
struct Grant {
    /// Its place among the forms of the policy.
    place: usize,
    class: Sensitivity,
    form: GrantedForm,
    /// Bits of the purposes that it is for; 0: every call.
    purposes: u32,
    condition: Option<Scope>,
}

#[derive(Debug)]
enum GrantedForm {
    Form(Form),
    /// The key is the tenant's, and roles are shared by tenants.
    Hash,
}

impl Role {
    /// The role of a policy.
    pub fn of(policy: &RolePolicy) -> Result<Self, RoleError> {
        names::resource_id(&policy.role).map_err(|error: TextError| RoleError::new("role", &error))?;
        if policy.forms.len() > MAX_FORMS {
            return Err(RoleError::new("forms", &format!("must have at most {MAX_FORMS} forms")));
        }
        let grants = policy.forms.iter().enumerate().map(|(index, form)| Grant::of(form, index));
        let grants = grants.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect();
        Ok(Self {
            methods: policy.methods.iter().cloned().collect(),
            grants,
            scope: parse_scope("row_scope", &policy.row_scope)?,
            lookups_per_minute: match u32::try_from(policy.lookups_per_minute) {
                Ok(0) => DEFAULT_LOOKUPS,
                Ok(number) => number,
                Err(_) => return Err(RoleError::new("lookups_per_minute", &"must not be negative")),
            },
        })
    }

    /// Whether it may call a method, given as the path of the request: `/package.Service/Method`.
    pub fn may_call(&self, path: &str) -> bool {
        path.strip_prefix('/').is_some_and(|method| self.methods.contains(method))
    }

    /// The place, among the forms of the policy, of the one that decides how a caller sees a class of a customer's fields. `None`: none
    /// applies, and the class is redacted.
    pub fn deciding_form(
        &self,
        class: Sensitivity,
        caller: &CallerAttributes<'_>,
        purpose: Purpose,
        customer: &CustomerAttributes,
    ) -> Option<usize> {
        let holds = |condition: &Scope| condition.for_caller(caller).holds(customer);
        let deciding = self.grants_of(class, purpose).find(|grant| grant.condition.as_ref().is_none_or(holds));
        deciding.map(|grant| grant.place)
    }

    fn grants_of(&self, class: Sensitivity, purpose: Purpose) -> impl Iterator<Item = &Grant> {
        self.grants.iter().filter(move |grant| grant.class == class && grant.is_for(purpose))
    }

    /// What it is to one caller, in calls for one purpose.
    pub fn rights(&self, caller: &CallerAttributes<'_>, purpose: Purpose, pseudonyms: Option<&PseudonymKey>) -> Rights {
        let mut rights = Rights {
            forms: FieldForms::nothing(),
            conditional: Vec::new(),
            scope: self.scope.as_ref().map(|scope| scope.for_caller(caller)),
        };
        for class in Sensitivity::ALL.into_iter().filter(|class| *class != Sensitivity::None) {
            let mut choices = Vec::new();
            for grant in self.grants_of(class, purpose) {
                let form = match &grant.form {
                    GrantedForm::Form(form) => form.clone(),
                    GrantedForm::Hash => pseudonyms.map_or(Form::Redacted, |key| Form::Hash(key.clone())),
                };
                choices.push((grant.condition.as_ref().map(|condition| condition.for_caller(caller)), form));
                if grant.condition.is_none() {
                    break;
                }
            }
            match choices.as_slice() {
                [(None, form)] => rights.forms = rights.forms.with(class, form.clone()),
                [] => {}
                // For whoever is not known to meet them, nothing is granted.
                _ => rights.conditional.push((class, choices)),
            }
        }
        rights
    }
}

impl Grant {
    fn is_for(&self, purpose: Purpose) -> bool {
        self.purposes == 0 || self.purposes & (1 << purpose as i32) != 0
    }

    /// `None`: the class is one that this version does not know, and so grants nothing.
    fn of(form: &FieldForm, place: usize) -> Result<Option<Self>, RoleError> {
        let field = &format!("forms[{place}]");
        let class = Sensitivity::of_number(form.sensitivity);
        let Some(class) = class.filter(|class| *class != Sensitivity::None) else {
            return Ok(None);
        };
        let mut purposes = 0;
        for purpose in &form.purposes {
            match Purpose::try_from(*purpose) {
                Ok(Purpose::Unspecified) | Err(_) => {
                    return Err(RoleError::new(format!("{field}.purposes"), &"must be purposes"));
                }
                Ok(purpose) => purposes |= 1 << purpose as i32,
            }
        }
        Ok(Some(Self {
            place,
            class,
            form: granted_form(form, class, field)?,
            purposes,
            condition: parse_scope(&format!("{field}.condition"), &form.condition)?,
        }))
    }
}

fn parse_scope(field: &str, source: &str) -> Result<Option<Scope>, RoleError> {
    if source.is_empty() {
        return Ok(None);
    }
    Scope::parse(source).map(Some).map_err(|error: ScopeError| RoleError::new(field, &error))
}

fn granted_form(form: &FieldForm, class: Sensitivity, field: &str) -> Result<GrantedForm, RoleError> {
    let wrong = |part: &str, problem: &str| RoleError::new(format!("{field}.{part}"), &problem);
    let position = |number: i32, part: &str, least: i32| match usize::try_from(number) {
        Ok(position) if (least..=MAX_POSITION).contains(&number) => Ok(position),
        _ => Err(wrong(part, "must be within 0 and 1,000; the first hidden character is 1 or more")),
    };
    let separator = || {
        let mut characters = form.separator.chars();
        match (characters.next(), characters.next()) {
            (Some(separator), None) if !separator.is_control() => Ok(separator),
            _ => Err(wrong("separator", "must be one character, and no control character")),
        }
    };
    Ok(GrantedForm::Form(match form.form() {
        MaskForm::Unspecified => return Err(wrong("form", "must be one of the forms")),
        MaskForm::Clear => Form::Clear,
        MaskForm::Partial => Form::Partial,
        MaskForm::PartialStrict => Form::PartialStrict,
        MaskForm::Redacted => Form::Redacted,
        MaskForm::Absent => Form::Absent,
        MaskForm::TypeName => Form::TypeName,
        MaskForm::Hash => return Ok(GrantedForm::Hash),
        MaskForm::Year | MaskForm::Month if class != Sensitivity::BirthDate => {
            return Err(wrong("form", "is a form of dates"));
        }
        MaskForm::Year => Form::Year,
        MaskForm::Month => Form::Month,
        MaskForm::Keep => {
            Form::Keep { first: position(form.first, "first", 0)?, last: position(form.last, "last", 0)? }
        }
        MaskForm::Hide if form.first > form.last => return Err(wrong("last", "must not be before the first")),
        MaskForm::Hide => {
            Form::Hide { first: position(form.first, "first", 1)?, last: position(form.last, "last", 1)? }
        }
        MaskForm::HideBefore => Form::HideBefore(separator()?),
        MaskForm::HideAfter => Form::HideAfter(separator()?),
        MaskForm::Fixed => {
            names::required_text(&form.fixed_text, MAX_FIXED_BYTES)
                .map_err(|error| RoleError::new(format!("{field}.fixed_text"), &error))?;
            Form::Fixed(Arc::from(form.fixed_text.as_str()))
        }
        MaskForm::Bucket if form.bucket < 1 => return Err(wrong("bucket", "must be 1 or more")),
        MaskForm::Bucket => Form::Bucket(form.bucket),
    }))
}

/// The forms of one class that depend on the customer: the first whose condition holds decides, and where none does, nothing is shown.
type Choices = Vec<(Option<Scope>, Form)>;

/// What one caller may see, in calls for one purpose.
#[derive(Debug, PartialEq, Eq)]
pub struct Rights {
    /// The forms of data of nobody in particular, and of customers of whom nothing is known: what does not depend on the customer.
    pub forms: FieldForms,
    conditional: Vec<(Sensitivity, Choices)>,
    scope: Option<Scope>,
}

impl Rights {
    /// Whether the caller reaches a customer at all.
    pub fn reaches(&self, attributes: &CustomerAttributes) -> bool {
        self.scope.as_ref().is_none_or(|scope| scope.holds(attributes))
    }

    /// The customers that the caller reaches. `None`: all.
    pub fn scope(&self) -> Option<&Scope> {
        self.scope.as_ref()
    }

    /// The forms for a customer's data. `None`: those for everybody.
    pub fn forms_for(&self, attributes: &CustomerAttributes) -> Option<FieldForms> {
        if self.conditional.is_empty() {
            return None;
        }
        let mut forms = self.forms.clone();
        for (class, choices) in &self.conditional {
            let holds = |condition: &Option<Scope>| condition.as_ref().is_none_or(|scope| scope.holds(attributes));
            if let Some((_, form)) = choices.iter().find(|(condition, _)| holds(condition)) {
                forms = forms.with(*class, form.clone());
            }
        }
        Some(forms)
    }

    /// Whether anything of a class may be shown, of one customer or another.
    pub fn may_show(&self, class: Sensitivity) -> bool {
        self.forms.form(class).reveals()
            || self
                .conditional
                .iter()
                .any(|(of, choices)| *of == class && choices.iter().any(|(_, form)| form.reveals()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use quintile_domain::masking::Shown;

    const CLASSES: [Sensitivity; 3] = [Sensitivity::Name, Sensitivity::Phone, Sensitivity::Financial];
    const PURPOSES: [Purpose; 3] = [Purpose::Unspecified, Purpose::Marketing, Purpose::Support];
    const FORMS: [MaskForm; 5] =
        [MaskForm::Clear, MaskForm::Partial, MaskForm::Redacted, MaskForm::Absent, MaskForm::TypeName];
    const CONDITIONS: [&str; 4] =
        ["", "owner == caller.subject", "region == caller.region", "consent.marketing == \"given\""];

    fn some_form() -> impl Strategy<Value = FieldForm> {
        (0..3_usize, 0..5_usize, 0..3_usize, 0..4_usize).prop_map(|(class, form, purpose, condition)| FieldForm {
            sensitivity: CLASSES[class] as i32,
            form: FORMS[form].into(),
            purposes: Some(PURPOSES[purpose] as i32).filter(|purpose| *purpose != 0).into_iter().collect(),
            condition: CONDITIONS[condition].to_owned(),
            ..FieldForm::default()
        })
    }

    fn some_customer() -> impl Strategy<Value = CustomerAttributes> {
        (any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(own, near, consenting)| CustomerAttributes {
            owner: if own { "ann" } else { "bob" }.to_owned(),
            region: near.then(|| "north".to_owned()),
            consents: consenting.then_some(Purpose::Marketing as i32).into_iter().collect(),
            ..CustomerAttributes::default()
        })
    }

    proptest! {
        /// What is explained is what is done; and of whom nothing is known, no more is seen than of anybody.
        #[test]
        fn the_deciding_form_is_the_one_that_is_applied(
            forms in prop::collection::vec(some_form(), 0..8),
            customer in some_customer(),
            purpose in 0..3_usize,
        ) {
            let policy = RolePolicy { role: "care".to_owned(), forms, ..RolePolicy::default() };
            let role = Role::of(&policy).unwrap();
            let caller = CallerAttributes { subject: "ann", department: "", region: "north" };
            let rights = role.rights(&caller, PURPOSES[purpose], None);
            let seen = rights.forms_for(&customer).unwrap_or_else(|| rights.forms.clone());
            for class in CLASSES {
                let deciding = role.deciding_form(class, &caller, PURPOSES[purpose], &customer);
                let expected = match deciding.map(|place| policy.forms[place].form()) {
                    Some(MaskForm::Clear) => Form::Clear,
                    Some(MaskForm::Partial) => Form::Partial,
                    Some(MaskForm::Absent) => Form::Absent,
                    Some(MaskForm::TypeName) => Form::TypeName,
                    _ => Form::Redacted,
                };
                prop_assert_eq!(seen.form(class), &expected);
                prop_assert!(!rights.forms.form(class).reveals() || rights.forms.form(class) == seen.form(class));
                prop_assert!(!seen.form(class).reveals() || rights.may_show(class));
            }
        }
    }

    #[test]
    fn every_strategy_does_what_it_says() {
        let base = FieldForm { sensitivity: Sensitivity::Phone as i32, ..FieldForm::default() };
        let of = |form: MaskForm| FieldForm { form: form.into(), ..base.clone() };
        let key = PseudonymKey::new([7; 32]);
        let table = [
            (of(MaskForm::Clear), Some("+8613812341234")),
            (of(MaskForm::Partial), Some("138****1234")),
            (of(MaskForm::PartialStrict), Some("138****1234")),
            (of(MaskForm::Redacted), Some("****")),
            (of(MaskForm::Absent), None),
            (of(MaskForm::TypeName), Some("<phone>")),
            (FieldForm { fixed_text: "on file".to_owned(), ..of(MaskForm::Fixed) }, Some("on file")),
            (FieldForm { first: 3, last: 2, ..of(MaskForm::Keep) }, Some("+86****34")),
            (FieldForm { first: 4, last: 10, ..of(MaskForm::Hide) }, Some("+86****1234")),
            (FieldForm { separator: "3".to_owned(), ..of(MaskForm::HideAfter) }, Some("+8613****")),
            (FieldForm { separator: "2".to_owned(), ..of(MaskForm::HideBefore) }, Some("****2341234")),
            (FieldForm { bucket: 10, ..of(MaskForm::Bucket) }, Some("****")),
        ];
        for (form, expected) in table {
            let policy = RolePolicy { role: "care".to_owned(), forms: vec![form.clone()], ..RolePolicy::default() };
            let rights =
                Role::of(&policy).unwrap().rights(&CallerAttributes::default(), Purpose::Unspecified, Some(&key));
            let mut phone = Some("+8613812341234".to_owned());
            rights.forms.mask_text(Sensitivity::Phone, &mut phone, &mut Shown::default());
            assert_eq!(phone.as_deref(), expected, "{form:?}");
        }
        let policy = RolePolicy { role: "care".to_owned(), forms: vec![of(MaskForm::Hash)], ..RolePolicy::default() };
        let role = Role::of(&policy).unwrap();
        for (pseudonyms, expected) in
            [(Some(&key), key.pseudonym(Sensitivity::Phone, "+8613812341234")), (None, "****".to_owned())]
        {
            let rights = role.rights(&CallerAttributes::default(), Purpose::Unspecified, pseudonyms);
            let mut phone = Some("+8613812341234".to_owned());
            rights.forms.mask_text(Sensitivity::Phone, &mut phone, &mut Shown::default());
            assert_eq!(phone, Some(expected));
        }
    }
}
