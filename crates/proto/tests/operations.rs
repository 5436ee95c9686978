//! What long-running operations carry packed, where masking does not reach: no classified field may be in it.
#![expect(clippy::unwrap_used, reason = "a contract that is not there fails the test by it")]

use prost_reflect::{DescriptorPool, DynamicMessage, Kind, MessageDescriptor, MethodDescriptor, Value};
use std::collections::HashSet;

fn methods(pool: &DescriptorPool) -> Vec<MethodDescriptor> {
    let all = pool.services().flat_map(|service| service.methods().collect::<Vec<_>>());
    let ours = all.filter(|method| method.full_name().starts_with("quintile."));
    ours.filter(|method| method.output().full_name() == "google.longrunning.Operation").collect()
}

/// What a method says that its operations carry: a result and what is told meanwhile.
fn carried(pool: &DescriptorPool, method: &MethodDescriptor) -> [MessageDescriptor; 2] {
    let extension = pool.get_extension_by_name("google.longrunning.operation_info").unwrap();
    let options = method.options();
    let info: DynamicMessage = options.get_extension(&extension).as_message().unwrap().clone();
    ["response_type", "metadata_type"].map(|field| {
        let name = info.get_field_by_name(field).unwrap().as_str().unwrap().to_owned();
        let package = method.parent_service().package_name().to_owned();
        let beside = pool.get_message_by_name(&format!("{package}.{name}"));
        let found = beside.or_else(|| pool.get_message_by_name(&name));
        assert!(found.is_some(), "{}: {field} names no message", method.full_name());
        found.unwrap()
    })
}

fn classified(message: &MessageDescriptor, seen: &mut HashSet<String>) -> Vec<String> {
    if !seen.insert(message.full_name().to_owned()) {
        return Vec::new();
    }
    let sensitivity = message.parent_pool().get_extension_by_name("quintile.type.v1.sensitivity").unwrap();
    let mut found = Vec::new();
    for field in message.fields() {
        let class = field.options().get_extension(&sensitivity).as_ref().clone();
        if matches!(class, Value::EnumNumber(number) if number > 1) {
            found.push(field.full_name().to_owned());
        }
        if let Kind::Message(inner) = field.kind() {
            found.extend(classified(&inner, seen));
        }
    }
    found
}

#[test]
fn operations_carry_no_classified_field() {
    let pool = quintile_proto::descriptor_pool();
    let methods = methods(&pool);
    assert!(!methods.is_empty());
    for method in methods {
        for message in carried(&pool, &method) {
            assert_eq!(classified(&message, &mut HashSet::new()), Vec::<String>::new(), "{}", method.full_name());
        }
    }
    // The test sees one where there is one.
    let customer = pool.get_message_by_name("quintile.ingestion.v1.Customer").unwrap();
    assert!(!classified(&customer, &mut HashSet::new()).is_empty());
}
