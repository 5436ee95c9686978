//! Errors of the API: one shape, turned into a status in one place.
//!
//! What a client reads and what the logs read are different fields: a driver's words never reach a client, and no value of a
//! sensitive field is in either.

use quintile_domain::money::MoneyError;
use quintile_domain::names::TextError;
use quintile_domain::time::TimeError;
use quintile_proto::types::ErrorReason;
use std::time::Duration;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// The domain of `google.rpc.ErrorInfo`.
const DOMAIN: &str = "quintile";
/// When a caller that was turned away may come again.
const RETRY_AFTER: Duration = Duration::from_millis(500);
/// The same, where somebody has to make room first.
const DISK_RETRY_AFTER: Duration = Duration::from_secs(5);

/// An error as a client will see it, and what the logs should know besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    code: Code,
    reason: ErrorReason,
    message: String,
    field: Option<String>,
    internal: Option<String>,
    /// When the caller may come again.
    retry_after: Duration,
}

impl ApiError {
    fn new(code: Code, reason: ErrorReason, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), field: None, internal: None, retry_after: RETRY_AFTER }
    }

    /// A field of the request is wrong. `field` is its path, `problem` what is wrong with it, without its value.
    pub fn invalid(field: impl Into<String>, reason: ErrorReason, problem: impl Into<String>) -> Self {
        let mut error = Self::new(Code::InvalidArgument, reason, problem);
        error.field = Some(field.into());
        error
    }

    /// A field of the request is missing or malformed.
    pub fn invalid_field(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::invalid(field, ErrorReason::InvalidField, problem)
    }

    /// A text of the request is refused.
    pub fn invalid_text(field: impl Into<String>, error: TextError) -> Self {
        Self::invalid_field(field, error.to_string())
    }

    /// An amount of the request is refused.
    pub fn invalid_money(field: impl Into<String>, error: MoneyError) -> Self {
        Self::invalid(field, ErrorReason::InvalidMoney, error.to_string())
    }

    /// An instant of the request is refused.
    pub fn invalid_time(field: impl Into<String>, error: TimeError) -> Self {
        Self::invalid(field, ErrorReason::InvalidTime, error.to_string())
    }

    /// A page token or cursor is refused.
    pub fn invalid_token(field: impl Into<String>) -> Self {
        Self::invalid(field, ErrorReason::InvalidToken, "is not a token of this query")
    }

    /// There is no such thing, or not for this caller: the same words for both, so that they can't be told apart.
    pub fn not_found() -> Self {
        Self::new(Code::NotFound, ErrorReason::NotFound, "not found")
    }

    /// A resource of this name is there already.
    pub fn already_exists(what: &str) -> Self {
        Self::new(Code::AlreadyExists, ErrorReason::AlreadyExists, format!("{what} exists already"))
    }

    /// What is asked cannot be done in the present state.
    pub fn failed_precondition(reason: ErrorReason, message: impl Into<String>) -> Self {
        Self::new(Code::FailedPrecondition, reason, message)
    }

    /// The etag is not the present one.
    pub fn stale_etag() -> Self {
        Self::new(Code::Aborted, ErrorReason::StaleEtag, "the resource has changed since: read it again")
    }

    /// The caller's role may not call this.
    pub fn method_denied() -> Self {
        Self::new(Code::PermissionDenied, ErrorReason::MethodDenied, "the caller's role may not call this method")
    }

    /// The request uses a field that the caller may not read in clear.
    pub fn field_denied(field: &str) -> Self {
        let mut error = Self::new(
            Code::PermissionDenied,
            ErrorReason::FieldDenied,
            format!("the caller may not read {field} in clear, so it can't be used either"),
        );
        error.field = Some(field.to_owned());
        error
    }

    /// The caller's role may call this, and not for what it asks: that concerns customers whom it does not reach.
    pub fn beyond_reach() -> Self {
        let message = "the caller does not reach every customer whom this concerns";
        Self::new(Code::PermissionDenied, ErrorReason::MethodDenied, message)
    }

    /// There is no valid token. `why` is for the logs: a client that guesses learns nothing.
    pub fn unauthenticated(why: impl Into<String>) -> Self {
        let mut error = Self::new(
            Code::Unauthenticated,
            ErrorReason::Unauthenticated,
            "a valid token is required: authorization: Bearer ...",
        );
        error.internal = Some(why.into());
        error
    }

    /// A stream skips ahead, or a cursor is beyond the head.
    pub fn out_of_range(message: impl Into<String>) -> Self {
        Self::new(Code::OutOfRange, ErrorReason::OffsetGap, message)
    }

    /// Too much at once.
    pub fn overloaded(message: impl Into<String>) -> Self {
        Self::new(Code::ResourceExhausted, ErrorReason::Overloaded, message)
    }

    /// The caller has used up what it may have, until then.
    pub fn quota(message: impl Into<String>, retry_after: Duration) -> Self {
        Self { retry_after, ..Self::new(Code::ResourceExhausted, ErrorReason::Overloaded, message) }
    }

    /// The database has no room left on its disk, and nothing was written.
    pub fn disk_full() -> Self {
        Self::quota("the database's disk is full: try again when there is room", DISK_RETRY_AFTER)
    }

    /// The deadline has passed.
    pub fn deadline_exceeded() -> Self {
        Self::new(Code::DeadlineExceeded, ErrorReason::DeadlineExceeded, "the deadline has passed")
    }

    /// The service, its database or its upstream is not there now. `why` is for the logs.
    pub fn unavailable(why: impl Into<String>) -> Self {
        let mut error = Self::new(Code::Unavailable, ErrorReason::Unavailable, "not available now: try again");
        error.internal = Some(why.into());
        error
    }

    /// A fault of ours. `why` is for the logs.
    pub fn internal(why: impl Into<String>) -> Self {
        let mut error = Self::new(Code::Internal, ErrorReason::Internal, "internal error: the logs say more");
        error.internal = Some(why.into());
        error
    }

    /// The same error, told of a field further out: `rows[3]` before `order.amount`.
    #[must_use]
    pub fn within(mut self, outer: &str) -> Self {
        self.field = Some(match self.field {
            Some(field) => format!("{outer}.{field}"),
            None => outer.to_owned(),
        });
        self
    }

    /// Why, as clients read it.
    pub fn reason(&self) -> ErrorReason {
        self.reason
    }

    /// The status code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The path of the field at fault.
    pub fn field(&self) -> Option<&str> {
        self.field.as_deref()
    }

    /// What is wrong, as clients read it.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl From<ApiError> for Status {
    fn from(error: ApiError) -> Self {
        if let Some(internal) = &error.internal {
            let reason = error.reason.as_str_name();
            if error.code == Code::Internal {
                tracing::error!(reason, internal, "call failed");
            } else {
                tracing::info!(reason, internal, "call refused");
            }
        }
        let reason = error.reason.as_str_name().trim_start_matches("ERROR_REASON_");
        let mut details = ErrorDetails::new();
        details.set_error_info(reason, DOMAIN, std::collections::HashMap::new());
        let message = match &error.field {
            Some(field) if error.code == Code::InvalidArgument => {
                details.add_bad_request_violation(field, &error.message);
                format!("{field}: {}", error.message)
            }
            _ => error.message,
        };
        if matches!(error.code, Code::ResourceExhausted | Code::Unavailable) {
            details.set_retry_info(Some(error.retry_after));
        }
        Self::with_error_details(error.code, message, details)
    }
}
