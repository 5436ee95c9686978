//! What models that are fitted to everybody have in common: how many days are held out, and that they are got and listed.

use crate::Service;
use crate::fitting::{MAX_HOLDOUT_DAYS, number_in};
use crate::store::fits::{self, Fit, Stored};
use quintile_chain::{page, store_error};
use quintile_rpc::{ApiError, Caller, convert};

/// The days to hold out; `usual` where nobody says.
pub fn holdout_days(asked: Option<i32>, usual: i32) -> Result<i32, ApiError> {
    let days = asked.unwrap_or(usual);
    let is_right = (0..=MAX_HOLDOUT_DAYS).contains(&days);
    let wrong = || ApiError::invalid_field("holdout_days", format!("must be within 0 and {MAX_HOLDOUT_DAYS}"));
    is_right.then_some(days).ok_or_else(wrong)
}

/// One model.
pub async fn get<M: Fit>(service: &Service, caller: &Caller, name: &str) -> Result<Stored<M>, ApiError> {
    let number = number_in::<M>(name)?;
    let found = fits::get(service.runtime.database.reader(), caller.tenant().id, number).await;
    found.map_err(|error| store_error(&error))?.ok_or_else(ApiError::not_found)
}

/// A page of models, the newest first, and the token of the next one.
pub async fn list<M: Fit>(
    service: &Service,
    caller: &Caller,
    page_size: i32,
    page_token: &str,
) -> Result<(Vec<Stored<M>>, String), ApiError> {
    let (tenant, sealer) = (caller.tenant().id, &service.runtime.sealer);
    let size = convert::page_size(page_size, 20, 100)?;
    let decode = |bytes: Vec<u8>| bytes.try_into().ok().map(i64::from_be_bytes);
    let before = page::begin(sealer, tenant, M::COLLECTION, page_token, i64::MAX, decode)?;
    let read = fits::page::<M>(service.runtime.database.reader(), tenant, before, size).await;
    let read = read.map_err(|error| store_error(&error))?;
    let (full, last) = (read.len() as u64 == size, read.last().map(|last| last.number));
    let next_page_token = page::next_behind(sealer, tenant, M::COLLECTION, full, last);
    Ok((read, next_page_token))
}
