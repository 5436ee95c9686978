//! What the workspace's tests share: databases of their own on every backend, a small schema, and waiting with a bound.
//!
//! It holds no test and nothing that ships. The guarantees of the storage chassis are in `tests/store`, each a function over a
//! [`TestStore`] that [`on_both_databases!`] runs on SQLite and on PostgreSQL; the rules between crates are in `tests/layers.rs`.
//! To add a guarantee, write its function and name it in the list of its file: one that is not named is unused, and does not build.

mod backend;
mod cut_off;
mod publishing;
mod schema;
mod waiting;

pub use backend::{Backend, SERVICE, TestStore, on};
pub use cut_off::cut_off_after;
pub use publishing::{FEED, TENANT, commit, logged, publish, record};
pub use schema::{Migrator, OPTIMISTIC_FUNCTION, VARIETY};
pub use waiting::{LIMIT, eventually};

/// Makes a test of every named guarantee on either database: `sqlite::{guarantee}` and `postgres::{guarantee}`.
#[macro_export]
macro_rules! on_both_databases {
    ($($guarantee:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $guarantee() {
                $crate::on($crate::Backend::Sqlite, super::$guarantee).await;
            })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $guarantee() {
                $crate::on($crate::Backend::Postgres, super::$guarantee).await;
            })+
        }
    };
}
