//! Page tokens: the last thing of a page, sealed for the query that it was a page of.

use quintile_domain::ids::TenantId;
use quintile_rpc::ApiError;
use quintile_store::sealing::TokenSealer;

/// What a page begins behind, as its token says; `first` for no token. A token of another query, tenant or making is refused.
pub fn begin<T>(
    sealer: &TokenSealer,
    tenant: TenantId,
    query: &str,
    token: &str,
    first: T,
    decode: impl FnOnce(Vec<u8>) -> Option<T>,
) -> Result<T, ApiError> {
    if token.is_empty() {
        return Ok(first);
    }
    let opened = sealer.open(tenant, query.as_bytes(), token).ok();
    opened.and_then(decode).ok_or_else(|| ApiError::invalid_token("page_token"))
}

/// The number that a page begins behind; 0 for no token.
pub fn begin_behind(sealer: &TokenSealer, tenant: TenantId, query: &str, token: &str) -> Result<i64, ApiError> {
    begin(sealer, tenant, query, token, 0, |value| value.try_into().ok().map(i64::from_be_bytes))
}

/// The token of the page behind `last`, if the page was full.
pub fn next_behind(sealer: &TokenSealer, tenant: TenantId, query: &str, full: bool, last: Option<i64>) -> String {
    match last {
        Some(last) if full => sealer.seal(tenant, query.as_bytes(), &last.to_be_bytes()),
        _ => String::new(),
    }
}
