//! The columns of usage exports by their names.

/// The meaning of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ExportColumn {
    /// The day, or a time on it.
    Day,
    /// The model.
    Model,
    /// Calls.
    Requests,
    /// All prompt tokens.
    Input,
    /// Prompt tokens that were neither read from the cache nor written to it.
    FreshInput,
    /// Prompt tokens that came from the cache.
    Cached,
    /// Prompt tokens that were written to the cache.
    Written,
    /// Tokens of the answers.
    Output,
    /// The cost.
    Cost,
    /// The currency of the cost.
    Currency,
    /// The unit of `Amount`, as in DeepSeek's exports: `input_cache_hit_tokens`, `request_count`.
    Kind,
    /// A number of what `Kind` says, or a cost if there is no such column.
    Amount,
}

/// The longest name that is compared, in bytes.
const LONGEST_NAME: usize = 200;

/// The known names. They are compared in lower case without white space, `_`, `-`, `(` and `)`.
const NAMES: [(ExportColumn, &[&str]); 12] = [
    (
        ExportColumn::Day,
        &[
            "date",
            "day",
            "utc_date",
            "usage_date",
            "usage_date_utc",
            "start_time_iso",
            "start_time",
            "timestamp",
            "time",
            "created_at",
            "日期",
            "账单日期",
            "消费时间",
            "时间",
        ],
    ),
    (
        ExportColumn::Model,
        &[
            "model",
            "model_name",
            "model_id",
            "model_version",
            "model_permaslug",
            "snapshot_id",
            "模型",
            "模型名称",
        ],
    ),
    (
        ExportColumn::Requests,
        &[
            "requests",
            "num_requests",
            "num_model_requests",
            "n_requests",
            "request_count",
            "api_requests",
            "calls",
            "请求次数",
            "调用次数",
        ],
    ),
    (
        ExportColumn::Input,
        &[
            "input_tokens",
            "prompt_tokens",
            "n_context_tokens_total",
            "tokens_prompt",
            "输入tokens",
            "输入token数",
        ],
    ),
    (
        ExportColumn::FreshInput,
        &[
            "usage_input_tokens_no_cache",
            "uncached_input_tokens",
            "input_cache_miss_tokens",
            "prompt_cache_miss_tokens",
        ],
    ),
    (
        ExportColumn::Cached,
        &[
            "input_cached_tokens",
            "cached_input_tokens",
            "cached_tokens",
            "n_cached_context_tokens_total",
            "usage_input_tokens_cache_read",
            "cache_read_input_tokens",
            "input_cache_hit_tokens",
            "prompt_cache_hit_tokens",
            "缓存命中tokens",
        ],
    ),
    (
        ExportColumn::Written,
        &[
            "usage_input_tokens_cache_write_5m",
            "usage_input_tokens_cache_write_1h",
            "cache_creation_input_tokens",
            "cache_write_tokens",
        ],
    ),
    (
        ExportColumn::Output,
        &[
            "output_tokens",
            "completion_tokens",
            "n_generated_tokens_total",
            "usage_output_tokens",
            "tokens_completion",
            "输出tokens",
            "输出token数",
        ],
    ),
    (
        ExportColumn::Cost,
        &[
            "cost",
            "cost_usd",
            "total_cost",
            "amount_value",
            "cost_total",
            "费用",
            "金额",
            "消费金额",
        ],
    ),
    (ExportColumn::Currency, &["currency", "amount_currency", "币种"]),
    (ExportColumn::Kind, &["type", "usage_kind"]),
    (ExportColumn::Amount, &["amount"]),
];

impl ExportColumn {
    /// Returns the meaning of a column by its name.
    pub(super) fn of_name(name: &str) -> Option<Self> {
        if name.len() > LONGEST_NAME {
            return None;
        }
        let plain = plain(name);
        let known = |names: &[&str]| names.iter().any(|known| self::plain(known) == plain);
        NAMES
            .iter()
            .find(|(_, names)| known(names))
            .map(|(column, _)| *column)
    }

    /// Returns the known names of the columns that an export needs, for people.
    pub(super) fn known() -> String {
        let shown = |wanted: Self| {
            let names = NAMES.iter().find(|(column, _)| *column == wanted);
            names.map_or_else(String::new, |(_, names)| names.join(", "))
        };
        format!(
            "the day: {}; the model: {}; tokens: {}, {}, {}; or the cost: {}",
            shown(Self::Day),
            shown(Self::Model),
            shown(Self::Input),
            shown(Self::FreshInput),
            shown(Self::Output),
            shown(Self::Cost)
        )
    }
}

fn plain(name: &str) -> String {
    let is_kept = |c: &char| !c.is_whitespace() && !matches!(c, '_' | '-' | '(' | ')' | '\u{feff}');
    name.chars()
        .filter(is_kept)
        .flat_map(char::to_lowercase)
        .collect()
}
