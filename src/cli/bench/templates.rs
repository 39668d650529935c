//! How a peer that is no Tidewire broker is asked: `{topic}`, `{reader}` and `{text}` stand for what changes.

#[derive(clap::Args, Clone, Debug, Default)]
#[command(next_help_heading = "With --against raw")]
pub struct Templates {
    /// The path that a reader opens; {topic} and {reader} are filled in
    #[arg(long, value_name = "PATH", default_value = "/sub/{topic}")]
    pub sub_path: String,
    /// A header of a reader's request, as 'Name: value'; may be repeated
    #[arg(long = "sub-header", value_name = "HEADER")]
    pub sub_headers: Vec<String>,
    /// A text that a reader sends once its WebSocket is open; may be repeated
    #[arg(long, value_name = "TEXT")]
    pub sub_send: Vec<String>,
    /// The subprotocol that a reader's WebSocket asks for
    #[arg(
        long,
        value_name = "NAME",
        default_value = "",
        hide_default_value = true
    )]
    pub ws_protocol: String,
    /// The path that a publish is posted to; {topic} is filled in
    #[arg(long, value_name = "PATH", default_value = "/pub/{topic}")]
    pub pub_path: String,
    /// A header of a publish, as 'Name: value'; may be repeated
    #[arg(long = "pub-header", value_name = "HEADER")]
    pub pub_headers: Vec<String>,
    /// The body of a publish; {topic} and {text} are filled in
    #[arg(long, value_name = "BODY", default_value = "{text}")]
    pub pub_body: String,
    /// The Content-Type of a publish
    #[arg(long, value_name = "TYPE", default_value = "text/plain")]
    pub pub_type: String,
}

impl Templates {
    pub fn fill(&self, template: &str, topic: &str, reader: usize) -> String {
        template
            .replace("{topic}", topic)
            .replace("{reader}", &reader.to_string())
    }

    /// Header lines.
    pub fn headers(&self, templates: &[String], topic: &str, reader: usize) -> String {
        templates
            .iter()
            .map(|header| self.fill(header, topic, reader) + "\r\n")
            .collect()
    }

    /// A publish's body.
    pub fn body(&self, topic: &str, text: &[u8]) -> Vec<u8> {
        // the texts of a bench are ASCII
        let text = String::from_utf8_lossy(text);
        self.fill(&self.pub_body, topic, 0)
            .replace("{text}", &text)
            .into_bytes()
    }

    /// What can never work.
    pub fn problem(&self) -> Option<String> {
        if !self.pub_body.contains("{text}") {
            return Some("--pub-body: write {text} where the text is to stand".into());
        }
        let headers = self.sub_headers.iter().chain(&self.pub_headers);
        let mut bad =
            headers.filter(|header| !header.contains(':') || header.contains(['\r', '\n']));
        if let Some(header) = bad.next() {
            return Some(format!("`{header}` is no header: write 'Name: value'"));
        }
        let paths = [
            ("--sub-path", &self.sub_path),
            ("--pub-path", &self.pub_path),
        ];
        for (name, path) in paths {
            if !path.starts_with('/') || path.contains([' ', '\r', '\n']) {
                return Some(format!("{name}: a path begins with / and has no spaces"));
            }
        }
        None
    }
}
