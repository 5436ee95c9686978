//! What the build says of a field that takes its class from another one in the wrong way.
#![expect(clippy::unwrap_used, reason = "a contract that does not compile fails the test by it")]

#[path = "../build/masking.rs"]
mod masking;

use std::path::PathBuf;

/// The generated source for a contract of `tests/refused`, or why there is none.
fn generate(name: &str) -> Result<String, String> {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let contracts = [here.join("../../proto"), here.join("tests/refused")];
    let mut compiler = protox::Compiler::new(contracts).unwrap();
    compiler.include_imports(true).open_file(format!("{name}.proto")).unwrap();
    // The options are kept in the encoded form alone.
    let pool = prost_reflect::DescriptorPool::decode(compiler.encode_file_descriptor_set().as_slice()).unwrap();
    let messages: Vec<_> = pool.all_messages().filter(|message| message.full_name().starts_with("quintile.")).collect();
    masking::generate(&pool, &messages)
}

#[test]
fn a_field_is_masked_by_the_class_that_the_field_beside_it_holds() {
    let source = generate("accepted").unwrap();
    let call = "forms.mask_text_of_declared(Sensitivity::of_number(self.class), &mut self.value, shown);";
    assert!(source.contains(call), "{source}");
    let count = "match Sensitivity::of_number(self.class) {\n            Some(class) => forms.mask_number(class, &mut self.count, shown, crate::parts::floor_int64),\n            None => self.count = None,";
    assert!(source.contains(count), "{source}");
    assert!(source.contains("\"<free_text>\"") && !source.contains("&self.value"), "{source}");
}

#[test]
fn a_class_can_t_be_taken_from_what_holds_none() {
    for (name, problem) in [
        ("no_holder", "sensitivity_from names no field that holds one Sensitivity"),
        ("holder_of_a_number", "sensitivity_from names no field that holds one Sensitivity"),
        ("holder_of_many", "sensitivity_from names no field that holds one Sensitivity"),
        ("in_clear_in_logs", "the class that logs hide by is not NONE"),
        ("always_there", "sensitivity_from is for an `optional` field"),
        ("list", "sensitivity_from is for an `optional` field"),
    ] {
        let error = generate(name).unwrap_err();
        assert!(error.contains("quintile.refused.v1.Holder.value") && error.contains(problem), "{name}: {error}");
    }
}
