//! Log lines, on standard error.

use tracing_subscriber::EnvFilter;

use crate::options::LogFormat;

/// Sets up the log of this process. A filter that is not understood is as good as `info`, and is said so.
pub fn start(format: LogFormat, filter: &str) {
    let (filter, refused) = match EnvFilter::try_new(filter) {
        Ok(parsed) => (parsed, None),
        Err(error) => (EnvFilter::new("info"), Some(error)),
    };
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Text => lines.with_ansi(false).init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
    if let Some(why) = refused {
        tracing::warn!(%why, "--log is not understood: logging at info");
    }
}
