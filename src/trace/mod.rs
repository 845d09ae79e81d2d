//! Traces of requests, sent over OTLP/HTTP to a collector, LangSmith or Langfuse.
//!
//! The trace of a request is built when the request ends, from its history in the store and from what this process saw of
//! its calls. So it is whole: it has the tasks of every process that worked on it, also of one that crashed. It is sent as
//! a whole or not at all.
//!
//! Failure behaviour:
//!
//! * The queue of traces is bounded. A trace that finds it full is dropped and counted.
//! * A server that is slow or down delays nothing but its own traces. At the end of a process the deliveries have the
//!   time of one request, which is ten seconds by default.
//! * A process that is killed loses the traces that it has not sent yet. The results are in the store.
//! * A panic in a task of this module ends its destination, and is reported as missing deliveries.
//!
//! Deliberately absent: spans that are sent while a request goes on, because a crash would leave them without their parents;
//! logs and metrics over OTLP; a queue on disk.

mod captured;
mod encode;
mod exporter;
mod genai;
mod ids;
mod model_span;
mod routes;
mod sender;
mod span;
mod texts;
mod tree;
mod vendor;

pub use exporter::TraceExporter;
pub use routes::{RouteName, RouteNames};
