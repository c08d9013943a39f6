//! JFWMS.
