//! Rules of a stage policy's own as requests say them, and the fields that they may name.

use crate::stages::{
    self, ConditionError, MAX_CONDITION_BYTES, MAX_RULES, MAX_TERMS, MAX_TURNING_TERMS, Stage, StageRule,
};
use quintile_domain::names;
use quintile_expr::Type;
use quintile_proto::lifecycle::{StageField, StageFieldType, StageRule as StageRuleMessage};
use quintile_proto::types::ErrorReason;
use quintile_rpc::ApiError;
use std::sync::Arc;

/// The rules of a draft. `field` is what the request calls them.
pub fn read(field: &str, said: &[StageRuleMessage]) -> Result<Arc<[StageRule]>, ApiError> {
    if said.len() > MAX_RULES {
        return Err(ApiError::invalid_field(field, format!("must be {MAX_RULES} at most")));
    }
    let mut rules = Vec::with_capacity(said.len());
    for (place, rule) in said.iter().enumerate() {
        rules.push(read_one(&format!("{field}[{place}]"), rule)?);
    }
    if rules.iter().map(StageRule::terms).sum::<usize>() > MAX_TERMS {
        return Err(ApiError::invalid_field(field, format!("must have {MAX_TERMS} terms together at most")));
    }
    if rules.iter().map(StageRule::turning_terms).sum::<usize>() > MAX_TURNING_TERMS {
        let problem = format!(
            "must have {MAX_TURNING_TERMS} terms of days together at most: days_since, silent_days and rhythms_silent"
        );
        return Err(ApiError::invalid_field(field, problem));
    }
    Ok(rules.into())
}

fn read_one(field: &str, said: &StageRuleMessage) -> Result<StageRule, ApiError> {
    let stage = Stage::from_number(said.stage).filter(|stage| *stage != Stage::Lead);
    let stage = stage.ok_or_else(|| {
        ApiError::invalid_field(format!("{field}.stage"), "must be a stage other than LEAD, which is who has no order")
    })?;
    let field = format!("{field}.condition");
    names::required_text(&said.condition, MAX_CONDITION_BYTES)
        .map_err(|error| ApiError::invalid_text(&field, error))?;
    let refused = |error: ConditionError| ApiError::invalid(&field, ErrorReason::InvalidExpression, error.to_string());
    StageRule::parse(stage, &said.condition).map_err(refused)
}

/// The fields that conditions may name, by name.
pub fn fields() -> Vec<StageField> {
    let fields = stages::schema().fields().iter().map(|field| StageField {
        name: field.name.to_string(),
        value_type: type_of(field.ty).into(),
        description: field.description.to_string(),
    });
    fields.collect()
}

const fn type_of(ty: Type) -> StageFieldType {
    match ty {
        Type::Int => StageFieldType::Int,
        Type::Text => StageFieldType::Text,
        Type::Instant => StageFieldType::Instant,
        // No field is of either.
        Type::Bool | Type::Money | Type::Decimal => StageFieldType::Unspecified,
    }
}
