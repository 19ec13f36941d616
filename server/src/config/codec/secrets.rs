//! Secrets, separated by commas, shown as `***` each.

use crate::secret::SecretString;

#[expect(clippy::unnecessary_wraps, reason = "every codec can fail")]
pub(in crate::config) fn parse(text: &str) -> Result<Vec<SecretString>, String> {
    Ok(super::items(text).map(SecretString::new).collect())
}

pub(in crate::config) fn show(value: &[SecretString]) -> String {
    vec!["***"; value.len()].join(",")
}
