//! `[schema_registry]`

use std::{path::PathBuf, time::Duration};

use crate::domain::Secret;

use super::section::Section;

/// Where schemas are registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaRegistry {
    /// The registry's Confluent API, without a slash at its end. Default: none; records are then
    /// written in the single-object encoding.
    pub url: Option<String>,
    /// Whether schemas are registered at start. Default: false.
    pub auto_register: bool,
    /// The user of basic authentication. Default: none.
    pub username: Option<String>,
    /// Its password. Default: none.
    pub password: Option<Secret>,
    /// A bearer token instead. Default: none.
    pub bearer_token: Option<Secret>,
    /// Authorities to trust besides the system's (PEM). Default: none.
    pub ca_file: Option<PathBuf>,
    /// A client certificate (PEM). Default: none.
    pub client_cert_file: Option<PathBuf>,
    /// The client certificate's key (PEM). Default: none.
    pub client_key_file: Option<PathBuf>,
    /// How long one request may take. Default: 10 s.
    pub timeout: Duration,
}

impl SchemaRegistry {
    pub(super) fn read(mut section: Section<'_>) -> Option<Self> {
        let url = section.url("url");
        let auto_register = section.flag("auto_register");
        let username = section.optional_text("username");
        let password = section.secret("password");
        let bearer_token = section.secret("bearer_token");
        let ca_file = section.optional_path("ca_file");
        let client_cert_file = section.optional_path("client_cert_file");
        let client_key_file = section.optional_path("client_key_file");
        let timeout = section.duration("timeout");

        if let (Some(username), Some(password)) = (&username, &password) {
            if username.is_some() && password.is_none() {
                section.problem("username", "needs `schema_registry.password` beside it");
            }
            if username.is_none() && password.is_some() {
                section.problem("password", "needs `schema_registry.username` beside it");
            }
            if let (Some(_), Some(Some(_))) = (username, &bearer_token) {
                section.problem(
                    "bearer_token",
                    "and `schema_registry.username` are two ways to authenticate; keep one",
                );
            }
        }
        if let (Some(certificate), Some(key)) = (&client_cert_file, &client_key_file) {
            if certificate.is_some() && key.is_none() {
                section.problem("client_cert_file", "needs `schema_registry.client_key_file` too");
            }
            if certificate.is_none() && key.is_some() {
                section.problem("client_key_file", "needs `schema_registry.client_cert_file` too");
            }
        }
        section.finish();
        Some(Self {
            url: url?,
            auto_register: auto_register?,
            username: username?,
            password: password?,
            bearer_token: bearer_token?,
            ca_file: ca_file?,
            client_cert_file: client_cert_file?,
            client_key_file: client_key_file?,
            timeout: timeout?,
        })
    }
}
