//! The file: read, and its places turned into lines.

#[cfg(test)]
mod tests;
mod walk;

use std::io::{ErrorKind, Read};
use std::ops::Range;
use std::path::Path;

use toml::de::DeTable;

use super::layers::Layers;
use super::problem::{Origin, Problem, shown};
use super::settings::SETTINGS;
use super::tables::FAMILIES;
use walk::Scope;

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
        Self::load(path).map_err(|reason| {
            Box::new(Problem::Unreadable {
                path: shown_path(path),
                named_by,
                reason,
            })
        })
    }

    /// Reads the file that `auth.keys_file` names.
    pub fn read_keys(path: &Path) -> Result<Self, Box<Problem>> {
        Self::load(path).map_err(|reason| {
            let path = shown_path(path);
            Box::new(Problem::UnreadableKeys { path, reason })
        })
    }

    fn load(path: &Path) -> Result<Self, String> {
        let mut bytes = Vec::new();
        let read = std::fs::File::open(path)
            .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes));
        match read {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err("it does not exist".to_owned());
            }
            Err(error) => return Err(error.to_string()),
            Ok(_) if bytes.len() as u64 > MAX_FILE_BYTES => {
                return Err(format!("it is larger than {MAX_FILE_BYTES} bytes"));
            }
            Ok(_) => {}
        }
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Self {
                path: shown_path(path),
                text,
            }),
            Err(error) => {
                let good = error.utf8_error().valid_up_to();
                let line = line_at(error.as_bytes(), good);
                Err(format!("line {line} is not UTF-8"))
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

fn shown_path(path: &Path) -> String {
    shown(&path.display().to_string())
}

/// Lays the file over `layers`.
pub fn apply(file: &ConfigFile, layers: &mut Layers) {
    apply_scope(file, Scope::Whole, layers);
}

/// Takes the API keys of a file that has nothing else.
pub fn apply_keys(file: &ConfigFile, layers: &mut Layers) {
    apply_scope(file, Scope::Keys, layers);
}

fn apply_scope(file: &ConfigFile, scope: Scope, layers: &mut Layers) {
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
    walk::apply(file, scope, root.get_ref(), layers);
}

fn syntax_problem(file: &ConfigFile, error: &toml::de::Error) -> Problem {
    let span = error.span().unwrap_or(0..0);
    let bytes = file.text.as_bytes();
    let before = &bytes[..span.start.min(bytes.len())];
    let newline = before.iter().rposition(|byte| *byte == b'\n');
    let line = &file.text[newline.map_or(0, |newline| newline + 1)..];
    let line = line.lines().next().unwrap_or_default();
    let at = match known_key(line) {
        Some(key) => format!(" (at `{key}`)"),
        None => String::new(),
    };
    Problem::Syntax {
        origin: file.origin(span),
        what: format!("{}{at}", error.message()),
    }
}

/// The key or table of a line, as far as it is one that the broker knows. Nothing else of the line can
/// be shown: it may be a secret without its quotes, or one line of a secret that has several.
fn known_key(line: &str) -> Option<String> {
    let key = line.split('=').next().unwrap_or_default();
    let key = key.trim().trim_start_matches('[').trim_end_matches(']');
    let segments = key.split('.').map(str::trim);
    let known: Vec<&str> = segments
        .take_while(|segment| is_known_segment(segment))
        .collect();
    (!known.is_empty()).then(|| known.join("."))
}

fn is_known_segment(segment: &str) -> bool {
    let of_settings = SETTINGS.iter().any(|setting| {
        let mut segments = setting.key.split('.');
        segments.any(|known| known == segment)
    });
    let of_tables = FAMILIES.iter().any(|family| {
        let mut segments = family.prefix.split('.');
        segments.any(|known| known == segment) || family.key(segment).is_some()
    });
    of_settings || of_tables
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
