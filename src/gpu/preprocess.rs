//! The two steps between a file in `shaders/` and the WGSL that naga sees.
//!
//! `imports` runs in the build script and pastes `#import folder/name` lines, each file once.
//! `conditionals` runs when a pipeline is made and keeps or drops the lines between `#ifdef NAME`
//! or `#ifndef NAME`, `#else` and `#endif`. A `#permute A | B C | D` line states one axis of the
//! permutations in which a kernel may be made: exactly one of the alternatives, each a set of names
//! (`-` is the empty set). The build script validates the product of all axes.
//!
//! This file is compiled into the build script as well, so it uses nothing but `std`.

/// Keeps the lines that are active when `defines` are defined. Directives leave an empty line, so
/// that positions in error messages stay those of the imported text.
pub fn conditionals(source: &str, defines: &[&str]) -> Result<String, String> {
    let mut out = String::with_capacity(source.len());
    // (this branch is active, the condition held) for each open conditional
    let mut open: Vec<(bool, bool)> = Vec::new();
    for (number, line) in source.lines().enumerate() {
        let at = |what: &str| format!("line {}: {what}: {line}", number + 1);
        let active = open.iter().all(|&(active, _)| active);
        if let Some(directive) = line.trim_start().strip_prefix('#') {
            let mut words = directive.split_whitespace();
            match (words.next(), words.next()) {
                (Some("ifdef"), Some(name)) => {
                    let held = defines.contains(&name);
                    open.push((held, held));
                }
                (Some("ifndef"), Some(name)) => {
                    let held = !defines.contains(&name);
                    open.push((held, held));
                }
                (Some("else"), _) => {
                    let last = open.last_mut().ok_or_else(|| at("no #ifdef is open"))?;
                    last.0 = !last.1;
                }
                (Some("endif"), _) => {
                    open.pop().ok_or_else(|| at("no #ifdef is open"))?;
                }
                (Some("permute"), Some(_)) => {}
                _ => return Err(at("unknown directive")),
            }
        } else if active {
            out.push_str(line);
        }
        out.push('\n');
    }
    match open.is_empty() {
        true => Ok(out),
        false => Err("an #ifdef is not closed".into()),
    }
}
