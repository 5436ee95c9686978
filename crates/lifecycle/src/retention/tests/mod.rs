//! Published tables, and counting by hand.

mod cohorts;
mod stages;
mod survival;
