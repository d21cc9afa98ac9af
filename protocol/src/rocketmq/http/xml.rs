//! The little XML that MQ needs: elements with text or with children, nothing else.

use quick_xml::Reader;
use quick_xml::events::{BytesRef, BytesStart, Event};

use crate::record::xml_carries;

/// Deepest nesting that is read; MQ's own documents have three levels.
const DEPTH_MAX: usize = 8;
/// Most elements that are read; each takes far more memory than its few bytes of text. MQ's own
/// largest document, 16 messages, has 200.
const ELEMENTS_MAX: usize = 10_000;

/// Why a text is not the XML that was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum XmlError {
    /// Not well-formed XML 1.0, or with parts that MQ never sends.
    #[error("not well-formed XML: {0}")]
    Malformed(String),
    /// Another document than expected.
    #[error("the root element is <{found}>, expected <{expected}>")]
    Root {
        /// The root that should be there.
        expected: &'static str,
        /// The root that is there.
        found: String,
    },
    /// An element that has to be there is missing or not of its type.
    #[error("<{0}> is missing or has no valid value")]
    Field(&'static str),
    /// Text that XML 1.0 cannot carry was to be written.
    #[error("the text has characters that XML 1.0 cannot carry; send it as base64")]
    Character,
}

impl XmlError {
    fn malformed(reason: impl std::fmt::Display) -> Self {
        Self::Malformed(reason.to_string())
    }
}

/// An element: its name without prefix, all its text joined, and its children.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Element {
    /// Name without name-space prefix.
    pub name: String,
    /// Text, CDATA and entities of this element, joined; not those of its children.
    pub text: String,
    /// Child elements in their order.
    pub children: Vec<Element>,
}

impl Element {
    /// Reads a whole document whose root is `<root>`.
    pub fn parse(text: &str, root: &'static str) -> Result<Self, XmlError> {
        let element = Self::parse_any(text)?;
        if element.name != root {
            let found = element.name.chars().take(40).collect();
            return Err(XmlError::Root { expected: root, found });
        }
        Ok(element)
    }

    /// Reads a whole document.
    pub fn parse_any(text: &str) -> Result<Self, XmlError> {
        let mut reader = Reader::from_str(text);
        let mut tree = Tree::default();
        loop {
            match reader.read_event().map_err(XmlError::malformed)? {
                Event::Eof => return tree.finish(),
                event => tree.take(event)?,
            }
        }
    }

    /// The text of the first child called `name`.
    pub fn field(&self, name: &str) -> Option<&str> {
        let child = self.children.iter().find(|child| child.name == name);
        child.map(|child| child.text.as_str())
    }

    /// The text of the child `name`, which has to be there and not be empty.
    pub fn required(&self, name: &'static str) -> Result<&str, XmlError> {
        let text = self.field(name).filter(|text| !text.is_empty());
        text.ok_or(XmlError::Field(name))
    }

    /// The number in the child `name`, which has to be there.
    pub fn number(&self, name: &'static str) -> Result<u64, XmlError> {
        let text = self.required(name)?;
        text.trim().parse().map_err(|_| XmlError::Field(name))
    }
}

/// The elements that are open, the outermost first, and the root once it is closed.
#[derive(Default)]
struct Tree {
    open: Vec<Element>,
    root: Option<Element>,
    /// How many have been opened.
    count: usize,
}

impl Tree {
    fn take(&mut self, event: Event<'_>) -> Result<(), XmlError> {
        match event {
            Event::Start(start) => self.start(&start),
            Event::Empty(start) => {
                self.start(&start)?;
                self.end()
            }
            Event::End(_) => self.end(),
            Event::Text(text) if text.contains("]]>") => {
                Err(XmlError::malformed("]]> outside a CDATA section"))
            }
            Event::Text(text) => self.text(&text.xml10_content()),
            Event::CData(text) => self.text(&text.xml10_content()),
            Event::GeneralRef(reference) => self.text(&resolve(&reference)?.to_string()),
            Event::Decl(declaration) => match declaration.encoding() {
                None => Ok(()),
                Some(Ok(name)) if name.eq_ignore_ascii_case("utf-8") => Ok(()),
                Some(_) => Err(XmlError::malformed("the encoding is not UTF-8")),
            },
            Event::DocType(_) => Err(XmlError::malformed("a document type is not taken")),
            Event::Comment(_) | Event::PI(_) | Event::Eof => Ok(()),
        }
    }

    fn start(&mut self, start: &BytesStart<'_>) -> Result<(), XmlError> {
        if self.root.is_some() || self.open.len() == DEPTH_MAX {
            return Err(XmlError::malformed("too many roots or levels"));
        }
        self.count += 1;
        if self.count > ELEMENTS_MAX {
            return Err(XmlError::malformed("too many elements"));
        }
        for attribute in start.attributes() {
            attribute.map_err(XmlError::malformed)?;
        }
        let name = start.local_name().as_ref().to_owned();
        self.open.push(Element { name, ..Element::default() });
        Ok(())
    }

    fn end(&mut self) -> Result<(), XmlError> {
        let closed = self.open.pop();
        let closed = closed.ok_or_else(|| XmlError::malformed("an end without a start"))?;
        match self.open.last_mut() {
            Some(parent) => parent.children.push(closed),
            None => self.root = Some(closed),
        }
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<(), XmlError> {
        if !text.chars().all(xml_carries) {
            return Err(XmlError::malformed("a character outside XML 1.0"));
        }
        match self.open.last_mut() {
            Some(element) => element.text.push_str(text),
            // A byte order mark before the document is its encoding, not its text.
            None if text.trim_start_matches('\u{FEFF}').trim().is_empty() => {}
            None => return Err(XmlError::malformed("text outside the root element")),
        }
        Ok(())
    }

    fn finish(self) -> Result<Element, XmlError> {
        let whole = self.open.is_empty().then_some(self.root).flatten();
        whole.ok_or_else(|| XmlError::malformed("it ends before its root element does"))
    }
}

fn resolve(reference: &BytesRef<'_>) -> Result<char, XmlError> {
    if let Some(c) = reference.resolve_char_ref().map_err(XmlError::malformed)? {
        return Ok(c);
    }
    match &**reference {
        "amp" => Ok('&'),
        "lt" => Ok('<'),
        "gt" => Ok('>'),
        "quot" => Ok('"'),
        "apos" => Ok('\''),
        _ => Err(XmlError::malformed("an entity that XML does not define")),
    }
}

/// Appends `text` so that every XML reader gives it back as it was: markup as entities, and CR
/// as a character reference, since readers turn a bare CR into LF.
pub fn push_escaped(out: &mut String, text: &str) {
    let mut rest = text;
    while let Some(at) = rest.find(['&', '<', '>', '\r']) {
        out.push_str(&rest[..at]);
        out.push_str(match rest.as_bytes()[at] {
            b'&' => "&amp;",
            b'<' => "&lt;",
            b'>' => "&gt;",
            _ => "&#13;",
        });
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
}

/// Bytes that [`push_escaped`] appends at most, so that a body of megabytes is copied once.
pub fn escaped_len(text: &str) -> usize {
    let grows = |byte: &u8| matches!(byte, b'&' | b'<' | b'>' | b'\r');
    text.len() + 4 * text.bytes().filter(grows).count()
}

/// Appends `<name>text</name>`.
pub fn push_field(out: &mut String, name: &str, text: &str) {
    out.extend(["<", name, ">"]);
    push_escaped(out, text);
    out.extend(["</", name, ">"]);
}

/// A request's document with `root` around what `content` appends.
pub fn document(root: &str, content: impl FnOnce(&mut String)) -> String {
    within(root, super::NAMESPACE, content)
}

/// An answer's document with `root` around what `content` appends.
pub fn answer(root: &str, content: impl FnOnce(&mut String)) -> String {
    within(root, super::ANSWER_NAMESPACE, content)
}

fn within(root: &str, namespace: &str, content: impl FnOnce(&mut String)) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    out.extend(["<", root, " xmlns=\"", namespace, "\">"]);
    content(&mut out);
    out.extend(["</", root, ">"]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(xml: &str) -> Result<String, XmlError> {
        Element::parse(xml, "a").map(|element| element.text)
    }

    #[test]
    fn text_cdata_and_entities_are_joined() {
        let xml = "<a>one &amp; <![CDATA[<two>]]>]]&gt; &#x41;&#13;\r\nend</a>";
        assert_eq!(text(xml).unwrap(), "one & <two>]]> A\r\nend");
    }

    #[test]
    fn prefixes_declarations_and_comments_do_not_matter() {
        let xml = "\u{FEFF}<?xml version='1.0' encoding='utf-8'?><!-- x -->\n<n:a xmlns:n='u'><n:b/></n:a>\n";
        let element = Element::parse(xml, "a").unwrap();
        assert_eq!(element.field("b"), Some(""));
        assert_eq!(element.required("b"), Err(XmlError::Field("b")));
    }

    #[test]
    fn what_is_not_well_formed_is_refused() {
        let wide = format!("<a>{}</a>", "<b/>".repeat(ELEMENTS_MAX));
        let deep = format!("{}{}", "<a>".repeat(9), "</a>".repeat(9));
        for bad in [
            "",
            "plain",
            "<a>",
            "<a></b>",
            "</a>",
            "<a/><a/>",
            "<a/>tail",
            "<a>]]></a>",
            "<a>&nbsp;</a>",
            "<a>&#0;</a>",
            "<a>&#8;</a>",
            "<a>\u{1}</a>",
            "<a>\u{FFFE}</a>",
            "<a>&amp</a>",
            "<a b=c/>",
            "<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>",
            "<?xml version='1.0' encoding='latin1'?><a/>",
            &deep,
            &wide,
        ] {
            assert!(matches!(text(bad), Err(XmlError::Malformed(_))), "{bad}");
        }
        let other = XmlError::Root { expected: "a", found: "html".into() };
        assert_eq!(text("<html></html>"), Err(other));
    }
}
