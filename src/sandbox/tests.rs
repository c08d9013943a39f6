//! The sandbox, called over HTTP.
