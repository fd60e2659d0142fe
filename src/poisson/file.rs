//! What files of weights say of themselves.

use std::collections::{BTreeMap, HashMap};

use super::training::Training;
use crate::gpu::File;

impl Training {
    /// With the file's format and what is particular to it.
    pub(super) fn metadata(&self, format: &str, others: &[(&str, String)]) -> HashMap<String, String> {
        let Training { data, steps, batch, optimizer, seed, adapter } = self;
        let own = [
            ("format", format.to_owned()),
            ("data", data.clone()),
            ("steps", steps.to_string()),
            ("batch", batch.to_string()),
            ("optimizer", optimizer.clone()),
            ("seed", seed.to_string()),
            ("adapter", adapter.clone()),
        ];
        own.iter().chain(others).map(|(key, value)| ((*key).to_owned(), value.clone())).collect()
    }
}

/// The metadata of a file, and what is wrong with them.
pub(super) struct Metadata<'file> {
    entries: &'file BTreeMap<String, String>,
    pub differences: Vec<String>,
}

impl<'file> Metadata<'file> {
    pub fn of(file: &'file File) -> Self {
        Self { entries: &file.metadata, differences: Vec::new() }
    }

    pub fn text(&mut self, key: &str) -> Option<&'file str> {
        let found = self.entries.get(key).map(String::as_str);
        if found.is_none() {
            self.differences.push(format!("the metadata have no `{key}`"));
        }
        found
    }

    pub fn number(&mut self, key: &str) -> Option<u64> {
        let text = self.text(key)?;
        let found = text.parse().ok();
        if found.is_none() {
            self.differences.push(format!("{key} is `{text}`, expected a whole number"));
        }
        found
    }

    pub fn expect_format(&mut self, expected: &str) {
        if let Some(found) = self.text("format").filter(|&found| found != expected) {
            self.differences.push(format!("the format is `{found}`, expected `{expected}`"));
        }
    }

    pub fn training(&mut self) -> Training {
        Training {
            data: self.text("data").unwrap_or_default().to_owned(),
            steps: self.number("steps").unwrap_or_default(),
            batch: self.number("batch").unwrap_or_default(),
            optimizer: self.text("optimizer").unwrap_or_default().to_owned(),
            seed: self.number("seed").unwrap_or_default(),
            adapter: self.text("adapter").unwrap_or_default().to_owned(),
        }
    }
}
