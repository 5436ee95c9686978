//! Effects that are known beforehand: by arithmetic, or because the population was made so.

mod comparing;
mod simulating;
