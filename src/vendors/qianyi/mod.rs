//! Qianyi.
