//! The services as systemd has them: one sentence for what each unit does or waits for.
//! Decides whether that is well; starts and stops nothing.

use std::collections::HashMap;
use std::process::{Command, Stdio};

use serde::Serialize;

use crate::nodelog::clean;

const TARGET: &str = "boottorrent.target";
const PROPERTIES: &str = "Id,LoadState,ActiveState,SubState,Result,ExecMainStatus,StatusText,NRestarts,Listen,\
                          ActiveEnterTimestampMonotonic";
/// Characters of a daemon's own status line.
const STATUS: usize = 200;

/// What a service is up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    Running,
    /// Its socket is open, and nothing has come that would need the service.
    Listening,
    Starting,
    Failed,
    Stopped,
    Masked,
    /// There is no such unit, or systemd cannot read it.
    Missing,
}

impl State {
    pub(super) fn is_well(self) -> bool {
        matches!(self, State::Running | State::Listening | State::Starting)
    }
}

/// One service, with its socket unit where it has one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Service {
    pub(super) name: String,
    pub(super) state: State,
    /// `UDP 10.0.0.1:69`
    pub(super) sockets: Vec<String>,
    pub(super) sentence: String,
    /// How often systemd had to start it again.
    pub(super) restarts: u32,
}

/// All of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Services {
    /// The sentence that stands above all others, where there is one.
    pub(super) trouble: Option<String>,
    pub(super) list: Vec<Service>,
}

impl Services {
    pub(super) fn are_well(&self) -> bool {
        self.trouble.is_none() && self.list.iter().all(|service| service.state.is_well())
    }

    /// Asks systemd for the services that the site has.
    pub(super) fn ask(names: &[String]) -> Self {
        let mut units = vec![TARGET.to_owned()];
        units.extend(
            names.iter().flat_map(|n| ["service", "socket"].map(|kind| format!("boottorrent-{n}.{kind}"))),
        );
        let mut command = Command::new("systemctl");
        command.args(["show", "--no-pager", "--property", PROPERTIES]).args(&units).stdin(Stdio::null());
        match command.output() {
            Ok(output) if output.status.success() => {
                Self::of(names, &String::from_utf8_lossy(&output.stdout))
            }
            Ok(output) => {
                let why = String::from_utf8_lossy(&output.stderr);
                let why = clean(why.lines().next().unwrap_or("it does not say why"), STATUS);
                Self::unknown(format!("systemd cannot be asked about the services: {why}"))
            }
            Err(e) => Self::unknown(format!("systemd cannot be asked about the services: systemctl: {e}")),
        }
    }

    fn unknown(trouble: String) -> Self {
        Self { trouble: Some(trouble), list: Vec::new() }
    }

    /// From what `systemctl show` printed.
    fn of(names: &[String], text: &str) -> Self {
        let units: HashMap<&str, Unit<'_>> = text.split("\n\n").filter_map(Unit::parse).collect();
        let unit = |kind: &str, name: &str| {
            units.get(format!("boottorrent-{name}.{kind}").as_str()).cloned().unwrap_or_default()
        };
        let list = names.iter().map(|name| {
            // The one service without a socket: no packet starts it.
            let socket = (name != "ra").then(|| unit("socket", name));
            judge(name, &unit("service", name), socket.as_ref())
        });
        let target = units.get(TARGET).cloned().unwrap_or_default();
        Self { trouble: trouble(&target), list: list.collect() }
    }
}

fn trouble(target: &Unit<'_>) -> Option<String> {
    match (target.load, target.active) {
        ("loaded", "active" | "activating" | "reloading") => None,
        ("loaded", _) => Some(format!("{TARGET} is stopped and nothing is served: systemctl start {TARGET}")),
        ("masked", _) => Some(format!("{TARGET} is masked and nothing is served: systemctl unmask {TARGET}")),
        _ => Some(format!("there is no {TARGET}: run boottorrent-gen on the site folder")),
    }
}

/// One block of `systemctl show`.
#[derive(Clone, Debug, Default)]
struct Unit<'a> {
    load: &'a str,
    active: &'a str,
    sub: &'a str,
    result: &'a str,
    exit_status: &'a str,
    status: &'a str,
    restarts: u32,
    /// Microseconds since the machine started; 0: never.
    active_since: u64,
    listens: Vec<String>,
}

impl<'a> Unit<'a> {
    fn parse(block: &'a str) -> Option<(&'a str, Self)> {
        let (mut id, mut unit) = (None, Self::default());
        for (key, value) in block.lines().filter_map(|line| line.split_once('=')) {
            match key {
                "Id" => id = Some(value),
                "LoadState" => unit.load = value,
                "ActiveState" => unit.active = value,
                "SubState" => unit.sub = value,
                "Result" => unit.result = value,
                "ExecMainStatus" => unit.exit_status = value,
                "StatusText" => unit.status = value,
                "NRestarts" => unit.restarts = value.parse().unwrap_or(0),
                "ActiveEnterTimestampMonotonic" => unit.active_since = value.parse().unwrap_or(0),
                "Listen" => unit.listens.push(listen(value)),
                _ => {}
            }
        }
        id.map(|id| (id, unit))
    }

    /// How its last run ended, in a person's words.
    fn end(&self) -> String {
        match self.result {
            "exit-code" => format!("it ended with status {}", self.exit_status),
            "signal" => "a signal ended it".to_owned(),
            "core-dump" => "it crashed".to_owned(),
            "watchdog" => "it hung, and the watchdog ended it".to_owned(),
            "timeout" => "it was not ready in time".to_owned(),
            "start-limit-hit" | "service-start-limit-hit" => "it was started too often".to_owned(),
            "resources" => "the system refused it something, such as a port that is in use".to_owned(),
            "" | "success" => "systemd does not say why".to_owned(),
            other => other.to_owned(),
        }
    }
}

/// `10.0.0.1:69 (Datagram)`, as people say it.
fn listen(value: &str) -> String {
    match value.rsplit_once(" (") {
        Some((address, "Datagram)")) => format!("UDP {address}"),
        Some((address, "Stream)")) => format!("TCP {address}"),
        _ => value.to_owned(),
    }
}

fn judge(name: &str, service: &Unit<'_>, socket: Option<&Unit<'_>>) -> Service {
    let unit = format!("boottorrent-{name}.service");
    let (state, sentence) = told(&unit, service, socket);
    let sockets = socket.map(|socket| socket.listens.clone()).unwrap_or_default();
    Service { name: name.to_owned(), state, sockets, sentence, restarts: service.restarts }
}

fn told(unit: &str, service: &Unit<'_>, socket: Option<&Unit<'_>>) -> (State, String) {
    let socket_unit = unit.replace(".service", ".socket");
    for (unit, load) in [(unit, Some(service.load)), (&socket_unit, socket.map(|s| s.load))] {
        match load {
            Some("loaded") | None => {}
            Some("masked") => return (State::Masked, format!("masked: systemctl unmask {unit}")),
            Some("not-found" | "") => {
                return (
                    State::Missing,
                    format!("there is no {unit}: run boottorrent-gen on the site folder"),
                );
            }
            Some(_) => {
                return (State::Missing, format!("systemd cannot read {unit}: systemctl status {unit}"));
            }
        }
    }
    let status = match service.status {
        "" => String::new(),
        text => format!(": {}", clean(text, STATUS)),
    };
    match (service.active, service.sub) {
        ("failed", _) => {
            let sentence = format!("failed, {}{status}; journalctl -u {unit} says more", service.end());
            (State::Failed, sentence)
        }
        ("activating", "auto-restart") => {
            let sentence = format!("starts again and again, {}{status}; journalctl -u {unit}", service.end());
            (State::Failed, sentence)
        }
        ("active" | "reloading", _) => (State::Running, format!("running{status}")),
        ("activating", _) => (State::Starting, format!("starting{status}")),
        ("deactivating", _) => (State::Starting, "ending".to_owned()),
        _ => match socket {
            Some(socket) if socket.active == "failed" => {
                let sentence =
                    format!("its socket failed, {}; journalctl -u {socket_unit} says more", socket.end());
                (State::Failed, sentence)
            }
            Some(socket) if socket.active == "active" => {
                (State::Listening, waiting(service, socket).to_owned())
            }
            _ => (State::Stopped, format!("stopped: systemctl start {TARGET}")),
        },
    }
}

/// A service that ran since its socket was opened has had a request.
fn waiting(service: &Unit<'_>, socket: &Unit<'_>) -> &'static str {
    if service.active_since > socket.active_since {
        "listening; it has ended and starts with the next request"
    } else {
        "listening, no request yet"
    }
}

#[cfg(test)]
mod tests;
