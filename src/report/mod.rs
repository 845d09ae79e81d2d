//! Tables and texts for people, made from the results port.

mod actions;
mod cells;
mod estimate;
mod page;
mod queue;
mod reconcile;
mod runs;
mod session;
mod standing;
mod table;
mod trace;
mod usage;

pub use estimate::{
    BindingLimit, CallSums, Estimate, EstimateReport, Estimator, History, MaterialAhead, RequestToEstimate,
    RowKey, SessionRounds, TaskToEstimate, TimeEstimate, estimate_json, estimate_text,
};
pub use page::{PageError, PageOptions, PageTexts, REPORT_BEGINS, compare_page, report_page};
pub use queue::{queue_json, queue_text, tasks_json, tasks_text};
pub use reconcile::{
    ComparedRow, ExportComparison, ExportCounts, ExportError, ProviderExport, compare, comparison_json,
    comparison_text,
};
pub use runs::{RunEntry, run_json, runs_text};
pub use session::{csv, items_json, items_text, session_json, session_text};
pub use standing::{RunStatus, table};
pub use table::{ColumnError, ColumnScan, ResultRow, RowUnit, TableForm, TableWriter, rows_of};
pub use trace::{trace_json, trace_text, traced};
pub use usage::{PriceSource, UnpricedCalls, UsageBill, bill_csv, bill_json, bill_text};
