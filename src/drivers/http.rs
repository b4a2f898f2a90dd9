//! `HTTPGET` and `HTTPPOST`.
