//! Access-control as its clients see it: a server on a loopback port, and the generated clients.

#![expect(clippy::unwrap_used, reason = "the helpers of tests are tests")]

mod installation;
mod policies;
mod processes;
mod tenants;
mod tokens;
