//! Static lists: who is put on one, and taken off it.

use super::definitions::{Edit, Turn, effect_of, listed};
use super::segments::{segment_key, usable};
use crate::Service;
use crate::population::definition::{Body, Definition};
use crate::population::merges;
use quintile_proto::types::ErrorReason;
use quintile_rpc::{ApiError, Caller, convert};

/// The most customers of one call.
const MAX_CUSTOMERS: usize = 10_000;

/// Puts customers on a list or takes them off. Returns how many were not, or were, on it.
pub async fn change(
    service: &Service,
    caller: &Caller,
    parent: &str,
    customers: &[String],
    added: bool,
) -> Result<i32, ApiError> {
    let key = segment_key("parent", parent)?;
    if customers.is_empty() || customers.len() > MAX_CUSTOMERS {
        return Err(ApiError::invalid_field("customers", format!("must have 1 to {MAX_CUSTOMERS} customers")));
    }
    let mut numbers = Vec::with_capacity(customers.len());
    for (index, name) in customers.iter().enumerate() {
        numbers.push(convert::customer(&format!("customers[{index}]"), name, None)?.0);
    }
    caller.is_about(key.to_string());
    let turn = Turn::wait(service, caller).await?;
    let (edit, changed) = {
        let population = turn.loaded.population.read();
        let definition = usable(caller, &population, &key)?.clone();
        let before = listed(&population, &key).ok_or_else(|| {
            ApiError::failed_precondition(ErrorReason::FailedPrecondition, "members follow from the segment's rule")
        })?;
        let mut after = before.clone();
        let mut changed = 0;
        for number in numbers {
            if !population.contains(number) || !population.reaches(caller.scope(), number) {
                return Err(ApiError::not_found());
            }
            let merged = population.merged_into(number);
            changed += i32::from(merges::is_on(&after, number, merged) != added);
            if added {
                after.set(number);
            } else {
                // Who has become one is taken off as whoever it was.
                for other in [number].iter().chain(merged) {
                    after.clear(*other);
                }
            }
        }
        let body = definition.live.clone().unwrap_or_else(|| Body::List(Vec::new()));
        let membership = body.membership(population.schema(), after.clone()).ok_or_else(ApiError::not_found)?;
        let effect = Some(effect_of(&population, &key, definition.version, &body, membership)?);
        let definition = Some(Definition { revision: definition.revision + 1, ..definition });
        let is_other = !before.xor(&after).is_empty();
        let edit = Edit { definition, effect, listed: Some((before, after)), request: None };
        (is_other.then_some(edit), changed)
    };
    if let Some(edit) = edit {
        turn.commit(&key, edit).await?;
    }
    Ok(changed)
}
