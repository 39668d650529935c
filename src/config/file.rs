//! The file: read, and its places turned into lines.

#[cfg(test)]
mod tests;
mod walk;

use std::io::Read;
use std::ops::Range;
use std::path::Path;

use toml::de::DeTable;

use super::layers::Layers;
use super::problem::{Origin, Problem, shown};

/// Nobody writes a longer one; a wrong path (`/dev/zero`) may name one.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// A file that has been read and not yet understood.
pub struct ConfigFile {
    /// The path as it was given.
    pub path: String,
    pub text: String,
}

impl ConfigFile {
    /// Reads the file that `named_by` names.
    pub fn read(path: &Path, named_by: Origin) -> Result<Self, Box<Problem>> {
        let shown_path = shown(&path.display().to_string());
        let unreadable = |reason: String| {
            Box::new(Problem::Unreadable {
                path: shown_path.clone(),
                named_by: named_by.clone(),
                reason,
            })
        };
        let mut bytes = Vec::new();
        std::fs::File::open(path)
            .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
            .map_err(|error| unreadable(error.to_string()))?;
        if bytes.len() as u64 > MAX_FILE_BYTES {
            return Err(unreadable(format!(
                "it is larger than {MAX_FILE_BYTES} bytes"
            )));
        }
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Self {
                path: shown_path,
                text,
            }),
            Err(error) => {
                let good = error.utf8_error().valid_up_to();
                let line = line_at(error.as_bytes(), good);
                Err(unreadable(format!("line {line} is not UTF-8")))
            }
        }
    }

    fn origin(&self, span: Range<usize>) -> Origin {
        Origin::File {
            path: self.path.clone(),
            line: line_at(self.text.as_bytes(), span.start),
        }
    }

    /// What was written there, in one short line.
    fn written(&self, span: Range<usize>) -> String {
        let written = self.text.get(span).unwrap_or_default();
        shown(written.trim())
    }
}

/// The line of a byte, counted from 1.
fn line_at(text: &[u8], offset: usize) -> usize {
    let before = &text[..offset.min(text.len())];
    1 + before.iter().filter(|byte| **byte == b'\n').count()
}

/// Lays the file over `layers`.
pub fn apply(file: &ConfigFile, layers: &mut Layers) {
    let (root, errors) = DeTable::parse_recoverable(&file.text);
    if !errors.is_empty() {
        // What follows a mistake on its line is its echo.
        let mut last_line = None;
        for error in &errors {
            let problem = syntax_problem(file, error);
            if let Problem::Syntax { origin, .. } = &problem {
                if last_line.as_ref() == Some(origin) {
                    continue;
                }
                last_line = Some(origin.clone());
            }
            layers.file_failed(problem);
        }
        return;
    }
    walk::apply(file, root.get_ref(), layers);
}

fn syntax_problem(file: &ConfigFile, error: &toml::de::Error) -> Problem {
    let span = error.span().unwrap_or(0..0);
    let bytes = file.text.as_bytes();
    let before = &bytes[..span.start.min(bytes.len())];
    let newline = before.iter().rposition(|byte| *byte == b'\n');
    let line = &file.text[newline.map_or(0, |newline| newline + 1)..];
    let line = line.lines().next().unwrap_or_default();
    // The key only: a value that cannot be read may be a secret without its quotes.
    let key = line.split('=').next().unwrap_or_default().trim();
    Problem::Syntax {
        origin: file.origin(span),
        what: format!("{} (at `{}`)", error.message(), shown(key)),
    }
}

/// The key as TOML wants it written: in quotes unless it is a bare one.
pub fn toml_key(name: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if !name.is_empty() && name.bytes().all(bare) {
        name.to_owned()
    } else {
        toml::Value::from(name).to_string()
    }
}
