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
        let grants = policy.forms.iter().enumerate().map(|(index, form)| Grant::of(form, &format!("forms[{index}]")));
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

    /// What it is to one caller, in calls for one purpose.
    pub fn rights(&self, caller: &CallerAttributes<'_>, purpose: Purpose, pseudonyms: Option<&PseudonymKey>) -> Rights {
        let mut rights = Rights {
            forms: FieldForms::nothing(),
            conditional: Vec::new(),
            scope: self.scope.as_ref().map(|scope| scope.for_caller(caller)),
        };
        for class in Sensitivity::ALL.into_iter().filter(|class| *class != Sensitivity::None) {
            let applies = |grant: &&Grant| {
                grant.class == class && (grant.purposes == 0 || grant.purposes & (1 << purpose as i32) != 0)
            };
            let mut choices = Vec::new();
            for grant in self.grants.iter().filter(applies) {
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
    /// `None`: the class is one that this version does not know, and so grants nothing.
    fn of(form: &FieldForm, field: &str) -> Result<Option<Self>, RoleError> {
        let class = Sensitivity::ALL.into_iter().find(|class| *class as i32 == form.sensitivity);
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
            (Some(separator), None) => Ok(separator),
            _ => Err(wrong("separator", "must be one character")),
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
#[derive(Debug)]
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
