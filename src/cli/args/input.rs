//! The arguments that say how an input is read.

use clap::{Args, ValueEnum};

/// How the columns of a table become requests.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Table")]
pub(in crate::cli) struct InputArgs {
    /// Format of the input [default: by the file's name; JSON Lines for any other name and for standard input]
    #[arg(long, value_enum, value_name = "FORMAT", env = "NOVA3_INPUT_FORMAT")]
    pub(in crate::cli) input_format: Option<GivenFormat>,
    /// Encoding of a table, such as `gb18030` [default: UTF-8, UTF-16 and GB18030 are recognised]
    #[arg(long, value_name = "ENCODING", env = "NOVA3_INPUT_ENCODING")]
    pub(in crate::cli) input_encoding: Option<String>,
    /// Query of each row, as a template: `Write about {{ row.title }}`
    #[arg(long, value_name = "TEMPLATE", env = "NOVA3_QUERY")]
    pub(in crate::cli) query: Option<String>,
    /// Column of `custom_id`
    #[arg(long, value_name = "COLUMN", env = "NOVA3_ID_COLUMN")]
    pub(in crate::cli) id_column: Option<String>,
    /// Column of `session_id`
    #[arg(long, value_name = "COLUMN", env = "NOVA3_SESSION_COLUMN")]
    pub(in crate::cli) session_column: Option<String>,
    /// Column of another field; without a column the field is left out. Can be given several times; the variable holds
    /// several between commas
    #[arg(long, value_name = "FIELD=COLUMN", env = "NOVA3_MAP")]
    pub(in crate::cli) map: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum GivenFormat {
    /// Cells between commas, semicolons or tabs, as the header shows
    Csv,
    /// Cells between tabs
    Tsv,
    /// An array of objects
    Json,
    /// An object a line
    Jsonl,
}
