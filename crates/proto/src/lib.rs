//! The contracts of `proto/`, compiled: messages, clients, servers, descriptors, and how every message is masked.
//!
//! Nothing here is written by hand but the build and the codec. To change a contract, change its `.proto` file; a field that
//! does not declare its sensitivity does not compile.

pub mod codec;

#[expect(
    missing_docs,
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes,
    unused_qualifications,
    reason = "generated; documented in the contracts"
)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/packages.rs"));
}

// Generated code names types from the crate's root.
pub use generated::{google, quintile};

/// Messages that several services share: the package `quintile.type.v1`.
pub use quintile::r#type::v1 as types;

pub use quintile::access::v1 as access;
pub use quintile::audit::v1 as audit;
pub use quintile::ingestion::v1 as ingestion;
pub use quintile::lifecycle::v1 as lifecycle;
pub use quintile::scoring::v1 as scoring;
pub use quintile::segmentation::v1 as segmentation;

/// Long work as Google's APIs have it, and the status that it can end with.
pub use google::{longrunning, rpc as google_rpc};

/// Money and dates as Google's APIs have them.
pub use google::r#type as google_type;

mod parts;

mod masking {
    use quintile_domain::masking::{DataOf, FieldForms, Lens, Maskable, Sensitivity, Shown};
    use std::fmt;

    include!(concat!(env!("OUT_DIR"), "/masking.rs"));
}

/// The descriptors of every contract, their options included, as an encoded `google.protobuf.FileDescriptorSet`.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The descriptors of every contract, for those who walk them.
pub fn descriptor_pool() -> prost_reflect::DescriptorPool {
    prost_reflect::DescriptorPool::decode(FILE_DESCRIPTOR_SET).expect("the build encoded these descriptors")
}
