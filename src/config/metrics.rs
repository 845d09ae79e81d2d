//! Settings of the metrics of a command.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::error::ConfigError;
use super::flags::Flags;
use super::origin::{Given, Layers};
use super::raw::RawConfig;

/// Where the metrics of a command can be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MetricsSettings {
    /// The address of the scrape endpoint. `None`: there is no endpoint.
    pub addr: Option<SocketAddr>,
    /// The file that is written for a textfile collector. `None`: no file is written.
    pub file: Option<PathBuf>,
    /// Labels that every series has, by name.
    pub labels: Vec<(String, String)>,
}

impl MetricsSettings {
    /// Whether any metrics can be read.
    pub const fn is_on(&self) -> bool {
        self.addr.is_some() || self.file.is_some()
    }
}

pub(super) fn metrics(
    flags: &Flags,
    written: &RawConfig,
    layers: &mut Layers,
) -> Result<MetricsSettings, ConfigError> {
    let raw = &written.metrics;
    let addr = layers
        .optional("metrics.addr", flags.metrics_addr.as_ref(), raw.addr.clone())
        .map(|text| {
            let expected = "an address and a port, such as `127.0.0.1:9464`";
            text.trim()
                .parse()
                .map_err(|_| ConfigError::value("metrics.addr", &text, expected))
        })
        .transpose()?;
    let given = flags.metrics_file.as_ref().map(|given| Given {
        value: given.value.display().to_string(),
        source: given.source.clone(),
    });
    let shown = raw.file.as_ref().map(|file| file.display().to_string());
    layers.optional("metrics.file", given.as_ref(), shown);
    let file = flags.metrics_file.as_ref().map(|given| given.value.clone());
    let mut labels = Vec::new();
    for (name, value) in &raw.labels {
        let key = format!("metrics.labels.{name}");
        if !is_label(name) {
            let expected =
                "a name of letters, digits and `_` that nova3 does not use itself, such as `job_name`";
            return Err(ConfigError::value("metrics.labels", name, expected));
        }
        if value.is_empty() || value.chars().count() > 200 || value.chars().any(char::is_control) {
            return Err(ConfigError::value(
                &key,
                value,
                "1 to 200 characters without control characters",
            ));
        }
        layers.note(&key, value, layers.file_source());
        labels.push((name.clone(), value.clone()));
    }
    Ok(MetricsSettings {
        addr,
        file: file.or_else(|| raw.file.clone()),
        labels,
    })
}

/// The labels of nova3's own metrics, and the two that histograms and summaries need.
const TAKEN: &[&str] = &[
    "agent",
    "direction",
    "from",
    "le",
    "model",
    "outcome",
    "provider",
    "quantile",
    "reason",
    "route",
    "sink",
    "state",
    "status",
    "target",
    "to",
    "version",
];

/// Whether Prometheus allows the name for a label, and no metric uses it.
fn is_label(name: &str) -> bool {
    let begins = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    let is_word = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    begins && is_word && !name.starts_with("__") && !TAKEN.contains(&name)
}
