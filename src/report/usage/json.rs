//! The bill as one JSON object.

use serde_json::{Map, Value, json};

use super::UsageBill;
use crate::domain::usage::CostSum;
use crate::store::UsageSums;

/// Returns the bill as JSON for programs.
pub fn bill_json(bill: &UsageBill) -> Value {
    let rows: Vec<Value> = bill
        .rows
        .iter()
        .map(|row| {
            let names = bill.by.iter().map(|key| key.as_str());
            let keys = names
                .zip(&row.keys)
                .map(|(name, key)| (name.to_owned(), json!(key)));
            Value::Object(keys.chain(sums(&row.sums)).collect())
        })
        .collect();
    let waste: Vec<Value> = bill
        .waste
        .iter()
        .map(|(cause, group)| {
            let cause = [("cause".to_owned(), json!(cause))];
            Value::Object(cause.into_iter().chain(sums(group)).collect())
        })
        .collect();
    let unpriced: Vec<Value> = bill
        .unpriced
        .iter()
        .map(|calls| {
            json!({"route": calls.route, "model": calls.model, "calls": calls.calls, "cure": calls.cure})
        })
        .collect();
    let prices: Vec<Value> = bill
        .prices
        .iter()
        .map(|price| json!({"route": price.route, "source": price.source}))
        .collect();
    let filter: Map<String, Value> = bill
        .filter
        .iter()
        .map(|(name, value)| ((*name).to_owned(), json!(value)))
        .collect();
    let by: Vec<&str> = bill.by.iter().map(|key| key.as_str()).collect();
    let mut object = json!({
        "by": by,
        "filter": filter,
        "rows": rows,
        "total": Value::Object(sums(&bill.total).into_iter().collect()),
        "waste": waste,
        "unpriced": unpriced,
        "prices": prices,
    });
    if let (Some(age), Some(fields)) = (bill.replica_age_s, object.as_object_mut()) {
        fields.insert("replica_age_s".to_owned(), json!(age));
    }
    object
}

fn sums(sums: &UsageSums) -> Vec<(String, Value)> {
    let known = |cost: CostSum| sums.knows_costs().then(|| cost.usd());
    let fields = [
        ("calls", json!(sums.calls)),
        ("failed_calls", json!(sums.failed)),
        ("unpriced_calls", json!(sums.unpriced)),
        ("searches", json!(sums.searches)),
        ("input_tokens", json!(sums.usage.input_tokens)),
        ("cached_input_tokens", json!(sums.usage.cached_input_tokens)),
        ("cache_write_tokens", json!(sums.usage.cache_write_tokens)),
        ("output_tokens", json!(sums.usage.output_tokens)),
        ("cost_usd", json!(known(sums.cost))),
        ("wasted_usd", json!(known(sums.wasted))),
        ("uncertain_usd", json!(sums.uncertain.usd())),
    ];
    fields
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}
