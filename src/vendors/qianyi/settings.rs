//! What an account of Qianyi needs beside the keys that every account has.

use serde::Deserialize;

use crate::domain::Secret;

/// The vendor's keys of an account.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// `appId`, as 千易ERP-设置-三方应用对接 shows it. It is valid in one environment only.
    pub app_id: String,
    /// `appSecret`, which signs calls and pushes.
    pub app_secret: Secret,
    /// The secret before the last change: pushes signed with it are still believed.
    #[serde(default)]
    pub app_secret_previous: Option<Secret>,
}

/// Settings with which no call could be signed and no push believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    #[error("`app_id` is empty: set the appId that Qianyi gave this account")]
    NoAppId,
    #[error("`app_secret` is empty: set the appSecret that Qianyi gave this account")]
    NoAppSecret,
    // An empty second secret would let anybody sign a push.
    #[error("`app_secret_previous` is empty: leave it out unless a secret is being changed")]
    EmptyPreviousSecret,
}

impl Settings {
    /// Refuses what would make every signature worthless.
    pub(super) fn validated(self) -> Result<Self, SettingsError> {
        if self.app_id.trim().is_empty() {
            return Err(SettingsError::NoAppId);
        }
        if self.app_secret.is_empty() {
            return Err(SettingsError::NoAppSecret);
        }
        if self.app_secret_previous.as_ref().is_some_and(Secret::is_empty) {
            return Err(SettingsError::EmptyPreviousSecret);
        }
        Ok(self)
    }
}

/// The address of an environment (Qianyi guide, 环境配置): `test`, `china`, `overseas`.
pub fn base_url(environment: &str) -> Option<&'static str> {
    match environment {
        "test" => Some("https://gerp-test1.800best.com"),
        "china" => Some("https://www.qianyierp.com"),
        "overseas" => Some("https://asia.qianyierp.com"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_without_a_secret_are_refused() {
        let settings = |id: &str, secret: &str, previous: Option<&str>| {
            Settings {
                app_id: id.to_owned(),
                app_secret: Secret::new(secret),
                app_secret_previous: previous.map(Secret::new),
            }
            .validated()
            .err()
        };
        assert_eq!(settings("TEST", "s", None), None);
        assert_eq!(settings("TEST", "s", Some("t")), None);
        assert_eq!(settings(" ", "s", None), Some(SettingsError::NoAppId));
        assert_eq!(settings("TEST", "", None), Some(SettingsError::NoAppSecret));
        assert_eq!(settings("TEST", "s", Some("")), Some(SettingsError::EmptyPreviousSecret));
    }

    #[test]
    fn settings_are_read_strictly_and_never_shown() {
        let settings: Settings =
            serde_json::from_str(r#"{"app_id":"TEST","app_secret":"hush"}"#).unwrap();
        assert!(!format!("{settings:?}").contains("hush"));
        let unknown = r#"{"app_id":"TEST","app_secret":"hush","app_key":"x"}"#;
        assert!(serde_json::from_str::<Settings>(unknown).is_err());
    }

    #[test]
    fn the_environments_are_the_guides() {
        for (environment, url) in [
            ("test", Some("https://gerp-test1.800best.com")),
            ("china", Some("https://www.qianyierp.com")),
            ("overseas", Some("https://asia.qianyierp.com")),
            ("production", None),
        ] {
            assert_eq!(base_url(environment), url);
        }
    }
}
