//! Access-control as its clients see it: a server on a loopback port, and the generated clients.

#![expect(clippy::unwrap_used, reason = "the helpers of tests are tests")]

mod checkpoints;
mod installation;
mod issuers;
mod master_keys;
mod oidc_issuer;
mod policies;
mod policy_versions;
mod principals;
mod processes;
mod revocations;
mod signing_keys;
mod tenants;
mod tokens;
