//! What rules may say, and what is wrong with one.

use super::{check_rights, population};
use crate::Service;
use crate::population::Population;
use crate::population::membership::Turns;
use quintile_expr::{ExprError, Rule, Type};
use quintile_proto::segmentation::expression_service_server::ExpressionService;
use quintile_proto::segmentation::{
    CheckExpressionRequest, CheckExpressionResponse, ExpressionProblem, Field, FieldType, ListFieldsRequest,
    ListFieldsResponse,
};
use quintile_rpc::{Answer, ApiError, Caller};
use tonic::Request;

/// The handlers.
pub struct Expressions {
    pub service: Service,
}

/// Why a rule is none.
pub enum Fault {
    /// It holds what no database keeps alike.
    Nul,
    /// The language has no such rule.
    Language(ExprError),
    /// It refers to a segment that is not there.
    NoSegment,
}

impl Fault {
    /// In words, without any of the rule's own values.
    pub fn in_words(&self) -> String {
        match self {
            Self::Nul => "must not hold NUL".to_owned(),
            Self::Language(error) => error.to_string(),
            Self::NoSegment => "refers to a segment that is not there".to_owned(),
        }
    }

    fn problem(&self) -> ExpressionProblem {
        let (position, nearest) = match self {
            Self::Language(error @ ExprError::UnknownField { nearest, .. }) => (error.position(), nearest.clone()),
            Self::Language(error) => (error.position(), None),
            Self::Nul | Self::NoSegment => (None, None),
        };
        let place = |of: usize| i32::try_from(of).unwrap_or(i32::MAX);
        ExpressionProblem {
            message: self.in_words(),
            line: position.map_or(0, |position| place(position.line)),
            column: position.map_or(0, |position| place(position.column)),
            suggestion: nearest.unwrap_or_default(),
        }
    }
}

/// A rule, bound to the fields and to segments that are there.
pub fn read(source: &str, population: &Population) -> Result<Rule, Fault> {
    if source.contains('\0') {
        return Err(Fault::Nul);
    }
    let rule = Rule::parse(source, population.schema()).map_err(Fault::Language)?;
    let is_there = |reference: &String| population.catalogue().referred(reference).is_some();
    if rule.references().iter().all(is_there) { Ok(rule) } else { Err(Fault::NoSegment) }
}

const fn type_of(ty: Type) -> FieldType {
    match ty {
        Type::Int => FieldType::Int,
        Type::Text => FieldType::Text,
        Type::Bool => FieldType::Bool,
        Type::Instant => FieldType::Instant,
        Type::Money => FieldType::Money,
        Type::Decimal => FieldType::Decimal,
    }
}

/// The resource name of what rules call so.
fn name_of(reference: &str) -> String {
    match reference.split_once('/') {
        Some((set, label)) => format!("labelSets/{set}/labels/{label}"),
        None => format!("segments/{reference}"),
    }
}

/// A figure that tells how many customers there are.
fn of_everybody(caller: &Caller, figure: usize) -> i64 {
    if caller.scope().is_some() { 0 } else { i64::try_from(figure).unwrap_or(i64::MAX) }
}

fn describe(caller: &Caller, rule: &Rule, population: &Population) -> Result<CheckExpressionResponse, ApiError> {
    check_rights(caller, population, std::slice::from_ref(rule))?;
    let schema = population.schema();
    // Fields of a schema are by name.
    let read = schema.fields().iter().filter(|field| rule.fields().contains(&field.id));
    Ok(CheckExpressionResponse {
        problem: None,
        formatted: rule.formatted(schema),
        fields: read.map(|field| field.name.to_string()).collect(),
        segments: rule.references().iter().map(|reference| name_of(reference)).collect(),
        depends_on_time: population.catalogue().turns_of(std::slice::from_ref(rule)) != Turns::Never,
        read_bytes: of_everybody(caller, population.cost(rule)),
    })
}

#[tonic::async_trait]
impl ExpressionService for Expressions {
    async fn list_fields(&self, request: Request<ListFieldsRequest>) -> Answer<ListFieldsResponse> {
        let caller = Caller::of(&request)?;
        let loaded = population(&self.service, &caller)?;
        let population = loaded.population.read();
        let fields = population.schema().fields().iter().map(|field| {
            let usable = caller.reads_in_clear(population.sensitivity(field.id));
            // It tells how long the texts are that there are.
            let bytes = if usable { population.engine().memory_bytes_of(field.id) } else { 0 };
            Field {
                name: field.name.to_string(),
                value_type: type_of(field.ty).into(),
                description: field.description.to_string(),
                usable,
                memory_bytes: of_everybody(&caller, bytes),
            }
        });
        Ok(caller.respond(ListFieldsResponse { fields: fields.collect() }))
    }

    async fn check_expression(&self, request: Request<CheckExpressionRequest>) -> Answer<CheckExpressionResponse> {
        let caller = Caller::of(&request)?;
        let loaded = population(&self.service, &caller)?;
        let population = loaded.population.read();
        let checked = match read(&request.get_ref().expression, &population) {
            Ok(rule) => describe(&caller, &rule, &population)?,
            Err(fault) => CheckExpressionResponse { problem: Some(fault.problem()), ..Default::default() },
        };
        Ok(caller.respond(checked))
    }
}
