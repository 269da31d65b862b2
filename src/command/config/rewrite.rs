//! CONFIG REWRITE: the file is replaced as a whole, durably.

use crate::server::Server;
use crate::server::config::{RewriteOptions, rewrite};
use crate::server::error::ReplyError;
use crate::sys::durable;
use crate::sys::io::OsStorage;
use std::io::ErrorKind;
use std::sync::Arc;

/// Writes the configuration into its file; `force_all` writes built-in values too.
///
/// # Errors
/// Without a file, or when it cannot be read or replaced; the file is then as it was.
pub fn rewrite_file(server: &Server, force_all: bool) -> Result<(), ReplyError> {
    let Some(path) = &server.config_file else {
        return Err(ReplyError::err("The server is running without a config file"));
    };
    let failed = |failure: std::io::Error| {
        log::warn!("CONFIG REWRITE failed: {failure}");
        ReplyError::err(format!("Rewriting config file: {failure}"))
    };
    let old_text = match std::fs::read(path) {
        Ok(text) => text,
        Err(failure) if failure.kind() == ErrorKind::NotFound => Vec::new(),
        Err(failure) => return Err(failed(failure)),
    };
    let users = server.user_lines();
    let options = RewriteOptions { force_all, users: Some(&users) };
    let text = rewrite(&old_text, &server.config, &options);
    let temporary = path.with_extension(format!("tmp-{}", std::process::id()));
    durable::replace(Arc::new(OsStorage), path, &temporary, &text)
        .map_err(|failure| failed(failure.into()))?;
    log::info!("CONFIG REWRITE executed with success.");
    Ok(())
}
