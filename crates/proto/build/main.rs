//! Compiles the contracts in `proto/`: messages, clients and servers; the masking and the redacting `Debug` of every message;
//! and the descriptors for reflection. A field that does not declare its sensitivity fails the build here.

mod masking;
mod services;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    println!("cargo:rerun-if-changed={}", root.display());
    println!("cargo:rerun-if-changed=build");

    let mut files = Vec::new();
    collect_proto_files(&root.join("quintile"), &mut files)?;
    files.sort();
    let mut compiler = protox::Compiler::new([&root])?;
    compiler.include_imports(true).include_source_info(true).open_files(&files)?;
    // Only this encoding keeps the custom options.
    let encoded = compiler.encode_file_descriptor_set();
    fs::write(out.join("descriptors.bin"), &encoded)?;
    let pool = compiler.descriptor_pool();

    let messages: Vec<_> = pool.all_messages().filter(|message| message.full_name().starts_with("quintile.")).collect();
    let mut config = prost_build::Config::new();
    config
        .service_generator(Box::new(services::MaskedServices))
        // Messages and their oneofs get a `Debug` that shows no classified value.
        .skip_debug(messages.iter().map(|message| format!(".{}", message.full_name())))
        // What is not ours has its documentation where it is published, with examples that are not Rust.
        .disable_comments([".google"])
        .include_file("packages.rs");
    config.compile_fds(compiler.file_descriptor_set())?;

    fs::write(out.join("masking.rs"), masking::generate(&pool, &messages)?)?;
    Ok(())
}

fn collect_proto_files(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect_proto_files(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            files.push(path);
        }
    }
    Ok(())
}
