//! QEMU's control socket: one command a connection. Decides nothing about nodes.

use crate::error::LabError;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// QEMU answers within milliseconds; under software emulation with all cores busy it may take seconds.
const ANSWER: Duration = Duration::from_secs(30);

/// # Errors
/// `Io` when the socket fails, `Machine` when QEMU refuses the command.
pub(crate) fn command(socket: &Path, execute: &str, arguments: &Value) -> Result<Value, LabError> {
    let failed = LabError::io("talk to QEMU at", socket);
    let answer = exchange(socket, execute, arguments).map_err(failed)?;
    match answer.get("error") {
        None => Ok(answer.get("return").cloned().unwrap_or(Value::Null)),
        Some(error) => Err(LabError::Machine(format!("QEMU refuses {execute}: {error}"))),
    }
}

fn exchange(socket: &Path, execute: &str, arguments: &Value) -> std::io::Result<Value> {
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(ANSWER))?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let mut next = || -> std::io::Result<Value> {
        let line = lines.next().ok_or(std::io::ErrorKind::UnexpectedEof)??;
        Ok(serde_json::from_str(&line)?)
    };
    next()?; // the greeting
    let mut answer = Value::Null;
    for command in
        [json!({ "execute": "qmp_capabilities" }), json!({ "execute": execute, "arguments": arguments })]
    {
        (&stream).write_all(format!("{command}\n").as_bytes())?;
        answer = next()?;
        while answer.get("event").is_some() {
            answer = next()?;
        }
    }
    Ok(answer)
}
