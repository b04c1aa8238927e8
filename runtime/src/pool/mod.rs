//! Threads that share the work of one kernel launch, and the trait behind which an application may
//! put its own.

mod chunks;
mod threads;

pub use chunks::Executor;
pub(crate) use chunks::{for_chunks, grain};
pub(crate) use threads::shared_pool;
pub use threads::{Pool, default_threads};
