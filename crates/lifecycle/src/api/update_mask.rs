//! What an update changes.

use prost_types::FieldMask;
use quintile_rpc::ApiError;

/// The paths of an update mask, each one of those that may change.
pub fn paths(mask: Option<FieldMask>, known: &[&str]) -> Result<Vec<String>, ApiError> {
    let paths = mask.map(|mask| mask.paths).unwrap_or_default();
    if paths.is_empty() {
        return Err(ApiError::invalid_field("update_mask", "must name the fields to change"));
    }
    if !paths.iter().all(|path| known.contains(&path.as_str())) {
        return Err(ApiError::invalid_field("update_mask", "names a field that is not there or does not change"));
    }
    Ok(paths)
}
