//! The rules between the crates, read from their manifests and sources: who may depend on whom, who may name the database, and
//! who may read a clock. A new crate has to be given its place in [`PLACES`].
#![expect(clippy::unwrap_used, reason = "a manifest or source that can't be read fails the test")]

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The services. None names another: they meet through the generated clients.
const SERVICES: [&str; 5] = ["ingestion", "scoring", "lifecycle", "segmentation", "access-control"];
/// What a service may build upon.
const BELOW_SERVICES: &[&str] = &["audit", "chain", "clv", "domain", "expr", "proto", "rpc", "store"];
/// The only crates that know all services.
const KNOW_EVERYTHING: [&str; 2] = ["quintile", "quintile-tests"];
/// Every other crate, and which crates of the workspace it may depend on.
const PLACES: [(&str, &[&str]); 14] = [
    ("domain", &[]),
    ("clv", &[]),
    ("expr", &["domain"]),
    ("store", &["domain"]),
    ("proto", &["domain"]),
    ("rpc", &["domain", "expr", "proto"]),
    ("audit", &["domain", "proto", "rpc", "store"]),
    ("chain", &["audit", "domain", "proto", "rpc", "store"]),
    ("import", &["domain", "proto", "rpc"]),
    (SERVICES[0], BELOW_SERVICES),
    (SERVICES[1], BELOW_SERVICES),
    (SERVICES[2], BELOW_SERVICES),
    (SERVICES[3], BELOW_SERVICES),
    (SERVICES[4], BELOW_SERVICES),
];
/// Which foreign crates a crate does not know, by the beginnings of their names: the business itself has neither wire nor disk.
const STRANGERS: [(&str, &[&str]); 10] = [
    ("domain", &["tonic", "prost", "sea-", "sqlx", "tokio"]),
    ("clv", &["tonic", "prost", "sea-", "sqlx", "tokio"]),
    ("expr", &["tonic", "prost", "sea-", "sqlx", "tokio"]),
    ("store", &["tonic", "prost"]),
    ("proto", &["sea-", "sqlx"]),
    ("rpc", &["sea-", "sqlx"]),
    ("audit", &["sea-", "sqlx"]),
    ("chain", &["sea-", "sqlx"]),
    ("import", &["tonic", "sea-", "sqlx", "tokio"]),
    ("quintile", &["sea-", "sqlx"]),
];
/// Sources that name the database outside its places, and why. The list may only shrink.
const NAME_THE_DATABASE: [(&str, &str); 2] = [
    (
        "crates/ingestion/src/feature_records.rs",
        "a query's argument is a reader or a transaction, whose common trait is sea-orm's",
    ),
    ("crates/access-control/tests/access/installation.rs", "its tests make databases on the server"),
];
/// What reads a clock or draws at random instead of being given it.
const IMPURE: [&str; 7] =
    ["SystemTime", "UNIX_EPOCH", "Timestamp::now", "Zoned::now", "Utc::now", "rand::rng()", "rand::random"];

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests are a folder of the workspace")
}

/// The name of a crate of the workspace without its prefix.
fn short(name: &str) -> &str {
    if KNOW_EVERYTHING.contains(&name) { name } else { name.strip_prefix("quintile-").unwrap_or(name) }
}

/// The crates of the workspace and their direct dependencies of every kind, as Cargo reads the manifests.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1", "--manifest-path"])
        .arg(workspace().join("Cargo.toml"))
        .output()
        .expect("Cargo runs where it built this");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("Cargo writes JSON");
    let packages = metadata["packages"].as_array().expect("a workspace has packages");
    let of = |package: &Value| {
        let dependencies = package["dependencies"].as_array().expect("a package has a list of dependencies");
        dependencies.iter().filter_map(|dependency| dependency["name"].as_str()).map(str::to_owned).collect()
    };
    packages.iter().map(|package| (short(package["name"].as_str().unwrap()).to_owned(), of(package))).collect()
}

/// The dependencies that are crates of the workspace.
fn inner_dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let all = dependencies();
    let inner = |dependencies: &BTreeSet<String>| {
        let names = dependencies.iter().filter(|name| name.starts_with("quintile")).map(|name| short(name).to_owned());
        names.collect()
    };
    all.iter().map(|(name, dependencies)| (name.clone(), inner(dependencies))).collect()
}

fn sources_in(folder: &Path, sources: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources_in(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push(path);
        }
    }
}

/// The sources under `crates/`, by path in the workspace, without comments.
fn sources() -> BTreeMap<String, String> {
    let mut paths = Vec::new();
    sources_in(&workspace().join("crates"), &mut paths);
    assert!(paths.len() > 50, "the sources are found");
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let code: Vec<_> = text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect();
        (path.strip_prefix(workspace()).unwrap().to_string_lossy().into_owned(), code.join("\n"))
    };
    paths.into_iter().map(read).collect()
}

#[test]
fn every_crate_has_its_place_and_depends_on_those_below_it_alone() {
    let crates = inner_dependencies();
    let known: BTreeSet<_> = PLACES.iter().map(|(name, _)| *name).chain(KNOW_EVERYTHING).collect();
    let there: BTreeSet<_> = crates.keys().map(String::as_str).collect();
    assert_eq!(there, known, "a crate without a place, or a place without a crate");
    for (name, below) in PLACES {
        let beyond: Vec<_> = crates[name].iter().filter(|other| !below.contains(&other.as_str())).collect();
        assert!(beyond.is_empty(), "{name} may depend on {below:?}, not on {beyond:?}");
    }
}

#[test]
fn no_service_depends_on_another_and_two_crates_alone_know_them() {
    for (name, dependencies) in inner_dependencies() {
        let services: Vec<_> = dependencies.iter().filter(|other| SERVICES.contains(&other.as_str())).collect();
        let allowed = KNOW_EVERYTHING.contains(&name.as_str());
        assert!(allowed || services.is_empty(), "{name} knows the services {services:?}");
    }
}

#[test]
fn the_business_knows_neither_wire_nor_disk() {
    let crates = dependencies();
    for (name, strangers) in STRANGERS {
        let known = crates[name].iter().filter(|other| strangers.iter().any(|stranger| other.starts_with(stranger)));
        let known: Vec<_> = known.collect();
        assert!(known.is_empty(), "{name} depends on {known:?}");
    }
}

#[test]
fn the_database_is_named_in_its_places_alone() {
    let mut elsewhere = BTreeSet::new();
    for (path, code) in sources() {
        let at_home =
            path.starts_with("crates/store/") || path.starts_with("crates/chain/") || path.contains("/src/store/");
        if !at_home && ["sea_orm", "sea_query", "sqlx"].iter().any(|word| code.contains(word)) {
            elsewhere.insert(path);
        }
    }
    let excepted = NAME_THE_DATABASE.iter().map(|(path, _)| (*path).to_owned()).collect();
    assert_eq!(elsewhere, excepted, "sources outside a store folder that name the database, and those that may");
}

#[test]
fn time_and_randomness_are_arguments() {
    for (path, code) in sources() {
        let found: Vec<_> = IMPURE.iter().filter(|word| code.contains(**word)).collect();
        assert!(path.starts_with("crates/quintile/") || found.is_empty(), "{path} asks for {found:?} by itself");
    }
}
