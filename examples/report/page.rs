//! The page that is written.

use std::time::Duration;

use gradus::Gpu;

/// Markdown, whose lines are printed as they come.
pub struct Page {
    file: String,
    text: String,
    /// Whether lines are in a block of code.
    in_block: bool,
}

impl Page {
    pub fn new(gpu: &Gpu, command: &str) -> Self {
        let info = gpu.adapter_info();
        let driver = [info.driver.as_str(), info.driver_info.as_str()].join(" ");
        let limits = gpu.limits();
        let mut page = Self { file: format!("{}.md", slug(&info.name)), text: String::new(), in_block: false };
        page.add(&format!("# {}: {:?}, {}\n", info.name, info.backend, driver.trim()));
        page.add(&format!(
            "`{command}`, version {} of the crate. Bindings of {} MiB, {} KiB of workgroup memory, subgroups of {} to {}.",
            env!("CARGO_PKG_VERSION"),
            limits.max_storage_buffer_binding_size >> 20,
            limits.max_compute_workgroup_storage_size >> 10,
            info.subgroup_min_size,
            info.subgroup_max_size,
        ));
        page
    }

    /// A heading, and what the lines below it are.
    pub fn section(&mut self, title: &str, about: &str) {
        self.close();
        self.add(&format!("\n## {title}\n\n{about}\n"));
    }

    pub fn line(&mut self, line: &str) {
        if !self.in_block {
            // none above the first line
            if line.is_empty() {
                return;
            }
            self.add("```text");
            self.in_block = true;
        }
        self.add(line.trim_end());
    }

    /// After the last line.
    pub fn end(&mut self, taken: Duration) {
        self.close();
        self.add(&format!("\nAll of it took {:.0} s.", taken.as_secs_f64()));
    }

    /// Its name, by the adapter's.
    pub fn file(&self) -> &str {
        &self.file
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    fn close(&mut self) {
        if std::mem::take(&mut self.in_block) {
            self.add("```");
        }
    }

    fn add(&mut self, text: &str) {
        println!("{text}");
        self.text.push_str(text);
        self.text.push('\n');
    }
}

/// Letters and digits, with a hyphen in place of what is between.
fn slug(name: &str) -> String {
    let lower = name.to_lowercase();
    let words: Vec<&str> = lower.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    words.join("-")
}
