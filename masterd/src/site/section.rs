//! A table of a site's file, read key by key: every key taken is known, what is left over is a mistake.
//! Decides how a missing, misspelt or wrongly typed key is told; never gives a key a meaning.

use super::finding::{At, Findings, Place, nearest};
use super::value::Spelt;
use std::cell::RefCell;
use std::fs;
use std::io::ErrorKind;
use std::ops::{Range, RangeInclusive};
use std::path::Path;
use std::sync::Arc;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

/// Bytes of a file that people write; far above any real one, so that a wrong path cannot fill the memory.
const MAX_FILE: u64 = 4 << 20;

/// The text of one file and where its lines begin.
pub(crate) struct Document {
    path: Arc<Path>,
    text: String,
    /// Where each line break is: a site of thousands of nodes asks for the line of every value.
    breaks: Vec<usize>,
}

impl Document {
    /// Reads a file; a failure is a finding.
    pub(crate) fn open(path: &Path, findings: &Findings) -> Option<Document> {
        let place = Place::file(path);
        let read = fs::metadata(path).and_then(|m| {
            if m.len() > MAX_FILE { Err(ErrorKind::FileTooLarge.into()) } else { fs::read_to_string(path) }
        });
        match read {
            Ok(text) => {
                let breaks = text.match_indices('\n').map(|(at, _)| at).collect();
                Some(Document { path: path.into(), text, breaks })
            }
            Err(e) if e.kind() == ErrorKind::NotFound => {
                findings.add(
                    &place,
                    "there is no such file",
                    "write it, or let `boottorrent-gen init` make an example",
                );
                None
            }
            Err(e) if e.kind() == ErrorKind::FileTooLarge => {
                let what = format!("it has more than {} MiB", MAX_FILE >> 20);
                findings.add(&place, what, "is it the right file? Split a site that is so large");
                None
            }
            Err(e) => {
                findings.add(&place, format!("cannot be read: {e}"), "make it a readable UTF-8 file");
                None
            }
        }
    }

    /// The whole document as a table; each syntax error is a finding, and then there is no table.
    pub(crate) fn parse(&self, findings: &Findings) -> Option<DeTable<'_>> {
        let (table, errors) = DeTable::parse_recoverable(&self.text);
        for error in &errors {
            let place = error.span().map_or_else(|| Place::file(&self.path), |s| self.place(&s));
            findings.add(&place, error.message().trim().replace('\n', " "), "correct the TOML there");
        }
        errors.is_empty().then(|| table.into_inner())
    }

    pub(crate) fn place(&self, span: &Range<usize>) -> Place {
        Place::line(&self.path, 1 + self.breaks.partition_point(|at| *at < span.start))
    }
}

/// One table and what was asked of it.
pub(crate) struct Section<'a> {
    document: &'a Document,
    table: Option<&'a DeTable<'a>>,
    /// "[site]", for messages.
    title: String,
    place: Place,
    known: RefCell<Vec<&'static str>>,
    findings: &'a Findings,
}

impl<'a> Section<'a> {
    /// The document's own table.
    pub(crate) fn root(
        document: &'a Document,
        table: &'a DeTable<'a>,
        findings: &'a Findings,
    ) -> Section<'a> {
        Section {
            document,
            table: Some(table),
            title: "this file".into(),
            place: Place::line(&document.path, 1),
            known: RefCell::default(),
            findings,
        }
    }

    /// The table under `key`; an empty one where there is none.
    pub(crate) fn section(&self, key: &'static str) -> Section<'a> {
        let entry = self.take(key);
        let (table, place) = match entry {
            None => (None, self.place.clone()),
            Some((value, place)) => match value.get_ref() {
                DeValue::Table(t) => (Some(t), place),
                other => {
                    self.wrong_type(key, &place, other, &format!("a table: write [{key}]"));
                    (None, place)
                }
            },
        };
        let title = format!("[{key}]");
        Section {
            document: self.document,
            table,
            title,
            place,
            known: RefCell::default(),
            findings: self.findings,
        }
    }

    /// The tables of `[[parent.key]]`.
    pub(crate) fn sections(&self, key: &'static str, title: &str) -> Vec<Section<'a>> {
        let Some((value, place)) = self.take(key) else { return Vec::new() };
        let DeValue::Array(array) = value.get_ref() else {
            self.wrong_type(key, &place, value.get_ref(), &format!("a list of tables: write {title}"));
            return Vec::new();
        };
        let mut sections = Vec::new();
        for item in array {
            let place = self.document.place(&item.span());
            match item.get_ref() {
                DeValue::Table(table) => sections.push(Section {
                    document: self.document,
                    table: Some(table),
                    title: title.to_owned(),
                    place,
                    known: RefCell::default(),
                    findings: self.findings,
                }),
                other => self.wrong_type(key, &place, other, &format!("a list of tables: write {title}")),
            }
        }
        sections
    }

    pub(crate) fn exists(&self) -> bool {
        self.table.is_some()
    }

    /// Whether it has this key, right or wrong.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    pub(crate) fn findings(&self) -> &'a Findings {
        self.findings
    }

    /// A value spelt as a string; a wrong one is a finding.
    pub(crate) fn get<T: Spelt>(&self, key: &'static str) -> Option<At<T>> {
        let (value, place) = self.take(key)?;
        self.spelt(key, value, place)
    }

    /// As [`Section::get`], and the lack of it is a finding that shows an example.
    pub(crate) fn need<T: Spelt>(&self, key: &'static str, example: &str) -> Option<At<T>> {
        if self.take(key).is_none() {
            // A misspelt key is told once, by finish(), with this name as the suggestion.
            if !self.has_near(key) {
                let what = format!("{} has no \"{key}\"", self.title);
                self.findings.add(&self.place, what, format!("add {key} = {example}"));
            }
            return None;
        }
        self.get(key)
    }

    pub(crate) fn get_bool(&self, key: &'static str) -> Option<bool> {
        let (value, place) = self.take(key)?;
        match value.get_ref() {
            DeValue::Boolean(b) => Some(*b),
            other => {
                self.wrong_type(key, &place, other, "true or false");
                None
            }
        }
    }

    /// A value, or `true` for the usual one; None: `false`, or nothing at all.
    pub(crate) fn get_switch<T: Spelt>(&self, key: &'static str, usual: &str) -> Option<At<T>> {
        let (value, place) = self.take(key)?;
        match value.get_ref() {
            DeValue::Boolean(false) => None,
            DeValue::Boolean(true) => T::read(usual).ok().map(|value| At { value, place }),
            DeValue::String(_) => self.spelt(key, value, place),
            other => {
                self.wrong_type(key, &place, other, &format!("true, false, or {}", T::KIND));
                None
            }
        }
    }

    /// A whole number within bounds.
    pub(crate) fn get_integer(&self, key: &'static str, bounds: RangeInclusive<i8>) -> Option<i8> {
        let (value, place) = self.take(key)?;
        let wanted = format!("a whole number from {} to {}", bounds.start(), bounds.end());
        let DeValue::Integer(n) = value.get_ref() else {
            self.wrong_type(key, &place, value.get_ref(), &wanted);
            return None;
        };
        let number = i8::from_str_radix(n.as_str(), n.radix()).ok().filter(|number| bounds.contains(number));
        if number.is_none() {
            self.findings.add(&place, format!("\"{key}\" is {n}"), format!("it must be {wanted}"));
        }
        number
    }

    /// A port number.
    pub(crate) fn get_port(&self, key: &'static str) -> Option<At<u16>> {
        let (value, place) = self.take(key)?;
        let DeValue::Integer(n) = value.get_ref() else {
            self.wrong_type(key, &place, value.get_ref(), "a port number, without quotes");
            return None;
        };
        match u16::from_str_radix(n.as_str(), n.radix()) {
            Ok(port) if port > 0 => Some(At { value: port, place }),
            _ => {
                self.findings.add(&place, format!("\"{key}\" is {n}"), "ports go from 1 to 65535");
                None
            }
        }
    }

    /// A string or a list of strings.
    pub(crate) fn get_list<T: Spelt>(&self, key: &'static str) -> Vec<At<T>> {
        match self.take(key) {
            None => Vec::new(),
            Some((value, place)) => match value.get_ref() {
                DeValue::Array(array) => self.items(key, array),
                _ => self.spelt(key, value, place).into_iter().collect(),
            },
        }
    }

    /// The line of a list that must have something in it; the lack of it is a finding that shows an example.
    pub(crate) fn need_list(&self, key: &'static str, example: &str) -> Option<Place> {
        match self.take(key) {
            Some((value, place)) => match value.get_ref() {
                DeValue::Array(array) if array.is_empty() => {
                    self.findings.add(
                        &place,
                        format!("\"{key}\" is empty"),
                        format!("write {key} = {example}"),
                    );
                    None
                }
                _ => Some(place),
            },
            None => {
                // A misspelt key is told once, by finish(), with this name as the suggestion.
                if !self.has_near(key) {
                    let what = format!("{} has no \"{key}\"", self.title);
                    self.findings.add(&self.place, what, format!("add {key} = {example}"));
                }
                None
            }
        }
    }

    /// The entries of a table whose keys are free: key and value, each with its line.
    pub(crate) fn get_entries(&self, key: &'static str) -> Vec<(At<String>, At<&'a DeValue<'a>>)> {
        let Some((value, place)) = self.take(key) else { return Vec::new() };
        let DeValue::Table(table) = value.get_ref() else {
            self.wrong_type(key, &place, value.get_ref(), "a table: { name = value, ... }");
            return Vec::new();
        };
        let entry = |(name, value): (&'a Spanned<_>, &'a Spanned<DeValue<'a>>)| {
            let name: &toml::de::DeString<'_> = name.get_ref();
            let place = self.document.place(&value.span());
            (At { value: name.to_string(), place: place.clone() }, At { value: value.get_ref(), place })
        };
        table.iter().map(|(k, v)| entry((k, v))).collect()
    }

    /// Tells of every key that nobody asked for.
    pub(crate) fn finish(self) {
        let known = self.known.into_inner();
        for (key, _) in self.table.into_iter().flatten() {
            let name: &str = key.get_ref();
            if known.contains(&name) {
                continue;
            }
            let remedy = match nearest(name, known.iter().copied()) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => format!("the keys here are {}", known.join(", ")),
            };
            let place = self.document.place(&key.span());
            self.findings.add(&place, format!("unknown key \"{name}\" in {}", self.title), remedy);
        }
    }

    fn take(&self, key: &'static str) -> Option<(&'a Spanned<DeValue<'a>>, Place)> {
        let mut known = self.known.borrow_mut();
        if !known.contains(&key) {
            known.push(key);
        }
        let value = self.table?.get(key)?;
        Some((value, self.document.place(&value.span())))
    }

    fn has_near(&self, key: &'static str) -> bool {
        self.table.is_some_and(|t| t.iter().any(|(k, _)| nearest(k.get_ref(), [key]).is_some()))
    }

    fn items<T: Spelt>(&self, key: &str, array: &'a DeArray<'a>) -> Vec<At<T>> {
        array.iter().filter_map(|item| self.spelt(key, item, self.document.place(&item.span()))).collect()
    }

    fn spelt<T: Spelt>(&self, key: &str, value: &'a Spanned<DeValue<'a>>, place: Place) -> Option<At<T>> {
        let DeValue::String(text) = value.get_ref() else {
            self.wrong_type(key, &place, value.get_ref(), T::KIND);
            return None;
        };
        match T::read(text) {
            Ok(value) => Some(At { value, place }),
            Err(why) => {
                self.findings.add(&place, format!("\"{key}\": {why}"), format!("write {}", T::KIND));
                None
            }
        }
    }

    fn wrong_type(&self, key: &str, place: &Place, value: &DeValue<'_>, wanted: &str) {
        let article = if matches!(value, DeValue::Integer(_) | DeValue::Array(_)) { "an" } else { "a" };
        let what = format!("\"{key}\" is {article} {}", value.type_str());
        self.findings.add(place, what, format!("it must be {wanted}"));
    }
}
