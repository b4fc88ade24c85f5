//! The extension `count` under other names, `count-01` to `count-15`: a chain takes each
//! name only once, and the bench wants chains of many alike. They are examples, because
//! an extension's name is that of its file.
