//! Audiences for advertising and social platforms: by what these know customers, of those who consent to it.

use crate::Service;
use crate::store::customers::{self, StoredCustomer};
use quintile_chain::store_error;
use quintile_domain::ids::CustomerId;
use quintile_domain::masking::Sensitivity;
use quintile_proto::ingestion::{AudienceMember, ExportAudienceRequest, ExportAudienceResponse};
use quintile_proto::types::Purpose;
use quintile_rpc::{Answer, ApiError, Caller};
use quintile_store::StoreError;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fmt::Write;

/// The most customers of one request.
const MAX_CUSTOMERS: usize = 1_000;

/// Tells by what platforms know some customers.
pub async fn export(
    service: &Service,
    caller: &Caller,
    request: &ExportAudienceRequest,
) -> Answer<ExportAudienceResponse> {
    // Whoever has a list of all numbers finds out by the hash which one it is.
    for (class, field) in [(Sensitivity::Email, "email_sha256"), (Sensitivity::Phone, "phone_sha256")] {
        if !caller.reads_in_clear(class) {
            return Err(ApiError::field_denied(field).into());
        }
    }
    let customers = checked(&request.customers)?;
    caller.is_about("exports/audience");
    let tenant = caller.tenant().id;
    let read = async {
        let keys = service.keys.of(tenant).await?;
        customers::load(service.runtime.database.reader(), tenant, &keys, &customers).await
    };
    let mut found = read.await.map_err(|error: StoreError| store_error(&error))?;
    found.retain(|customer| is_passed_on(customer) && caller.reaches(&customer.attributes));
    let members = found.iter().filter_map(member).collect();
    let view = caller.view_of_reached(found.iter().map(|customer| (customer.id, &customer.attributes)));
    Ok(view.respond(ExportAudienceResponse { members }))
}

fn checked(names: &[String]) -> Result<Vec<CustomerId>, ApiError> {
    if names.is_empty() || names.len() > MAX_CUSTOMERS {
        return Err(ApiError::invalid_field("customers", format!("must have 1 to {MAX_CUSTOMERS} customers")));
    }
    let mut customers = BTreeSet::new();
    for (index, name) in names.iter().enumerate() {
        let wrong = || ApiError::invalid_field(format!("customers[{index}]"), "must be customers/{number}");
        customers.insert(CustomerId::from_name(name, None).ok_or_else(wrong)?);
    }
    Ok(customers.into_iter().collect())
}

/// Whether a customer is processed, and consents to its data being passed on.
fn is_passed_on(customer: &StoredCustomer) -> bool {
    let consents = &customer.attributes.consents;
    customer.restricted_at.is_none() && consents.contains(&i32::from(Purpose::ThirdParty))
}

/// By what platforms know a customer. `None`: by nothing.
fn member(customer: &StoredCustomer) -> Option<AudienceMember> {
    let person = &customer.person;
    let phone = person.phone.as_deref().filter(|phone| !phone.is_empty());
    let email = person.email.as_deref().filter(|email| !email.is_empty());
    (phone.is_some() || email.is_some()).then(|| AudienceMember {
        customer: customer.id.to_string(),
        email_sha256: email.map(digest),
        phone_sha256: phone.map(digest),
        phone_digits_sha256: phone.map(|phone| digest(phone.trim_start_matches('+'))),
    })
}

fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().fold(String::new(), |mut digits, byte| {
        // Writing into a text does not fail.
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_that_of_the_standard() {
        // FIPS 180-4, as the examples of NIST have it.
        assert_eq!(digest("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(digest(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
