//! The module closure: the drivers wanted, exactly what they stand on, and an order in which each can be loaded.
//!
//! Decides which modules go into the image. A hard dependency that is missing is an error, a soft one is left out.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::Error;
use crate::drivers::COMPANIONS;
use crate::library::{Library, Module};
use crate::modinfo::canonical;

/// A module that another one stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Need {
    pub(crate) name: String,
    /// The other one runs without it.
    pub(crate) optional: bool,
}

/// One module of the image.
pub(crate) struct Member {
    pub(crate) module: Rc<Module>,
    /// Everything it stands on, in load order, each once.
    pub(crate) needs: Vec<Need>,
}

/// The modules of the image by name.
pub(crate) struct Closure {
    pub(crate) members: BTreeMap<String, Member>,
    /// Names in the order in which they were met: a driver comes right behind what it needs.
    pub(crate) order: Vec<String>,
    /// Drivers of our list that this kernel has neither as a module nor built in.
    pub(crate) absent: Vec<String>,
}

/// Closes over `drivers`, which may be absent, and `extra`, which the maintainer named and which must exist.
pub(crate) fn close<'a>(
    library: &Library,
    drivers: impl Iterator<Item = &'a str>,
    extra: &[String],
) -> Result<Closure, Error> {
    let mut closure = Closure { members: BTreeMap::new(), order: Vec::new(), absent: Vec::new() };
    let mut path = Vec::new();
    for name in drivers {
        if library.has(name) {
            closure.visit(library, name, &mut path)?;
        } else if !library.is_built_in(name) {
            closure.absent.push(name.to_owned());
        }
    }
    for name in extra.iter().map(|name| canonical(name)) {
        if library.has(&name) {
            closure.visit(library, &name, &mut path)?;
        } else if !library.is_built_in(&name) {
            return Err(Error::MissingModule { name, needed_by: None, folder: library.folder().to_owned() });
        }
    }
    Ok(closure)
}

impl Closure {
    /// Takes a module in behind all that it stands on. `path` holds the modules whose needs are being collected.
    fn visit(&mut self, library: &Library, name: &str, path: &mut Vec<String>) -> Result<(), Error> {
        if self.members.contains_key(name) {
            return Ok(());
        }
        let Some(module) = library.module(name)? else {
            let needed_by = path.last().cloned();
            return Err(Error::MissingModule {
                name: name.to_owned(),
                needed_by,
                folder: library.folder().to_owned(),
            });
        };
        path.push(name.to_owned());
        let mut needs = Vec::new();
        let companions =
            COMPANIONS.iter().filter(|(driver, _)| *driver == name).map(|(_, companion)| *companion);
        for soft in module.info.soft_pre.iter().map(String::as_str).chain(companions) {
            for meant in library.meant_by(soft)? {
                // Soft circles exist (each would like the other first); the first one met goes first.
                if library.has(&meant) && !path.contains(&meant) {
                    self.visit(library, &meant, path)?;
                    self.add(&mut needs, &meant, true);
                }
            }
        }
        for hard in &module.info.depends {
            if library.is_built_in(hard) && !library.has(hard) {
                continue;
            }
            if path.contains(hard) {
                let start = path.iter().position(|name| name == hard).unwrap_or(0);
                let names = path[start..].iter().chain([hard]).cloned().collect();
                return Err(Error::Cycle { names });
            }
            self.visit(library, hard, path)?;
            self.add(&mut needs, hard, false);
        }
        path.pop();
        self.members.insert(name.to_owned(), Member { module, needs });
        self.order.push(name.to_owned());
        Ok(())
    }

    /// Adds a member behind its own needs. What one way in calls optional and another one needs, is needed.
    fn add(&self, needs: &mut Vec<Need>, name: &str, optional: bool) {
        let below = self.members.get(name).map(|member| member.needs.as_slice()).unwrap_or_default();
        let below = below.iter().map(|need| (need.name.clone(), need.optional || optional));
        for (name, optional) in below.chain([(name.to_owned(), optional)]) {
            match needs.iter_mut().find(|need| need.name == name) {
                Some(need) => need.optional &= optional,
                None => needs.push(Need { name, optional }),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::library::craft::write;
    use std::path::Path;

    fn folder(modules: &[(&str, &[&str])]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, fields) in modules {
            write(folder.path(), &format!("kernel/{name}.ko"), "6.1", fields);
        }
        folder
    }

    fn closed(folder: &Path, drivers: &[&str], extra: &[&str]) -> Result<Closure, Error> {
        let library = Library::open(folder, "6.1").unwrap();
        let extra: Vec<String> = extra.iter().map(|&name| name.to_owned()).collect();
        close(&library, drivers.iter().copied(), &extra)
    }

    fn needs(closure: &Closure, name: &str) -> String {
        let words = closure.members[name].needs.iter();
        words
            .map(|n| format!("{}{}", if n.optional { "?" } else { "" }, n.name))
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn takes_exactly_what_is_needed_in_load_order() {
        let folder = folder(&[
            ("virtio_ring", &[]),
            ("virtio", &["depends=virtio_ring"]),
            ("failover", &[]),
            ("net_failover", &["depends=failover"]),
            ("virtio_net", &["depends=net_failover,virtio,virtio_ring"]),
            ("unrelated", &[]),
        ]);
        let closure = closed(folder.path(), &["virtio_net", "e1000"], &[]).unwrap();
        assert_eq!(closure.order, ["failover", "net_failover", "virtio_ring", "virtio", "virtio_net"]);
        assert_eq!(needs(&closure, "virtio_net"), "failover net_failover virtio_ring virtio");
        assert_eq!(closure.absent, ["e1000"]);
    }

    #[test]
    fn soft_dependencies_come_first_and_may_be_absent() {
        let folder = folder(&[
            ("crc32c_generic", &["alias=crc32c"]),
            ("libcrc32c", &["softdep=pre: crc32c"]),
            ("mdio", &[]),
            ("bnx2x", &["depends=libcrc32c,mdio", "softdep=pre: not_there"]),
            ("libphy", &[]),
            ("realtek", &["depends=libphy"]),
            ("r8169", &["depends=libphy", "softdep=pre: realtek"]),
            ("broadcom", &["depends=libphy"]),
            ("tg3", &[]),
        ]);
        let closure = closed(folder.path(), &["bnx2x", "r8169", "tg3"], &[]).unwrap();
        assert_eq!(needs(&closure, "bnx2x"), "?crc32c_generic libcrc32c mdio");
        assert_eq!(needs(&closure, "r8169"), "libphy ?realtek", "libphy is needed by r8169 itself");
        assert_eq!(
            needs(&closure, "tg3"),
            "?libphy ?broadcom",
            "a companion and all it stands on are optional"
        );
    }

    #[test]
    fn circles() {
        let hard = folder(&[("a", &["depends=b"]), ("b", &["depends=c"]), ("c", &["depends=b"])]);
        let error = closed(hard.path(), &["a"], &[]).err().unwrap().to_string();
        assert!(error.contains("b -> c -> b"), "{error}");
        let own = folder(&[("a", &["depends=a"])]);
        assert!(matches!(closed(own.path(), &["a"], &[]), Err(Error::Cycle { .. })));
        let soft = folder(&[("a", &["softdep=pre: b"]), ("b", &["softdep=pre: a"])]);
        let closure = closed(soft.path(), &["a", "b"], &[]).unwrap();
        assert_eq!(closure.order, ["b", "a"]);
    }

    #[test]
    fn missing_modules_are_named() {
        let folder = folder(&[("a", &["depends=b"]), ("b", &["depends=gone"])]);
        let error = closed(folder.path(), &["a"], &[]).err().unwrap().to_string();
        assert!(error.contains("module gone, which b needs, is not there"), "{error}");
        let error = closed(folder.path(), &[], &["no-such"]).err().unwrap().to_string();
        assert!(error.contains("there is no module no_such"), "{error}");
    }

    #[test]
    fn what_is_built_in_is_there() {
        let folder = folder(&[("a", &["depends=libb", "softdep=pre: libb"])]);
        std::fs::write(folder.path().join("modules.builtin"), "kernel/libb.ko\nkernel/e1000.ko\n").unwrap();
        let closure = closed(folder.path(), &["a", "e1000"], &["libb"]).unwrap();
        assert_eq!(closure.order, ["a"]);
        assert_eq!(needs(&closure, "a"), "");
        assert!(closure.absent.is_empty());
    }
}
