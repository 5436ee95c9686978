//! The words that every part of Quintile speaks: instants and days, money, ids, and the forms in which a value is shown.
//!
//! It holds no input or output, no database and no gRPC: a type belongs here when two services need it and it means
//! something to a person who knows the business alone. To add a masking preset, add its class to [`masking::Sensitivity`]
//! and its rule to `masking::presets`.

pub mod clock;
pub mod entropy;
pub mod ids;
pub mod language;
pub mod masking;
pub mod midnight;
pub mod money;
pub mod names;
pub mod phone;
pub mod proportion;
pub mod revenue;
pub mod seeded;
pub mod stability;
pub mod time;
