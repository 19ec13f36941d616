//! Uploaded files of the configuration: rules between their settings, and the settings of a bucket and of a
//! scanner.

use gimlet_core::before_send::HookFailureMode;
use gimlet_listen::pem::PemFile;
use gimlet_web::files::S3Settings;
use gimlet_webhooks::{ScanSettings, check_secret};

use super::Config;
use super::codec::NamedChoice;
use super::values::{FileStoreKind, WebhookFailure};
use crate::secret::SecretString;

impl NamedChoice for FileStoreKind {
    const NAMES: &'static [(&'static str, Self)] = &[("folder", Self::Folder), ("s3", Self::S3)];
}

impl Config {
    pub(super) fn check_files(&self, problems: &mut Vec<String>) {
        let files = &self.files;
        let is_set = |value: Option<&str>| value.is_some_and(|it| !it.is_empty());
        let given = [
            ("files.s3_bucket", is_set(files.s3_bucket.as_deref())),
            (
                "files.s3_access_key",
                is_set(files.s3_access_key.as_deref()),
            ),
            ("files.s3_secret_key", files.s3_secret_key.is_some()),
        ];
        for (key, is_given) in given {
            match (files.store, is_given) {
                (FileStoreKind::S3, false) => problems.push(format!(
                    "files.store = s3 needs {key}; set it, or files.store = folder"
                )),
                (FileStoreKind::Folder, true) => problems.push(format!(
                    "{key} is set, and files.store = folder uses no bucket; set files.store = s3, or \
                     leave it out"
                )),
                _ => {}
            }
        }
        let endpoint = files.s3_endpoint.as_deref().unwrap_or_default();
        let is_plain = endpoint.starts_with("http://");
        if !endpoint.is_empty() && !is_plain && !endpoint.starts_with("https://") {
            problems.push(format!(
                "files.s3_endpoint = {endpoint} is not an address; write one that begins with https://"
            ));
        }
        if is_plain && !files.s3_allow_http {
            problems.push(
                "files.s3_endpoint begins with http://, which does not encrypt files; use https://, or \
                 set files.s3_allow_http = true in a private network"
                    .into(),
            );
        }
        self.check_scanner(problems);
    }

    fn check_scanner(&self, problems: &mut Vec<String>) {
        let files = &self.files;
        match (&files.scan_url, &files.scan_secret) {
            (Some(_), None) => problems.push(
                "files.scan_url needs files.scan_secret; make one by echo whsec_$(openssl rand -base64 32)"
                    .into(),
            ),
            (None, Some(_)) => problems.push(
                "files.scan_secret is set, and there is no scanner; set files.scan_url, or leave it out"
                    .into(),
            ),
            (Some(url), Some(secret)) => {
                if let Err(remedy) = check_secret(secret.reveal()) {
                    problems.push(format!("files.scan_secret: {remedy}"));
                }
                if let Err(remedy) = gimlet_webhooks::check_url(url, true) {
                    problems.push(format!("files.scan_url: {remedy}"));
                }
            }
            (None, None) => {}
        }
    }

    /// Returns the settings of the bucket, if files are in one.
    pub(crate) fn bucket(&self) -> Option<S3Settings> {
        let files = &self.files;
        if files.store != FileStoreKind::S3 {
            return None;
        }
        Some(S3Settings {
            bucket: files.s3_bucket.clone().unwrap_or_default(),
            endpoint: files.s3_endpoint.clone(),
            region: files.s3_region.clone(),
            access_key: files.s3_access_key.clone().unwrap_or_default(),
            secret_key: files
                .s3_secret_key
                .as_ref()
                .map_or("", SecretString::reveal)
                .to_owned(),
            prefix: files.s3_prefix.clone(),
            in_host_name: files.s3_bucket_in_host,
            allow_http: files.s3_allow_http,
            ca: self.outbound.ca.as_ref().map(|path| PemFile {
                setting: "outbound.ca",
                path: path.into(),
            }),
        })
    }

    /// Returns the settings of the scanner, if there is one.
    pub(crate) fn scanner(&self) -> Option<ScanSettings> {
        let files = &self.files;
        let (url, secret) = files.scan_url.as_ref().zip(files.scan_secret.as_ref())?;
        Some(ScanSettings {
            url: url.clone(),
            secret: secret.reveal().to_owned(),
            timeout: files.scan_timeout,
            failure: match files.scan_fail {
                WebhookFailure::Open => HookFailureMode::Open,
                WebhookFailure::Closed => HookFailureMode::Closed,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(change: impl FnOnce(&mut Config)) -> String {
        let mut config = Config::default();
        change(&mut config);
        let mut problems = Vec::new();
        config.check_files(&mut problems);
        problems.join("\n")
    }

    #[test]
    fn a_bucket_needs_its_settings_and_a_folder_none() {
        assert_eq!(problems(|_| {}), "");
        let missing = problems(|config| config.files.store = FileStoreKind::S3);
        for key in ["s3_bucket", "s3_access_key", "s3_secret_key"] {
            assert!(missing.contains(key), "{missing}");
        }
        let unused = problems(|config| config.files.s3_bucket = Some("b".into()));
        assert!(unused.contains("set files.store = s3"), "{unused}");
    }

    #[test]
    fn a_store_without_tls_is_a_decision() {
        let with = |endpoint: &str, allow: bool| {
            problems(|config| {
                config.files.s3_endpoint = Some(endpoint.into());
                config.files.s3_allow_http = allow;
            })
        };
        assert_eq!(with("https://s3.example.com", false), "");
        assert_eq!(with("http://10.0.0.1:9000", true), "");
        assert!(with("http://10.0.0.1:9000", false).contains("s3_allow_http"));
        assert!(with("10.0.0.1:9000", true).contains("not an address"));
    }

    #[test]
    fn a_scanner_has_an_address_and_a_secret() {
        let good = || Some(SecretString::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"));
        let with = |url: Option<&str>, secret: Option<SecretString>| {
            problems(|config| {
                config.files.scan_url = url.map(Into::into);
                config.files.scan_secret = secret;
            })
        };
        assert_eq!(with(Some("https://scan.example.com"), good()), "");
        assert!(with(Some("https://scan.example.com"), None).contains("needs files.scan_secret"));
        assert!(with(None, good()).contains("there is no scanner"));
        let weak = with(Some("https://a"), Some(SecretString::new("weak")));
        assert!(weak.contains("whsec_") && !weak.contains("weak"), "{weak}");
        assert!(with(Some("scan"), good()).contains("files.scan_url"));
    }
}
